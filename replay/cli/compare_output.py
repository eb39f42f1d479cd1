"""What `replay compare` gives: findings and tables, or a page."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from replay.errors import UnknownNameError

if TYPE_CHECKING:
    from replay.cli.compare_configurations import Made
    from replay.report.compare.compare import Comparison


def show(
    made: Made,
    chosen: str | None,
    *,
    every: bool,
    format: str | None,
    output: Path | None,
    force: bool,
) -> None:
    """Print the findings and the tables, or write tables."""
    from replay.cli.output import PEOPLE, chosen_format, emit, emit_named, note, note_all
    from replay.cli.targets import swept
    from replay.report.isolation import half_of_machine, supervise

    memory = half_of_machine()
    with swept(output):
        supervise(memory)

    from replay.report.compare.compare import compare_runs
    from replay.report.compare.worded import shown_first, worded_tables

    found = compare_runs(made.runs, names=made.names, kept=made.kept, memory_bytes=memory)
    if chosen is not None and chosen not in found.tables:
        raise UnknownNameError("table", chosen, found.tables)
    if chosen_format(format, output) not in PEOPLE:
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


def write_page(made: Made, output: Path, *, static: bool = False, force: bool = False) -> None:
    """Write the page of a comparison to a file, and say where it is.

    Raises InputError where there is nothing to compare or where pages need more than is installed.
    """
    from replay.cli.output import note
    from replay.cli.progress import progress
    from replay.cli.targets import swept
    from replay.report.bundle import check_extra
    from replay.report.isolation import half_of_machine, supervise, unbind
    from replay.writing.whole import whole_file

    check_extra()
    memory = half_of_machine()
    with swept(output):
        supervise(memory)

    with progress("Comparing the runs") as bar:
        from replay.report.compare.compare import asked_runs, comparison
        from replay.report.compare.page.build import compose, page_text

        with asked_runs(made.runs, names=made.names, kept=made.kept, memory_bytes=memory) as asked:
            page = compose(asked, comparison(asked, kept=made.kept))
        unbind()
        bar.hook("Drawing", 0, 0)
        text = page_text(page, command=shlex.join(["replay", *sys.argv[1:]]), static=static)
        with whole_file(output, force=force) as sink:
            sink.write(text.encode("utf-8", "backslashreplace"))
    note(f"Page written to {output}")
