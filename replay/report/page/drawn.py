"""What a figure is before it is a page: its sentences, its key, its views, the data behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay.report.tables import Table

MOST_COLUMNS, LONGEST_CELL = 4, 24  # of a small table that fits a phone


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of one query, small enough to stand in a page."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, table: Table) -> Data:
        """Return the rows of a table."""
        return cls(tuple(table.columns), table.rows)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        at = self.columns.index(name)
        return [row[at] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the legend: a colour in words. `mark` is box, dot, line or dash.

    `share` and `amount` stand beside it where the key tells the numbers too.
    """

    label: str
    colour: str
    mark: str = "box"
    share: str = ""
    amount: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """One drawing: a Vega-Lite spec over the data of a query, by the names of both."""

    name: str
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar: its weight, its colour, what is written on it."""

    label: str
    colour: str
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as it is shown.

    `caption` states the finding, `subtitle` what is drawn; `marks` are `views`, a `bar` or a table
    of `stories`, and `digest` a small table that stays open. `tag` warns on the figure itself.
    `data` are rows that its views draw and that no query of its own has, by name.
    """

    caption: str
    subtitle: str
    key: tuple[Key, ...] = ()
    key_title: str = ""
    views: tuple[View, ...] = ()
    side_by_side: bool = False
    bar: tuple[Segment, ...] = ()
    digest: tuple[tuple[str, ...], ...] = ()
    stories: tuple[Mapping[str, Any], ...] = ()
    story_columns: tuple[str, ...] = ()
    tag: str = ""
    data: Mapping[str, Data] = field(default_factory=dict)

    @property
    def is_wide(self) -> bool:
        """Whether its small table may not fit a phone, so that it has to scroll."""
        cells = [cell for row in self.digest for cell in row]
        return bool(self.digest) and (
            len(self.digest[0]) > MOST_COLUMNS or max(map(len, cells)) > LONGEST_CELL
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A figure that a run does not have, and why in a few words."""

    why: str
