"""Exporting a run: the one door to all targets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from replay.report.db import RunDatabase
from replay.report.export.csv_folder import write_csv_folder
from replay.report.export.duckdb_file import write_duckdb
from replay.report.export.openmetrics import Written, write_metrics
from replay.report.export.options import ExportOptions
from replay.report.export.perfetto import MOST_REQUESTS, Shown, write_timeline
from replay.report.export.targets import (
    DASHBOARD,
    Target,
    is_compressed,
    scratch_beside,
    stream_of,
)
from replay.runs.open import Run
from replay.units import NS_PER_S, format_duration
from replay.writing.whole import whole_file


def export_run(
    run: Run,
    target: Target,
    output: Path,
    options: ExportOptions,
    *,
    force: bool = False,
    memory_bytes: int | None = None,
) -> list[str]:
    """Write a run as a target to a file or folder, and return what to know of what was written.

    The output appears when it is whole. Raises InputError for what the target cannot show of this
    run, OutputExistsError unless `force`, OutputError, and QueryError where memory is out.
    """
    compressed = is_compressed(target, output)
    with RunDatabase(run, unsafe=True, memory_bytes=memory_bytes) as database:
        if target.name == "csv":
            return [f"Files: {', '.join(write_csv_folder(database, output, force=force))}"]
        if target.name == "duckdb":
            with scratch_beside(output) as scratch, whole_file(output, force=force) as sink:
                write_duckdb(database, cast(BinaryIO, sink), scratch=scratch)
            return []
        with (
            whole_file(output, force=force) as sink,
            stream_of(sink, compressed=compressed) as stream,
        ):
            if target.name == "perfetto":
                shown = write_timeline(
                    database,
                    stream,
                    window_ns=options.window_ns or (0, None),
                    most_requests=options.most_requests or MOST_REQUESTS,
                )
                return _of_timeline(shown)
            written = write_metrics(
                database, stream, start_ns=options.start_ns, step_ns=options.step_ns
            )
    if options.dashboard is not None:
        with whole_file(options.dashboard, force=force) as sink:
            sink.write(DASHBOARD.read_bytes())
    return _of_metrics(written)


def _of_timeline(shown: Shown) -> list[str]:
    said = [f"{shown.requests:,} requests in {shown.slots:,} slots"]
    if shown.requests < shown.in_window:
        said.append(
            f"these are the first of {shown.in_window:,} in the window: --window shows another "
            "part, --limit more"
        )
    return said


def _of_metrics(written: Written) -> list[str]:
    start = datetime.fromtimestamp(written.start_ns / NS_PER_S, UTC)
    said = [
        f"{written.steps:,} samples, {format_duration(written.step_ns)} apart, from "
        f"{start:%Y-%m-%d %H:%M:%S} UTC"
    ]
    if written.left_out:
        said.append(f"of these the run knows nothing: {', '.join(written.left_out)}")
    return said
