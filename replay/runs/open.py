"""Opening a run directory written by this or an earlier version, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.runs.layout import MANIFEST, read_manifest, table_file
from replay.schema import RUN_SCHEMA_VERSION, TABLES

_PARQUET_MAGIC = b"PAR1"
_LEAST_PARQUET_BYTES = 12  # the magic twice and the length of the footer


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory: its real path, what its manifest says, and the file of each table."""

    folder: Path
    manifest: Mapping[str, Any]
    tables: Mapping[str, Path]


def open_run(folder: Path) -> Run:
    """Return the run in a folder after checking that all of it is there and readable.

    Only tables that the schema knows are opened, whatever else the folder holds, and a table
    that is a symbolic link is refused. Raises InputError.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a run directory" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}", hint="give a directory that `replay run` wrote")
    real = folder.resolve()
    manifest = _manifest(real)
    names = [name for name in TABLES if name in manifest["tables"]]
    if "requests" not in names:
        raise InputError(f"{real / MANIFEST}: tables: requests is missing")
    return Run(real, manifest, {name: _table(real, name) for name in names})


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})", hint="the run is damaged") from error
    if manifest is None:
        raise InputError(
            f"{folder}: not a run directory (no {MANIFEST} of a run)",
            hint="give a directory that `replay run` wrote",
        )
    version = manifest["schema_version"]
    if type(version) is not int or not isinstance(manifest["tables"], dict):
        raise InputError(f"{path}: not the manifest of a run", hint="the run is damaged")
    if version > RUN_SCHEMA_VERSION:
        writer = manifest.get("replay_version", "a later version")
        raise InputError(
            f"{folder}: run schema {version} is newer than this replay reads "
            f"({RUN_SCHEMA_VERSION})",
            hint=f"it was written by replay {writer}: upgrade to open it",
        )
    return manifest


def _table(folder: Path, name: str) -> Path:
    path = folder / table_file(name)
    if path.is_symlink():
        raise InputError(f"{path}: is a symbolic link", hint="put the table itself there")
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - len(_PARQUET_MAGIC), 0))
            tail = file.read()
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing", hint="the run is damaged: replay it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    if size < _LEAST_PARQUET_BYTES or head != _PARQUET_MAGIC or tail != _PARQUET_MAGIC:
        raise InputError(f"{path}: not a whole Parquet file", hint="the run is damaged: replay it")
    return path
