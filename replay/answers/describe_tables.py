"""The facts of a trace as tables: groups of them to read, one flat row for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

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


def flat_table(groups: Mapping[str, Facts], notes: list[str]) -> Table:
    """Return all facts as one row, the notes as its last value."""
    from replay.report.tables import Table

    row = {name: value for facts in groups.values() for name, value in facts.items()}
    row["notes"] = "; ".join(notes)
    types = tuple(
        "UBIGINT" if name.endswith("_id") else _SQL_TYPES.get(type(value), "DOUBLE")
        for name, value in row.items()
    )
    return Table(tuple(row), [tuple(row.values())], types=types)


def grouped_tables(groups: Mapping[str, Facts], notes: list[str]) -> list[Table]:
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
