"""`replay report`: the shipped reports over a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from replay.cli.options import output_options


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@output_options
def report(run: Path, names: tuple[str, ...], format: str | None, output: Path | None) -> None:
    """Print reports over RUN; all of them when no NAME is given.

    `replay list reports` says what there is. Each is a SQL file to read, copy and change, and
    `replay query` runs your own.

    \b
    replay report runs/a
    replay report runs/a summary --format json
    replay report runs/a ttft -o ttft.csv
    """
    show_reports(run, names, format=format, output=output)


def show_reports(
    folder: Path, names: Sequence[str], *, format: str | None = None, output: Path | None = None
) -> None:
    """Print reports, what must be read before them first."""
    from replay.cli.output import emit, note
    from replay.report.db import RunDatabase
    from replay.report.library import load_report, notes, report_names, run_report, warnings
    from replay.runs.open import open_run

    chosen = [load_report(name).name for name in names or report_names()]
    run = open_run(folder)
    with RunDatabase(run) as database:
        tables = [run_report(database, name) for name in chosen]
    for line in notes(run):
        note(f"Note: {line}")
    emit(tables, format=format, output=output, preface=warnings(run))
