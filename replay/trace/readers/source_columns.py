"""The source's own columns: values that replay does not need, kept under their names.

A column of a source may bear no name that a trace, its reader or a run has for something else,
whatever its capitals: SQL does not tell `Status` from `status`. It gets `source_` before it then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from replay.trace.content_names import (
    SKIPS,
    content_column,
    name_text,
    skips_lookup,
    tells_skipping,
)
from replay.trace.free_names import free_name, renamed_note
from replay.trace.priorities import PRIORITY, written_priorities
from replay.trace.problems import shown

_Values = list[object]


class _NewName(str):
    """The free name of a key that its reader has for something else."""

    old: str


@dataclass(frozen=True, slots=True)
class KeyNotes:
    """What became of a source's keys: those of no one plain type, and new names by old ones."""

    dropped: tuple[str, ...]
    renamed: Mapping[str, str]


def scalar_columns(
    rows: Sequence[Mapping[str, object]], *, taken: Iterable[str] = ()
) -> tuple[list[pl.Series], KeyNotes]:
    """Return the values of these rows by column, and what became of their keys.

    A column is kept where its values are all integers, numbers, texts or truths, null where a row
    has none; names of models, adapters, salts and tenants are text, whatever they are written as.
    `taken` are the columns that the reader itself makes.
    """
    values: dict[str, _Values] = {}
    for place, row in enumerate(rows):
        for name, value in row.items():
            if name not in values:  # setdefault would make a list of all rows for each value
                values[name] = [None] * len(rows)
            values[name][place] = value
    if any(map(tells_skipping, values)):
        skips = [skips_lookup(row) for row in rows]
        if any(skips):
            values[SKIPS] = list(skips)
    names = {name.lower() for name in taken}
    kept: list[pl.Series] = []
    dropped, renamed = [], {}
    for name, found in values.items():
        own = free_name(name, names)
        column = _column(own, found, name)
        if column is None:
            dropped.append(shown(name))
            continue
        kept.append(column)
        names.add(own.lower())
        if own != name or isinstance(name, _NewName):
            renamed[name.old if isinstance(name, _NewName) else name] = own
    return kept, KeyNotes(tuple(dropped), renamed)


def dropped_note(keys: KeyNotes) -> tuple[str, ...]:
    """Return the notes on keys that were left out, and on those that have another name now."""
    notes = renamed_note(keys.renamed)
    if keys.dropped:
        notes += (f"keys without one plain type were left out: {', '.join(keys.dropped)}",)
    return notes


def joined_values(own: Mapping[str, object], made: Mapping[str, object]) -> dict[str, object]:
    """Return a row's own values and those that its reader makes of it, none of them lost.

    A key of the row that the reader has for something else gets a free name. Nulls are left out.
    """
    taken = {name.lower() for name in (*own, *made)}
    joined: dict[str, object] = {}
    for name, value in own.items():
        key = name
        if name in made:
            key = _NewName(free_name(name, taken))
            key.old = name
        joined[key] = value
    joined.update(made)
    return {name: value for name, value in joined.items() if value is not None}


def beside(
    columns: Iterable[pl.Series], taken: Iterable[str]
) -> tuple[list[pl.Series], tuple[str, ...]]:
    """Return columns of a source under names that are free beside `taken`, and a note on these."""
    names = {name.lower() for name in taken}
    kept, renamed = [], {}
    for column in columns:
        own = free_name(column.name, names)
        names.add(own.lower())
        kept.append(column.alias(own))
        if own != column.name:
            renamed[column.name] = own
    return kept, renamed_note(renamed)


def _column(name: str, values: _Values, key: str) -> pl.Series | None:
    if key == PRIORITY:
        return written_priorities(name, values)
    if content_column(key) is not None:
        return pl.Series(name, [name_text(value) for value in values], dtype=pl.String)
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
