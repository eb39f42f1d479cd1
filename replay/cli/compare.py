"""`replay compare`: what differs between runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replay.cli import completion
from replay.cli.options import output_options
from replay.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from replay.report.compare.compare import Comparison


@click.command(short_help="Runs side by side: what differs, who gained, what is a tie.")
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="A B [C]...",
    shell_complete=completion.runs,
)
@click.option(
    "--table",
    "chosen",
    metavar="NAME",
    shell_complete=completion.compared,
    help="One of the tables, such as gained.",
)
@click.option("--all", "every", is_flag=True, help="Print all tables.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with pictures instead; so does -o FILE.html.",
)
@click.option("--static", is_flag=True, help="A page without scripts: pictures are SVG.")
@output_options
def compare(
    runs: tuple[Path, ...],
    chosen: str | None,
    every: bool,
    html: Path | None,
    static: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Compare runs with the first of them.

    By request where they are of one trace, else by quantiles. A difference of latencies within the
    GPU model's error is a tie. Three runs and more are ranked.

    \b
    replay compare runs/bf16 runs/fp8
    replay compare runs/bf16 runs/fp8 --html compared.html
    replay compare runs/lru runs/slru --table gained --format csv
    replay compare runs/a runs/b runs/c --format json
    """
    from replay.cli.report_page import check_page_options

    if len(runs) < 2:
        raise InputError(f"one run is no comparison (got {runs[0]})", hint="give two or more")
    if every and chosen is not None:
        raise InputError("--all leaves nothing to choose", hint="leave --all or --table out")
    named = [chosen] if chosen else ["--all"] if every else []
    page = check_page_options(html=html, output=output, names=named, format=format)
    if page is not None:
        from replay.cli.compare_page import write_page

        write_page(runs, page, static=static, force=force)
    elif static:
        raise InputError("--static is about a page", hint="give --html FILE")
    else:
        _show(runs, chosen, every=every, format=format, output=output, force=force)


def _show(
    runs: Sequence[Path],
    chosen: str | None,
    *,
    every: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Print the findings and the tables, or write tables."""
    from replay.cli.output import PEOPLE, emit, emit_named, note, note_all
    from replay.cli.targets import check_output, swept
    from replay.report.isolation import half_of_machine, supervise
    from replay.runs.open import open_run

    format_chosen = check_output(format, output, force=force, inputs=runs)
    opened = [open_run(run) for run in runs]
    memory = half_of_machine()
    with swept(output):
        supervise(memory)

    from replay.report.compare.compare import compare_runs
    from replay.report.compare.worded import shown_first, worded_tables

    found = compare_runs(opened, memory_bytes=memory)
    if chosen is not None and chosen not in found.tables:
        raise UnknownNameError("table", chosen, found.tables)
    if format_chosen not in PEOPLE:
        for line in (*found.warnings, *found.left_out):
            note(line)
        tables = found.tables if chosen is None else {chosen: found.tables[chosen]}
        emit_named(tables, format=format, output=output, force=force)
        return
    tables = worded_tables(found)
    names = [chosen] if chosen is not None else [*tables] if every else shown_first(found)
    preface = [*found.warnings, *found.left_out, *([] if chosen else _said(found))]
    shown = [tables[name] for name in names]
    emit(shown, format=format, output=output, force=force, preface=preface)
    note_all([*found.assumed, *found.verdicts])
    if others := [name for name in tables if name not in names and chosen is None]:
        note(f"\nMore: `--table NAME`, of {', '.join(others)}; --all prints all, --html FILE draws")


def _said(found: Comparison) -> list[str]:
    """Return the findings, and before them what the letters stand for where runs are called so."""
    letters = [f"{side.letter}: {side.name}" for side in found.sides if side.called != side.name]
    return [*(["\n".join(letters)] if letters else []), "\n".join(found.said)]
