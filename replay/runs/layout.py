"""What a run directory is called and made of, and which folders a run may be written to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from replay.errors import InputError, OutputExistsError
from replay.schema import TABLES
from replay.writing.failures import output_error
from replay.writing.target import check_can_make, check_not_read

MANIFEST = "manifest.json"
SCENARIO = "scenario.yaml"
REJECTED = "rejected.jsonl"


def table_file(name: str) -> str:
    """Return the file name of a table in a run directory."""
    return f"{name}.parquet"


def is_run(path: Path) -> bool:
    """Return whether a path is a run directory, whole or damaged, and no folder of traces."""
    return path.is_dir() and (path / MANIFEST).exists()


def named(folder: Path) -> Path:
    """Return the folder under a name that can stand beside others, also for `.` and `a/..`."""
    return folder.resolve() if folder.name in ("", "..") else folder


def check_target(folder: Path, force: bool, *, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless a run may be written to `folder`: cheap enough to ask before simulating.

    With `force` a whole run directory and an empty folder are replaced, and nothing else ever
    is. `inputs` are files, folders and patterns that are read. Raises OutputExistsError, InputError
    for a link or a file in the path and for a folder that is read, and OutputError where the
    parent cannot be written.
    """
    folder = named(Path(folder))
    if folder.is_symlink():
        raise InputError(
            f"{folder}: is a symbolic link", hint="give the folder itself, or another name"
        )
    check_not_read(folder, inputs)
    if os.path.lexists(folder):
        if not folder.is_dir():
            raise OutputExistsError(
                f"{folder}: is a file, not a run directory", hint="choose another name"
            )
        if not force:
            raise OutputExistsError(
                f"{folder}: exists already", hint="choose another name, or replace it with --force"
            )
        _check_replaceable(folder)
    _check_parent(folder)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run directory, or None where there is none of ours.

    Raises OSError where it cannot be read and ValueError where it is not JSON text.
    """
    content = manifest_bytes(folder)
    if content is None:
        return None
    try:
        manifest = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(manifest, dict) or not {"schema_version", "tables"} <= manifest.keys():
        return None
    return manifest


def manifest_bytes(folder: Path) -> bytes | None:
    """Return what the manifest of a folder holds, None where it has none; raises OSError."""
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes()


def open_regular(path: Path) -> int:
    """Return a descriptor to read a file with; a pipe in its place is refused, not waited for.

    Raises OSError, and ValueError where it is there but no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("is no regular file")
    return descriptor


def _check_replaceable(folder: Path) -> None:
    """Raise OutputExistsError unless everything in the folder was written by a run."""
    try:
        found = {path.name for path in folder.iterdir()}
        manifest = read_manifest(folder) if found else {"tables": {}}
    except OSError as error:
        raise output_error(folder, error.errno, str(error)) from error
    except ValueError:
        manifest = None
    if manifest is None or not isinstance(manifest["tables"], dict):
        raise OutputExistsError(
            f"{folder}: is not a run directory, so --force leaves it alone",
            hint="choose another name",
        )
    ours = {MANIFEST, SCENARIO, REJECTED, *map(table_file, {*TABLES, *manifest["tables"]})}
    if strangers := sorted(found - ours):
        raise OutputExistsError(
            f"{folder}: holds more than a run wrote (got {', '.join(strangers[:3])})",
            hint="move what is yours out of it, or choose another name",
        )


def _check_parent(folder: Path) -> None:
    """Raise where the nearest folder above cannot take a new entry."""
    nearest = folder
    while not os.path.lexists(nearest.parent):
        nearest = nearest.parent
    if not nearest.parent.is_dir():
        raise InputError(f"{folder}: {nearest.parent} is not a folder", hint="choose another path")
    check_can_make(nearest, shown=folder)
