"""Which folder the files of an export may be written to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from replay.errors import OutputExistsError
from replay.schema import TABLES
from replay.writing.failures import output_error
from replay.writing.target import check_can_make, check_not_read

COLUMNS_TABLE = "columns"
_FILES = {f"{name}.csv" for name in (*TABLES, "run", COLUMNS_TABLE)}


def check_folder(folder: Path, *, force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless the files can be written to a folder of this name.

    With `force` an empty folder is replaced, and one that holds such an export and nothing else.
    Raises OutputExistsError, InputError for a folder that is read, and OutputError.
    """
    check_not_read(folder, inputs)
    if os.path.lexists(folder):
        if folder.is_symlink() or not folder.is_dir():
            raise OutputExistsError(f"{folder}: is no folder", hint="choose another name")
        if not force:
            raise OutputExistsError(
                f"{folder}: exists already", hint="choose another name, or replace it with --force"
            )
        found = {path.name for path in folder.iterdir()}
        if found and (found - _FILES or f"{COLUMNS_TABLE}.csv" not in found):
            raise OutputExistsError(
                f"{folder}: holds more than an export wrote, so --force leaves it alone",
                hint="choose another name",
            )
    if not folder.resolve().parent.is_dir():
        raise output_error(folder, errno.ENOENT)
    check_can_make(folder.resolve(), shown=folder)
