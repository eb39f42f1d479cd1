"""`replay describe`: what is in a trace, before anything is replayed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from replay.cli.options import output_options
from replay.cli.output import PEOPLE, emit
from replay.cli.trace_options import read_trace, trace_options

if TYPE_CHECKING:
    from replay.report.tables import Table
    from replay.trace.describe import Facts

_TITLES = {
    "trace": "Trace",
    "arrivals": "Arrivals",
    "lengths": "Lengths",
    "sessions": "Sessions",
    "content": "Content",
    "ceilings": "Ceilings: what content allows, and what whole blocks allow an engine",
    "sources": "Who put the tokens of the content ceiling there (global prefix: part of both)",
    "ideal": "Hit rates of an unbounded cache (of blocks: prompts alone, partial ends counted)",
    "reuse": "Blocks and seconds between two uses of a block (hot: in over 1% of requests)",
}
_REUSE_ROWS = {
    "reuse_distance_blocks": "blocks, all",
    "nonhot_reuse_distance_blocks": "blocks, hot ones left out",
    "reuse_time_s": "seconds, all",
    "nonhot_reuse_time_s": "seconds, hot ones left out",
}
_LENGTH_ROWS = {"input_tokens": "input tokens", "output_tokens": "output tokens"}
_SQL_TYPES = {int: "BIGINT", str: "VARCHAR"}  # other facts are numbers, known or not


@click.command(short_help="Describe a trace: load, lengths, sessions, what repeats.")
@click.argument("trace", type=click.Path(path_type=Path))
@trace_options
@click.option("--no-sessions", is_flag=True, help="Look for no sessions in a trace without them.")
@output_options
def describe(
    trace: Path,
    no_sessions: bool,
    format: str | None,
    output: Path | None,
    force: bool,
    **parameters: Any,
) -> None:
    """Describe a trace: load, lengths, sessions, and how much of its content repeats.

    Hit rates are those of an unbounded cache. The content ceiling counts token by token, responses
    included where they are known; the block ceiling is what whole blocks leave an engine of it.
    Tables show groups of facts; other formats hold one flat row.
    """
    from replay.cli.progress import compile_first, progress
    from replay.cli.targets import check_output, read_beside
    from replay.engine.parts import CONTENT, READING
    from replay.trace.continuation import continue_sessions, may_assume
    from replay.trace.describe import describe as facts_of
    from replay.trace.describe import notes as notes_of
    from replay.trace.sessions import infer_sessions
    from replay.trace.tree import build_tree

    inputs = [trace, *read_beside(parameters)]
    chosen = check_output(format, output, force=force, inputs=inputs)
    with progress("Reading the trace", patience_s=compile_first(READING, CONTENT)) as bar:
        bar.update(0, 0)
        requests = read_trace(trace, parameters, bar.hook)
        if may_assume(requests):
            requests = continue_sessions(requests)
        bar.hook("Finding what repeats", 0, 0)
        if not no_sessions:
            requests = infer_sessions(requests)
        tree = build_tree(requests) if requests.has_content else None
        facts, notes = facts_of(requests, tree), notes_of(requests)
    tables = _grouped(facts, notes) if chosen in PEOPLE else [_flat(facts, notes)]
    emit(tables, format=format, output=output, force=force)


def _flat(groups: Mapping[str, Facts], notes: list[str]) -> Table:
    """Return all facts as one row, the notes as its last value."""
    from replay.report.tables import Table

    row = {name: value for facts in groups.values() for name, value in facts.items()}
    row["notes"] = "; ".join(notes)
    types = tuple(
        "UBIGINT" if name.endswith("_id") else _SQL_TYPES.get(type(value), "DOUBLE")
        for name, value in row.items()
    )
    return Table(tuple(row), [tuple(row.values())], types=types)


def _grouped(groups: Mapping[str, Facts], notes: list[str]) -> list[Table]:
    """Return a table for each group in which anything is known, and one of the notes."""
    from replay.report.tables import Table

    tables = []
    for name, facts in groups.items():
        if any(value is not None for value in facts.values()):
            rows = {"lengths": _LENGTH_ROWS, "reuse": _REUSE_ROWS}.get(name)
            row = [tuple(facts.values())]
            table = (
                _crossed(facts, rows, _TITLES[name])
                if rows
                else Table(tuple(facts), row, title=_TITLES[name])
            )
            tables.append(table)
    if notes:
        tables.append(Table(("note",), [(text,) for text in notes], title="Notes"))
    return tables


def _crossed(facts: Facts, rows: Mapping[str, str], title: str) -> Table:
    """Return facts named `row_column` as a table with these rows."""
    from replay.report.tables import Table

    first = next(iter(rows))
    columns = [name.removeprefix(f"{first}_") for name in facts if name.startswith(f"{first}_")]
    found = [
        (label, *(facts[f"{row}_{column}"] for column in columns)) for row, label in rows.items()
    ]
    return Table(("of", *columns), found, title=title)
