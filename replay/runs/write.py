"""Writing a run directory: all of it or nothing."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from replay import __version__
from replay.runs.conform import conformed, names_in_order
from replay.runs.digest import ResultDigest
from replay.runs.layout import MANIFEST, REJECTED, SCENARIO, check_target, named, table_file
from replay.runs.rows import ROWS_AT_ONCE, Rows, rows_of
from replay.runs.seal import DIGEST_KEY, sealed
from replay.schema import RUN_SCHEMA_VERSION
from replay.writing.failures import interrupts_held
from replay.writing.whole import Sink, new_file, whole_folder

_POLL_S = 0.1
_OURS = ("schema_version", "files", DIGEST_KEY)


def write_run(
    folder: Path,
    tables: Mapping[str, pl.DataFrame | Rows],
    manifest: Mapping[str, Any],
    scenario_yaml: str,
    *,
    rejected: str = "",
    force: bool = False,
) -> None:
    """Write a run directory that is whole from the moment it exists.

    A table given as `Rows` is made and written a stretch at a time. Everything is written beside
    the folder, reaches the disk, and is renamed or swapped with the run it replaces, so that there
    is one at any moment. To the manifest are added the schema version, the result digest, the rows
    per table, size and SHA-256 of every file and of itself, and, unless given, the version of
    replay and the time. `force` replaces a run directory or an empty folder and nothing else.
    `rejected` are the rows of the trace that were put aside, as JSON lines; without any there is no
    file for them. Whatever fails, Ctrl-C included, what stood at `folder` stays and nothing else
    does. Raises what `check_target` raises, and OutputError.
    """
    folder = named(Path(folder))
    check_target(folder, force)
    names = names_in_order(tables)
    rows = {name: _conformed(name, tables[name]) for name in names}
    with (
        interrupts_held() as let_interrupt_through,
        whole_folder(folder, check=lambda: check_target(folder, force)) as beside,
    ):
        files, digest = _Files(beside, folder), ResultDigest()
        for name in names:
            digest.begin(name)
            parts = _watched(rows[name], digest, let_interrupt_through)
            files.write(table_file(name), functools.partial(_parquet, rows[name], parts))
        files.write(SCENARIO, _text(scenario_yaml))
        if rejected:
            files.write(REJECTED, _text(rejected))
        record = run_record(
            manifest, digest.hexdigest(), {name: rows[name].height for name in names}
        )
        files.write(MANIFEST, _text(sealed({**record, "files": files.facts})))
        let_interrupt_through()


def _conformed(name: str, table: pl.DataFrame | Rows) -> Rows:
    """Return a table brought to its schema; ValueError where a frame cannot be."""
    if isinstance(table, pl.DataFrame):
        return rows_of(conformed(name, table))
    return Rows(table.height, lambda start, stop: conformed(name, table.make(start, stop)))


def _watched(
    rows: Rows, digest: ResultDigest, let_interrupt_through: Callable[[], None]
) -> Iterator[pl.DataFrame]:
    for part in rows.stretches():
        let_interrupt_through()
        digest.add(part)
        yield part


def run_record(
    manifest: Mapping[str, Any], digest: str, heights: Mapping[str, int]
) -> dict[str, Any]:
    """Return a run's manifest as it is written, but for its files.

    `digest` is that of its tables, `heights` their rows.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "replay_version": __version__,
        "created_at": now,
        **{key: value for key, value in manifest.items() if key not in _OURS},
        "result_digest": digest,
        "tables": dict(heights),
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


def _parquet(rows: Rows, parts: Iterator[pl.DataFrame], sink: Sink) -> None:
    """Write the parts of a table, one after another where there are several."""
    if rows.height <= ROWS_AT_ONCE:
        next(parts).write_parquet(sink, compression="zstd", statistics=True)
        return

    def source(*_: object) -> Iterator[pl.DataFrame]:
        yield from parts

    schema = rows.make(0, 0).schema
    table = register_io_source(source, schema=schema, is_pure=False)
    # In another thread: this one can be told of Ctrl-C meanwhile.
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(
            lambda: table.sink_parquet(
                sink,
                compression="zstd",
                statistics=True,
                row_group_size=ROWS_AT_ONCE,
                maintain_order=True,
            )
        )
        while not written.done():
            wait([written], timeout=_POLL_S)
        written.result()


def _text(text: str) -> Callable[[Sink], object]:
    # A path that is not UTF-8 reaches JSON as lone surrogates; as `\udcXX` JSON can carry them.
    return lambda sink: sink.write(text.encode("utf-8", "backslashreplace"))
