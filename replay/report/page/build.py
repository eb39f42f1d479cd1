"""The page of a run: facts, figures and stories put into one file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from replay.report.db import RunDatabase
from replay.report.library import load_report, report_names
from replay.report.page import verdict
from replay.report.page.columns import told_columns
from replay.report.page.drawn import Data, Drawn, Key, LeftOut
from replay.report.page.facts import Facts, facts_of
from replay.report.page.gallery import (
    FIGURES,
    FULL,
    HALF,
    SECTIONS,
    THIRD,
    Figure,
    column_figure,
    lack,
)
from replay.report.page.look import style_sheet
from replay.report.page.notes import keep_in_mind, read_first
from replay.report.page.vega import CONFIG
from replay.runs.open import Run

HERE = Path(__file__).parent
SQL = HERE / "sql"
_DIGITS = 6  # of a number in the page: more than anybody reads off a picture


@dataclass(frozen=True, slots=True)
class Stories:
    """What there is to tell of single requests, by request_id; `lack` is why there is no more."""

    told: Mapping[int, Sequence[str]] = field(default_factory=dict)
    lack: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query behind a figure: its SQL as it can be run again, and what it gave."""

    name: str
    sql: str
    data: Data


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure in its place."""

    name: str
    drawn: Drawn
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a page says, before it is text: for the templates, and for tests."""

    facts: Facts
    figures: tuple[tuple[Figure, Shown], ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def suffering(self) -> list[int]:
        """The requests whose stories it would tell, the worst first."""
        return [int(story["id"]) for _, shown in self.figures for story in shown.drawn.stories]


def sql_of(name: str) -> str:
    """Return the SQL of a figure's query: a file of `sql/`, a report, or `by_` a column."""
    if (SQL / f"{name}.sql").is_file():
        return (SQL / f"{name}.sql").read_text(encoding="utf-8")
    if name in report_names():
        return load_report(name).sql
    quoted = name.removeprefix("by_").replace('"', '""')
    return (SQL / "values.sql").read_text(encoding="utf-8").replace('"COLUMN"', f'"{quoted}"')


def compose(database: RunDatabase) -> Page:
    """Return what a page of an open run says; raises QueryError."""
    facts = facts_of(database)
    figures, left_out = [], []
    for one in (*FIGURES, *map(column_figure, told_columns(database))):
        found = _shown(database, one, facts)
        if isinstance(found, Shown):
            figures.append((one, found))
        elif found.why:
            left_out.append((one.called, found.why))
    return Page(facts, tuple(figures), tuple(left_out))


def _shown(database: RunDatabase, figure: Figure, facts: Facts) -> Shown | LeftOut:
    why = lack(figure, facts)
    if why is not None:
        return LeftOut(why)
    queries = []
    for name in figure.queries:
        sql = sql_of(name)
        queries.append(Query(name, sql.strip(), _rounded(Data.of(database.query(sql).table()))))
    if not queries[0].data.rows:
        return LeftOut("it has nothing to show")
    drawn = figure.draw({query.name: query.data for query in queries}, facts)
    return drawn if isinstance(drawn, LeftOut) else Shown(figure.name, drawn, tuple(queries))


def _rounded(data: Data) -> Data:
    rows = [tuple(_round(value) for value in row) for row in data.rows]
    return Data(data.columns, rows)


def _round(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def page_text(page: Page, run: Run, stories: Stories, *, command: str, static: bool = False) -> str:
    """Return the HTML of a page; `command` is how it was made.

    `static` draws the pictures here and leaves scripts out.
    """
    import jinja2

    from replay.report.bundle import vega_script

    loader = jinja2.FileSystemLoader(HERE)
    templates = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    templates.filters |= {"cell": _cell, "code": _code}
    facts, shown = page.facts, [shown for _, shown in page.figures]
    svgs = _svgs(page) if static else {}
    scripts = [] if static else [vega_script(), (HERE / "page.js").read_text(encoding="utf-8")]
    return templates.get_template("page.html.j2").render(
        policy=_policy(scripts),
        title=f"{facts.run['trace_name'] or 'a trace'}: {verdict.headline(facts)}",
        style=style_sheet(),
        eyebrow=_eyebrow(facts),
        warnings=read_first(facts, run),
        headline=verdict.headline(facts),
        lede=verdict.lede(facts),
        tiles=verdict.tiles(facts),
        notes=keep_in_mind(facts),
        sections=list(_sections(page)),
        left_out=page.left_out,
        told={str(request): lines for request, lines in stories.told.items()}
        | _untold(page, stories),
        no_stories=stories.lack,
        commands=[*_made_by(facts), command],
        provenance=_provenance(facts),
        data="" if static else _data(shown),
        scripts=scripts,
        svgs=svgs,
    )


def _svgs(page: Page) -> dict[str, str]:
    from replay.report.page.static import svg_of

    found: dict[str, str] = {}
    for figure, shown in page.figures:
        data = {query.name: query.data for query in shown.queries}
        width = HALF if shown.drawn.side_by_side else figure.width
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


def _untold(page: Page, stories: Stories) -> dict[str, tuple[str, ...]]:
    return {str(request): () for request in page.suffering if request not in stories.told}


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


def _sections(page: Page) -> Iterator[_Section]:
    for name, (short, title) in SECTIONS.items():
        rows: list[_Row] = []
        for figure, shown in page.figures:
            if figure.section != name:
                continue
            if rows and rows[-1].width == figure.width != FULL:
                rows[-1].figures.append(shown)
            else:
                rows.append(_Row(figure.width, [shown]))
        if rows:
            yield _Section(name, short, title, [_with_key(row) for row in rows])


def _with_key(row: _Row) -> _Row:
    """Return a row of small figures with one key above instead of one in each."""
    if row.width != THIRD:
        return row
    keys = dict.fromkeys(key for shown in row.figures for key in shown.drawn.key)
    bare = [replace(shown, drawn=replace(shown.drawn, key=())) for shown in row.figures]
    return _Row(row.width, bare, tuple(keys))


def _eyebrow(facts: Facts) -> str:
    run = facts.run
    where = []
    if run["gpu"] is not None and facts.timed:
        where.append(f"{run['model']} on {run['tensor_parallel']} × {run['gpu']}")
    cache = (facts.manifest.get("scenario") or {}).get("cache") or {}
    kinds = {"radix": "radix cache", "session_store": "session store"}
    kind = kinds.get(str(cache.get("kind")), "")
    policy = f"{kind}, {str(run['policy']).upper()}" if kind else str(run["policy"]).upper()
    where.append(policy if facts.cache_on else "cache off")
    blocks = run["capacity_blocks"]
    where.append("no memory limit" if blocks is None else f"{facts.room(blocks)} of KV")
    return " · ".join(filter(None, ["replay report", run["trace_name"], ", ".join(where)]))


def _made_by(facts: Facts) -> list[str]:
    argv = facts.manifest.get("argv")
    return [shlex.join(["replay", *map(str, argv)])] if argv else []


def _provenance(facts: Facts) -> list[tuple[str, str]]:
    run = facts.run
    made = ", ".join(
        filter(None, [f"replay {run['replay_version']}", run["created_at"], f"seed {run['seed']}"])
    )
    found = [("result", run["result_digest"]), ("trace", run["trace_sha256"]), ("version", made)]
    return [(name, value) for name, value in found if value]


def _data(shown: Sequence[Shown]) -> str:
    """Return specs and rows as JSON that no text in it can end the script with."""
    queries = {query.name: query.data for one in shown for query in one.queries}
    content = {
        "config": CONFIG,
        "specs": {view.name: view.spec for one in shown for view in one.drawn.views},
        "data": {
            name: {"columns": data.columns, "rows": data.rows} for name, data in queries.items()
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
