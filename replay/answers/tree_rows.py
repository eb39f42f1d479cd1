"""The rows of a prefix tree that are shown, in the order they are drawn, and what they leave out.

What a measure gives a prefix is never more than what it gives the one above. So the prefixes with
most of it, the one above first where they are equal, are a tree: no row hangs in the air.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.answers.shared_tree import SharedTree
from replay.errors import InputError, UnknownNameError
from replay.report.tables import Table

# What rows are chosen and ordered by, and the column that has it: of a prefix and all below it.
MEASURES = {
    "saved": "subtree_hit_tokens",
    "requests": "requests",
    "tokens": "subtree_input_tokens",
}
SHOWN, DRAWN = 20, 60  # rows by default, of a table and of a picture
LEAST = 2  # requests that make a prefix a shared one
COLUMNS = (
    "prefix_id", "parent_prefix_id", "level", "start_tokens", "stop_tokens", "requests", "sessions",
    "hit_tokens", "hit_share", "repeats_hit_share", "subtree_hit_tokens", "subtree_input_tokens",
    "ways", "alone_requests", "evicted_blocks", "first_request_id", "last_block_id", "text",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are wanted: by a name of MEASURES, so many, to a level, of so many requests."""

    by: str = "saved"
    depth: int | None = None
    limit: int = SHOWN
    min_requests: int = LEAST

    def __post_init__(self) -> None:
        """Raise UnknownNameError for another measure, InputError for what shows nothing."""
        if self.by not in MEASURES:
            raise UnknownNameError("measure", self.by, MEASURES)
        for name, value, least in (
            ("depth", self.depth, 1),
            ("limit", self.limit, 1),
            ("min_requests", self.min_requests, LEAST),
        ):
            if value is not None and value < least:
                raise InputError(f"{name} must be at least {least} (got {value!r})")

    @property
    def column(self) -> str:
        """The column of the measure."""
        return MEASURES[self.by]

    def whole(self, tree: SharedTree) -> int:
        """Return what the measure gives all prompts together."""
        return {
            "saved": tree.hit_tokens,
            "requests": tree.requests,
            "tokens": tree.input_tokens,
        }[self.by]


def tree_rows(tree: SharedTree, choice: Choice) -> pl.DataFrame:
    """Return the chosen rows from the root down, each before what is below it, most first.

    The columns are those of COLUMNS that the tree has. `hit_share` is the share of all that was
    hit; `text` are first and last words, null where they are not known.
    """
    wanted = pl.col("requests") >= choice.min_requests
    if choice.depth is not None:
        wanted &= pl.col("level") <= choice.depth
    rows = tree.prefixes.filter(wanted)
    most = pl.col(choice.column)
    rows = rows.sort(most, "prefix_id", descending=[True, False]).head(choice.limit)
    rows = rows[_drawing_order(rows["prefix_id"].to_list(), rows["parent_prefix_id"].to_list())]
    share = pl.col("hit_tokens") / max(tree.hit_tokens, 1)
    rows = rows.with_columns(hit_share=share, text=tree.words(rows))
    return rows.select(name for name in COLUMNS if name in rows.columns)


def _drawing_order(ids: Sequence[int], parents: Sequence[int | None]) -> list[int]:
    """Return the places of rows that are sorted by a measure, each before those below it."""
    below: dict[int | None, list[int]] = {}
    for place, parent in enumerate(parents):
        below.setdefault(parent, []).append(place)
    order: list[int] = []
    waiting = below.get(None, [])[::-1]
    while waiting:
        place = waiting.pop()
        order.append(place)
        waiting += below.get(ids[place], [])[::-1]
    return order


def spans(rows: pl.DataFrame, widths: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return where each of the chosen rows starts and stops beside the others, as in an icicle.

    A row is as wide as `widths` says; those below it stand side by side from where it starts.
    """
    ids, parents = rows["prefix_id"].to_list(), rows["parent_prefix_id"].to_list()
    free: dict[int | None, float] = {None: 0}
    starts = []
    for one, parent, width in zip(ids, parents, widths.to_list(), strict=True):
        start = free[parent]
        free[parent] = start + width
        free[one] = start
        starts.append(start)
    start_of = np.array(starts, np.int64)
    return start_of, start_of + widths.to_numpy()


def account(tree: SharedTree, rows: pl.DataFrame) -> Table:
    """Return where the hit tokens are, part by part: the last row is the sum of those above it."""
    whole, shared = tree.hit_tokens, int(tree.prefixes["hit_tokens"].sum())
    shown = int(rows["hit_tokens"].sum())
    parts: list[tuple[str, int | None, int]] = [
        ("prefixes shown", len(rows), shown),
        ("other shared prefixes", len(tree.prefixes) - len(rows), shared - shown),
    ]
    if tree.resumed:
        parts.append(("alone, or again after preemption", None, whole - shared))
    elif whole != shared:
        parts.append(("in one prompt alone, after a response", None, whole - shared))
    parts.append(("all", len(tree.prefixes), whole))
    return Table(
        ("where", "prefixes", "hit_tokens", "hit_share", "input_share"),
        [
            (name, count, tokens, tokens / max(whole, 1), tokens / max(tree.input_tokens, 1))
            for name, count, tokens in parts
        ],
        types=("VARCHAR", "BIGINT", "BIGINT", "DOUBLE", "DOUBLE"),
    )
