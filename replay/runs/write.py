"""Writing a run directory: all of it or nothing."""

from __future__ import annotations

import contextlib
import datetime
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from replay import __version__
from replay.errors import OutputExistsError
from replay.runs.conform import conform
from replay.runs.digest import result_digest
from replay.runs.failures import interrupts_held, writing
from replay.runs.layout import MANIFEST, REJECTED, SCENARIO, check_target, named, table_file
from replay.schema import RUN_SCHEMA_VERSION


def write_run(
    folder: Path,
    tables: Mapping[str, pl.DataFrame],
    manifest: Mapping[str, Any],
    scenario_yaml: str,
    *,
    rejected: str = "",
    force: bool = False,
) -> None:
    """Write a run directory that is whole from the moment it exists.

    Everything goes to `FOLDER.partial-PID` beside it, reaches the disk, and is renamed. To the
    manifest are added the schema version, the result digest, the rows per table, and, unless
    given, the version of replay and the time. `force` replaces a run directory or an empty
    folder and nothing else. `rejected` are the rows of the trace that were put aside, as JSON
    lines; without any there is no file for them. Whatever fails, Ctrl-C included, the partial
    folder is removed and what stood at `folder` stays. Raises what `check_target` raises, and
    OutputError.
    """
    folder = named(Path(folder))
    check_target(folder, force)
    frames = conform(tables)
    record = _record(manifest, frames)
    with interrupts_held() as let_interrupt_through, writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = _make_beside(folder, "partial")
        try:
            _fill(partial, frames, record, scenario_yaml, rejected, let_interrupt_through)
            check_target(folder, force)
            _put_in_place(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def _record(manifest: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "replay_version": __version__,
        "created_at": now,
        **{key: value for key, value in manifest.items() if key != "schema_version"},
        "result_digest": result_digest(frames),
        "tables": {name: frame.height for name, frame in frames.items()},
    }


def _make_beside(folder: Path, word: str) -> Path:
    """Create and return an empty folder beside the target, named after this process."""
    stem = f"{folder.name}.{word}-{os.getpid()}"
    attempt = 1
    while True:
        beside = folder.with_name(stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            beside.mkdir()
        except FileExistsError:  # left by a killed process with the same id: not ours to remove
            attempt += 1
        else:
            return beside


def _fill(
    partial: Path,
    frames: Mapping[str, pl.DataFrame],
    record: Mapping[str, Any],
    scenario_yaml: str,
    rejected: str,
    let_interrupt_through: Callable[[], None],
) -> None:
    for name, frame in frames.items():
        let_interrupt_through()
        _write_parquet(frame, partial / table_file(name))
    _write_text(scenario_yaml, partial / SCENARIO)
    if rejected:
        _write_text(rejected, partial / REJECTED)
    _write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", partial / MANIFEST)
    _sync(partial)
    let_interrupt_through()


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    # By way of memory: where Polars writes itself, a full disk is only a text it made up.
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd", statistics=True)
    path.write_bytes(content.getbuffer())
    _sync(path)


def _write_text(text: str, path: Path) -> None:
    # A path that is not UTF-8 reaches JSON as lone surrogates; as `\udcXX` JSON can carry them.
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
    _sync(path)


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename the partial folder to its name, moving a run it replaces out of the way first."""
    if not folder.exists():
        _rename(partial, folder)
        _sync(folder.parent)
        return
    old = _make_beside(folder, "replaced")
    try:
        folder.replace(old)
        _rename(partial, folder)
    except BaseException:
        if not folder.exists():
            old.replace(folder)
        else:  # it never moved, or something new is there and what it was is kept under `old`
            with contextlib.suppress(OSError):
                old.rmdir()
        raise
    _sync(folder.parent)
    with writing(old):
        shutil.rmtree(old)


def _rename(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise OutputExistsError(
            f"{folder}: appeared while the run was written", hint="choose another name"
        ) from error


def _sync(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(descriptor)
