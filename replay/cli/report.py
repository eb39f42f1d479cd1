"""`replay report`: the shipped reports over a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from replay.cli import completion
from replay.cli.options import output_options


@click.command()
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="RUN", shell_complete=completion.runs
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.reports)
@click.option("--sql", is_flag=True, help="Print the SQL of the reports instead, to copy.")
@output_options
def report(
    run: Path,
    names: tuple[str, ...],
    sql: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Print reports over RUN; all of them when no NAME is given.

    `replay list reports` says what there is. Each is a SQL file to read, copy and change, and
    `replay query` runs your own.

    \b
    replay report runs/a
    replay report runs/a summary --format json
    replay report runs/a ttft -o ttft.csv
    """
    if sql:
        from replay.cli.output import say
        from replay.report.library import load_report, report_names

        say("\n".join(load_report(name).sql for name in names or report_names()).rstrip())
        return
    show_reports(run, names, format=format, output=output, force=force)


def show_reports(
    folder: Path,
    names: Sequence[str],
    *,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
) -> None:
    """Print reports, what must be read before them first."""
    from replay.cli.output import emit, emit_named, note, note_all
    from replay.cli.targets import check_output, swept
    from replay.report.isolation import half_of_machine, supervise
    from replay.runs.open import open_run

    chosen_format = check_output(format, output, force=force, inputs=[folder])
    run = open_run(folder)
    with swept(output):
        supervise(half_of_machine())

    from replay.report.db import RunDatabase
    from replay.report.library import load_report, report_names, run_report, unmet_need
    from replay.report.notices import notes, unverified, warnings

    chosen = [load_report(name).name for name in names or report_names()]
    with RunDatabase(run) as database:
        silent = {name: why for name in chosen if (why := unmet_need(database, name))}
        tables = {name: run_report(database, name) for name in chosen}
    note_all([*unverified(run), *notes(run.manifest)])
    preface = [*warnings(run.manifest), *silent.values()]
    if chosen_format == "json" and len(chosen) > 1:
        for line in preface:
            note(line)
        emit_named(tables, format=format, output=output, force=force)
        return
    shown = [table for name, table in tables.items() if names or name not in silent]
    emit(shown, format=format, output=output, force=force, preface=preface)
