"""The source's own columns: values that replay does not need, kept under their names."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

import polars as pl

from replay.schema import TRACE, column_names
from replay.trace.problems import shown

SESSION = "source_session_id"  # what readers call the names of sessions
_TAKEN = frozenset(column_names(TRACE))


def source_name(name: str) -> str:
    """Return the column for a name of the source: `source_` stands before a canonical one."""
    return f"source_{name}" if name in _TAKEN else name


def free_name(name: str, taken: Container[str]) -> str:
    """Return the column for a name of the source where some are taken beside the canonical ones.

    `source_` stands before it as often as it takes.
    """
    free = source_name(name)
    while free in taken:
        free = f"source_{free}"
    return free


def scalar_columns(
    rows: Sequence[Mapping[str, object]], taken: Iterable[str] = ()
) -> tuple[list[pl.Series], list[str]]:
    """Return the values of these rows by column, and the names that have no one plain type.

    A column is kept where its values are all integers, numbers, texts or truths, null where a row
    has none, each under a name that is none of the `taken` ones.
    """
    values: dict[str, list[object]] = {}
    for place, row in enumerate(rows):
        for name, value in row.items():
            if name not in values:  # setdefault would make a list of all rows for each value
                values[name] = [None] * len(rows)
            values[name][place] = value
    kept: list[pl.Series] = []
    dropped, names = [], set(taken)
    for name, found in values.items():
        column = _column(free_name(name, names), found)
        if column is None:
            dropped.append(shown(name))
        else:
            names.add(column.name)
            kept.append(column)
    return kept, dropped


def dropped_note(dropped: Sequence[str]) -> tuple[str, ...]:
    """Return the note on names that were left out, if there are any."""
    if not dropped:
        return ()
    return (f"keys without one plain type were left out: {', '.join(dropped)}",)


def _column(name: str, values: list[object]) -> pl.Series | None:
    types = {float if isinstance(value, float) else type(value) for value in values}
    types.discard(type(None))
    for allowed, dtype in (
        ({bool}, pl.Boolean), ({int}, pl.Int64), ({int, float}, pl.Float64), ({str}, pl.String),
    ):  # fmt: skip
        if types and types <= allowed:
            try:
                return pl.Series(name, values, dtype=dtype)
            except (OverflowError, TypeError, UnicodeEncodeError, pl.exceptions.PolarsError):
                return None
    return None
