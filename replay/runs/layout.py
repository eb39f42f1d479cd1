"""What a run directory is called and made of, and which folders a run may be written to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from replay.errors import InputError, OutputExistsError
from replay.runs.failures import output_error
from replay.schema import TABLES

MANIFEST = "manifest.json"
SCENARIO = "scenario.yaml"
REJECTED = "rejected.jsonl"


def table_file(name: str) -> str:
    """Return the file name of a table in a run directory."""
    return f"{name}.parquet"


def named(folder: Path) -> Path:
    """Return the folder under a name that can stand beside others, also for `.` and `a/..`."""
    return folder.resolve() if folder.name in ("", "..") else folder


def check_target(folder: Path, force: bool) -> None:
    """Raise unless a run may be written to `folder`: cheap enough to ask before simulating.

    With `force` a whole run directory and an empty folder are replaced, and nothing else ever
    is. Raises OutputExistsError, InputError for a link or a file in the path, and OutputError
    where the parent cannot be written.
    """
    folder = named(Path(folder))
    if folder.is_symlink():
        raise InputError(
            f"{folder}: is a symbolic link", hint="give the folder itself, or another name"
        )
    if not os.path.lexists(folder):
        _check_parent(folder)
        return
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
    path = folder / MANIFEST
    if path.is_symlink() or not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(manifest, dict) or not {"schema_version", "tables"} <= manifest.keys():
        return None
    return manifest


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
    parent = folder.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"{folder}: {parent} is not a folder", hint="choose another path")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise output_error(folder, None, f"{parent} is not writable")
