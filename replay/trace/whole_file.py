"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import polars as pl

from replay.errors import OutputError, OutputExistsError


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Give a file to write to, which gets its name when the block ends and vanishes if it fails.

    Raises OutputExistsError where a file is there already, OutputError where writing fails.
    """
    if path.exists() and not force:
        raise OutputExistsError(f"{path} is there already", hint="--force overwrites it")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    except pl.exceptions.ComputeError as error:  # what Polars makes of a full disk
        raise OutputError(f"cannot write {path}: {error}") from error
