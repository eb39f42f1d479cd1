"""Opening a run directory written by this or an earlier version, here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replay.errors import InputError
from replay.runs.layout import MANIFEST, manifest_bytes, open_regular, read_manifest, table_file
from replay.runs.seal import DIGEST_KEY, STRANGER, Verdict, is_sealed, manifest_damage, verdicts
from replay.runs.shape import shape_fault
from replay.schema import RUN_SCHEMA_VERSION, TABLES

_PARQUET_MAGIC = b"PAR1"
_LEAST_PARQUET_BYTES = 12  # the magic twice and the length of the footer
_DAMAGED = "the run is damaged or was changed: replay it; `replay verify` looks at every file"
NOT_VERIFIABLE = "not verifiable: written before runs had checksums"


_UNTOLD = "the manifest that has its checksum is damaged"


class _DamagedError(InputError):
    """Raised for a manifest that a run once had and that cannot be read any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run directory: its real path, what its manifest says, and the file of each table.

    `verified` is false for a run of a schema that had no checksums: damage to it goes unnoticed.
    """

    folder: Path
    manifest: Mapping[str, Any]
    tables: Mapping[str, Path]
    verified: bool


def open_run(folder: Path) -> Run:
    """Return the run in a folder after checking that all of it is there and as it was written.

    Only tables that the schema knows are opened, whatever else the folder holds, and a table
    that is a symbolic link is refused. Raises InputError.
    """
    real = run_folder(folder)
    manifest = _manifest(real)
    names = [name for name in TABLES if name in manifest["tables"]]
    if "requests" not in names:
        raise InputError(f"{real / MANIFEST}: tables: requests is missing")
    tables = {name: _table(real, name) for name in names}
    verified = is_sealed(manifest)
    for verdict in verdicts(real, manifest) if verified else ():
        if verdict.damage:
            raise InputError(f"{real / verdict.file}: {verdict.damage}", hint=_DAMAGED)
    if fault := shape_fault(manifest):
        raise InputError(f"{real / MANIFEST}: {fault}", hint=_DAMAGED)
    return Run(real, manifest, tables, verified)


def verify_run(folder: Path) -> list[Verdict]:
    """Return a verdict on every file of a run: all that is wrong, where `open_run` says the first.

    Files that no run wrote are named too, which is no damage. A manifest that is damaged is one of
    the verdicts, and says nothing of the tables beside it. Raises InputError where there is no run.
    """
    real = run_folder(folder)
    try:
        manifest = _read_manifest(real)
    except _DamagedError as error:
        beside = [name for name in TABLES if (real / table_file(name)).exists()]
        return [
            Verdict(MANIFEST, error.message.removeprefix(f"{real / MANIFEST}: ")),
            *(Verdict(table_file(name), None, _UNTOLD) for name in beside),
        ]
    if not is_sealed(manifest):
        found = [Verdict(MANIFEST, shape_fault(manifest), NOT_VERIFIABLE)]
        return found + [_readable(real, name) for name in TABLES if name in manifest["tables"]]
    content = manifest_bytes(real)
    assert content is not None  # it was read above
    found = [Verdict(MANIFEST, manifest_damage(content) or shape_fault(manifest))]
    found += verdicts(real, manifest)
    known = {verdict.file for verdict in found}
    others = sorted(path.name for path in real.iterdir() if path.name not in known)
    return found + [Verdict(name, None, STRANGER) for name in others]


def run_folder(folder: Path) -> Path:
    """Return the real path of a folder that may be a run; raises InputError for another thing."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a run directory" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}", hint="give a directory that `replay run` wrote")
    return folder.resolve()


def _readable(folder: Path, name: str) -> Verdict:
    try:
        _table(folder, name)
    except InputError as error:
        return Verdict(table_file(name), error.message.removeprefix(f"{folder}/"))
    return Verdict(table_file(name), None, NOT_VERIFIABLE)


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run that this version can read, whatever it says otherwise."""
    path = folder / MANIFEST
    try:
        manifest = read_manifest(folder)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise _DamagedError(f"{path}: not JSON ({error})", hint=_DAMAGED) from error
    if manifest is None and DIGEST_KEY.encode() in (manifest_bytes(folder) or b""):
        raise _DamagedError(f"{path}: not what was written", hint=_DAMAGED)
    if manifest is None:
        raise InputError(
            f"{folder}: not a run directory (no {MANIFEST} of a run)",
            hint="give a directory that `replay run` wrote",
        )
    version = manifest["schema_version"]
    if type(version) is not int or not isinstance(manifest["tables"], dict):
        raise _DamagedError(f"{path}: not the manifest of a run", hint=_DAMAGED)
    if version > RUN_SCHEMA_VERSION:
        writer = manifest.get("replay_version", "a later version")
        raise InputError(
            f"{folder}: run schema {version} is newer than this replay reads "
            f"({RUN_SCHEMA_VERSION})",
            hint=f"it was written by replay {writer}: upgrade to open it",
        )
    return manifest


def _manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a run, none of its bytes changed where it can tell."""
    manifest = _read_manifest(folder)
    content = manifest_bytes(folder)
    if is_sealed(manifest) and (damage := manifest_damage(content or b"")):
        raise InputError(f"{folder / MANIFEST}: {damage}", hint=_DAMAGED)
    return manifest


def _table(folder: Path, name: str) -> Path:
    path = folder / table_file(name)
    if path.is_symlink():
        raise InputError(f"{path}: is a symbolic link", hint="put the table itself there")
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - len(_PARQUET_MAGIC), 0))
            tail = file.read()
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing", hint=_DAMAGED) from error
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}", hint="put the table itself there") from error
    if size < _LEAST_PARQUET_BYTES or head != _PARQUET_MAGIC or tail != _PARQUET_MAGIC:
        raise InputError(f"{path}: not a whole Parquet file", hint=_DAMAGED)
    return path
