"""Writing a run directory: all of it or nothing."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from replay import __version__
from replay.runs.conform import conform
from replay.runs.digest import result_digest
from replay.runs.layout import MANIFEST, REJECTED, SCENARIO, check_target, named, table_file
from replay.runs.seal import DIGEST_KEY, sealed
from replay.schema import RUN_SCHEMA_VERSION
from replay.writing.failures import interrupts_held
from replay.writing.whole import Sink, new_file, whole_folder

_OURS = ("schema_version", "files", DIGEST_KEY)


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

    Everything is written beside it, reaches the disk, and is renamed or swapped with the run it
    replaces, so that there is one at any moment. To the manifest are added the schema version, the
    result digest, the rows per table, size and SHA-256 of every file and of itself, and, unless
    given, the version of replay and the time. `force` replaces a run directory or an empty folder
    and nothing else. `rejected` are the rows of the trace that were put aside, as JSON lines;
    without any there is no file for them. Whatever fails, Ctrl-C included, what stood at `folder`
    stays and nothing else does. Raises what `check_target` raises, and OutputError.
    """
    folder = named(Path(folder))
    check_target(folder, force)
    frames = conform(tables)
    record = run_record(manifest, frames)
    with (
        interrupts_held() as let_interrupt_through,
        whole_folder(folder, check=lambda: check_target(folder, force)) as beside,
    ):
        files = _Files(beside, folder)
        for name, frame in frames.items():
            let_interrupt_through()
            files.write(table_file(name), functools.partial(_parquet, frame))
        files.write(SCENARIO, _text(scenario_yaml))
        if rejected:
            files.write(REJECTED, _text(rejected))
        files.write(MANIFEST, _text(sealed({**record, "files": files.facts})))
        let_interrupt_through()


def run_record(manifest: Mapping[str, Any], frames: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Return a run's manifest as it is written, but for its files; `frames` conform already."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "replay_version": __version__,
        "created_at": now,
        **{key: value for key, value in manifest.items() if key not in _OURS},
        "result_digest": result_digest(frames),
        "tables": {name: frame.height for name, frame in frames.items()},
    }


class _Files:
    """The files of a run directory: written one by one, their sizes and digests noted."""

    def __init__(self, folder: Path, shown: Path) -> None:
        self._folder, self._shown = folder, shown
        self.facts: dict[str, dict[str, Any]] = {}

    def write(self, name: str, fill: Callable[[Sink], object]) -> None:
        with new_file(self._folder / name, shown=self._shown) as sink:
            fill(sink)
        self.facts[name] = {"bytes": sink.size_bytes, "sha256": sink.sha256}


def _parquet(frame: pl.DataFrame, sink: Sink) -> None:
    frame.write_parquet(sink, compression="zstd", statistics=True)


def _text(text: str) -> Callable[[Sink], object]:
    # A path that is not UTF-8 reaches JSON as lone surrogates; as `\udcXX` JSON can carry them.
    return lambda sink: sink.write(text.encode("utf-8", "backslashreplace"))
