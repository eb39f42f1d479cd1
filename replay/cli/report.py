"""`replay report`: the shipped reports over a run directory, in the terminal or as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli import completion
from replay.cli.options import output_options, page_options
from replay.errors import InputError

if TYPE_CHECKING:
    from replay.report.db import RunDatabase


@click.command(short_help="What RUN came to, its reports, or a page of pictures.")
@click.argument(
    "run", type=click.Path(path_type=Path), metavar="RUN", shell_complete=completion.runs
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.reports)
@click.option("--all", "every", is_flag=True, help="Print all reports.")
@page_options
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the run's trace lies now, if it moved: for the stories on a page.",
)
@click.option("--sql", is_flag=True, help="Print the SQL of the reports instead, to copy.")
@output_options
def report(
    run: Path,
    names: tuple[str, ...],
    every: bool,
    html: Path | None,
    static: bool,
    trace: Path | None,
    sql: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Say what RUN came to, with the three tables that matter; or print the reports named.

    `replay list reports` says what there is. Each is a SQL file to read, copy and change, and
    `replay query` runs your own. A page is one file that opens anywhere, also without a network.

    \b
    replay report runs/a
    replay report runs/a --html a.html
    replay report runs/a summary --format json
    replay report runs/a ttft -o ttft.csv
    """
    from replay.cli.report_page import check_page_options, write_page

    page = check_page_options(html=html, output=output, names=names, format=format)
    if page is None and (static or trace is not None):
        given = "--static" if static else "--trace"
        raise InputError(f"{given} is about a page", hint="give --html FILE")
    if every and (names or page):
        raise InputError("--all leaves nothing to choose", hint="leave --all out")
    if sql and page:
        raise InputError("--sql prints, and a page is a file", hint="leave one of them out")
    if sql:
        from replay.cli.output import say
        from replay.report.library import load_report, report_names

        say("\n".join(load_report(name).sql for name in names or report_names()).rstrip())
    elif page is not None:
        write_page(run, page, static=static, trace=trace, force=force)
    else:
        show_reports(run, names, every=every, format=format, output=output, force=force)


def show_reports(
    folder: Path,
    names: Sequence[str] = (),
    *,
    every: bool = False,
    format: str | None = None,
    output: Path | None = None,
    force: bool = False,
) -> None:
    """Print reports, what must be read before them first.

    People who name none are shown the verdict and the reports that matter, and what else there is;
    programs get all.
    """
    from replay.cli.output import PEOPLE, emit, emit_named, note, note_all
    from replay.cli.targets import check_output, swept
    from replay.report.isolation import half_of_machine, supervise
    from replay.runs.open import open_run

    chosen_format = check_output(format, output, force=force, inputs=[folder])
    run = open_run(folder)
    with swept(output):
        supervise(half_of_machine())

    from replay.report.db import RunDatabase
    from replay.report.library import SHORT, load_report, report_names, run_report, unmet_need
    from replay.report.notices import notes, unverified, warnings

    short = not names and not every and chosen_format in PEOPLE
    chosen = [load_report(name).name for name in names or (SHORT if short else report_names())]
    with RunDatabase(run) as database:
        silent = {name: why for name in chosen if (why := unmet_need(database, name))}
        tables = {name: run_report(database, name) for name in chosen}
        verdict = _verdict(database, output) if short else []
    note_all([*unverified(run), *notes(run.manifest)])
    preface = [*warnings(run.manifest), *verdict, *silent.values()]
    if chosen_format == "json" and len(chosen) > 1:
        for line in preface:
            note(line)
        emit_named(tables, format=format, output=output, force=force)
        return
    shown = [table for name, table in tables.items() if names or name not in silent]
    emit(shown, format=format, output=output, force=force, preface=preface)
    if short:
        others = ", ".join(name for name in report_names() if name not in SHORT)
        note(
            f"\nMore: `replay report {folder} NAME`, of {others}; --all prints all, "
            "--html FILE makes a page"
        )


def _verdict(database: RunDatabase, output: Path | None) -> list[str]:
    """Return what a run comes to, as its page says it, in lines that fit."""
    import textwrap

    from replay.cli.output import text_width
    from replay.report.page import verdict
    from replay.report.page.facts import facts_of
    from replay.report.words import GLUE

    facts = facts_of(database)
    told = [verdict.headline(facts), verdict.lede(facts)]
    width = text_width(output)
    return [
        "\n".join(textwrap.wrap(line, width, break_on_hyphens=False)).replace(GLUE, " ")
        for line in told
    ]
