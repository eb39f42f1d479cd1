"""A page as one file that needs nothing else: heading, numbers, figures and their data.

What it is about is whoever fills in a `Document`: a run, or several side by side.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from replay.report.page.drawn import Data, Drawn, Key
from replay.report.page.look import style_sheet
from replay.report.page.notes import Line
from replay.report.page.vega import CONFIG
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
    import jinja2

    from replay.report.bundle import vega_script

    loader = jinja2.FileSystemLoader(HERE)
    templates = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    templates.filters |= {"cell": _cell, "code": _code}
    scripts = [] if static else [vega_script(), (HERE / "page.js").read_text(encoding="utf-8")]
    return templates.get_template("page.html.j2").render(
        page=page,
        policy=_policy(scripts),
        style=style_sheet(),
        sections=list(_sections(page)),
        told={**dict.fromkeys(_stories(page), ()), **page.told},
        data="" if static else _data(page.figures),
        scripts=scripts,
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


def _code(text: str) -> str:
    """Return a text as HTML, what stands in backticks as code."""
    import markupsafe

    parts = text.split("`")
    marked = [
        markupsafe.Markup("<code>{}</code>").format(part) if at % 2 else markupsafe.escape(part)
        for at, part in enumerate(parts)
    ]
    return markupsafe.Markup("").join(marked)


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


def _data(shown: Sequence[Shown]) -> str:
    """Return specs and rows as JSON that no text in it can end the script with."""
    named = {query.name: query.data for one in shown for query in one.queries}
    for one in shown:
        named |= one.drawn.data
    content = {
        "config": CONFIG,
        "specs": {view.name: view.spec for one in shown for view in one.drawn.views},
        "data": {
            name: {"columns": data.columns, "rows": data.rows} for name, data in named.items()
        },
    }
    text = json.dumps(
        content, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=str
    )
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(scripts: Sequence[str]) -> str:
    """Return the content policy: no request anywhere, and no script but these."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
