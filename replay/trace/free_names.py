"""Names for the columns of a source that nothing of replay's own has, whatever their capitals."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from replay.schema import REQUESTS, TRACE, column_names
from replay.trace.content_names import SKIPS, content_column
from replay.trace.problems import shown

_OF_TRACES = frozenset(column_names(TRACE))
# Of runs, and of the views that reports lay over them.
_OF_RUNS = frozenset((*column_names(REQUESTS), "ttft_saving_ns")) - _OF_TRACES
# What inferring sessions and merging files add to the columns of a trace.
_ADDED = frozenset(("link", "source_file", "_row", "_part"))


def free_name(name: str, taken: Collection[str], *, fresh: bool = True) -> str:
    """Return the name for a column of a source: its own, or one with `source_` before it.

    `taken` are names in small letters; those of `replay.schema` are taken always, but for the
    columns that a source fills itself (`replay.trace.content_names`), and those that replay adds
    to a trace where the column is `fresh` from its source. Where the second name is taken as well,
    it gets a number.
    """

    def is_taken(wanted: str) -> bool:
        plain = wanted.lower()
        if plain in taken or plain in _OF_RUNS or (fresh and plain in _ADDED):
            return True
        return plain in _OF_TRACES and content_column(wanted) is None and plain != SKIPS

    if not is_taken(name):
        return name
    own, number = f"source_{name}", 1
    while is_taken(own):
        number += 1
        own = f"source_{name}_{number}"
    return own


def with_free_names(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return a frame whose columns differ by more than capitals, and a note on new names.

    Columns of `replay.schema.TRACE` keep their names, and so does the first of several others.
    """
    taken = {name for name in frame.columns if name in _OF_TRACES}
    clashing = []
    for name in frame.columns:
        if name not in _OF_TRACES:
            if free_name(name, taken, fresh=False) != name:
                clashing.append(name)
            else:
                taken.add(name.lower())
    renamed: dict[str, str] = {}
    for name in clashing:
        renamed[name] = free_name(name, taken, fresh=False)
        taken.add(renamed[name].lower())
    return (frame.rename(renamed) if renamed else frame), renamed_note(renamed)


def renamed_note(renamed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the note on columns that have another name than in the source, if there are any."""
    if not renamed:
        return ()
    pairs = ", ".join(f"{shown(old)} is {shown(new)}" for old, new in renamed.items())
    return (f"columns whose names replay has for something else: {pairs}",)
