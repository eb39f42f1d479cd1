"""A page as one file that needs nothing else: heading, numbers, figures and their data.

What it is about is whoever fills in a `Document`: a run, or several side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from replay.report.frame.drawing import CONFIG
from replay.report.frame.html import framed
from replay.report.page.drawn import Data, Drawn, Key
from replay.report.page.notes import Line
from replay.report.page.verdict import Tile

HERE = Path(__file__).parent
FULL, HALF, THIRD = "full", "half", "third"
_DIGITS = 6  # of a number in the page: more than anybody reads off a picture


@dataclass(frozen=True, slots=True)
class Query:
    """A query behind a figure: its SQL as it can be run again, and what it gave."""

    name: str
    sql: str
    data: Data

    @classmethod
    def of(cls, name: str, sql: str, data: Data) -> Query:
        """Return a query with its numbers rounded to what a page holds."""
        rows = [tuple(_round(value) for value in row) for row in data.rows]
        return cls(name, sql.strip(), Data(data.columns, rows))


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in its place."""

    name: str
    drawn: Drawn
    queries: tuple[Query, ...]
    section: str
    width: str = FULL


@dataclass(frozen=True, slots=True)
class Document:
    """Everything that stands on a page, in the order of the page.

    `sections` name those of `figures`: what the way to them is called, and their title.
    `told` are stories by the id of a figure's story, `no_stories` is why there are no more;
    `left_out` are figures and why they are not there, `sql_note` says how SQL is run again.
    """

    title: str
    eyebrow: str
    headline: str
    lede: str
    figures: Sequence[Shown]
    sections: Mapping[str, tuple[str, str]]
    commands: Sequence[str]
    sql_note: str
    warnings: Sequence[Line] = ()
    tiles: Sequence[Tile] = ()
    notes: Sequence[Line] = ()
    left_title: str = "What this run cannot show"
    left_out: Sequence[tuple[str, str]] = ()
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    no_stories: str = ""
    provenance: Sequence[tuple[str, str]] = ()


def html_of(page: Document, *, static: bool = False) -> str:
    """Return the text of a page; `static` draws the pictures here and leaves scripts out."""
    return framed(
        HERE / "page.html.j2",
        title=page.title,
        style=(HERE / "style.css").read_text("utf-8"),
        content=None if static else _content(page.figures),
        page=page,
        sections=list(_sections(page)),
        told={**dict.fromkeys(_stories(page), ()), **page.told},
        svgs=_svgs(page) if static else {},
    )


def _stories(page: Document) -> Iterator[str]:
    for shown in page.figures:
        yield from (story["id"] for story in shown.drawn.stories)


def _svgs(page: Document) -> dict[str, str]:
    from replay.report.page.static import svg_of

    found: dict[str, str] = {}
    for shown in page.figures:
        data = {query.name: query.data for query in shown.queries} | dict(shown.drawn.data)
        width = HALF if shown.drawn.side_by_side else shown.width
        found |= {view.name: svg_of(view, data, width) for view in shown.drawn.views}
    return found


@dataclass(frozen=True, slots=True)
class _Row:
    """Figures side by side, under one key where they share it."""

    width: str
    figures: list[Shown]
    key: tuple[Key, ...] = ()
    key_title: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    short: str
    title: str
    rows: list[_Row]


def _sections(page: Document) -> Iterator[_Section]:
    for name, (short, title) in page.sections.items():
        rows: list[_Row] = []
        for shown in page.figures:
            if shown.section != name:
                continue
            if rows and rows[-1].width == shown.width != FULL:
                rows[-1].figures.append(shown)
            else:
                rows.append(_Row(shown.width, [shown]))
        if rows:
            yield _Section(name, short, title, [_with_key(row) for row in rows])


def _with_key(row: _Row) -> _Row:
    """Return a row of small figures with one key above instead of one in each."""
    if row.width != THIRD:
        return row
    keys = dict.fromkeys(key for shown in row.figures for key in shown.drawn.key)
    bare = [replace(shown, drawn=replace(shown.drawn, key=())) for shown in row.figures]
    return _Row(row.width, bare, tuple(keys))


def _content(shown: Sequence[Shown]) -> dict[str, Any]:
    """Return specs and rows, those of a query once."""
    named = {query.name: query.data for one in shown for query in one.queries}
    for one in shown:
        named |= one.drawn.data
    return {
        "config": CONFIG,
        "specs": {view.name: view.spec for one in shown for view in one.drawn.views},
        "data": {
            name: {"columns": data.columns, "rows": data.rows} for name, data in named.items()
        },
    }


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
