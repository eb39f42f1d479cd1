"""The page of a run: facts, figures and stories put into one document."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from replay.report.db import RunDatabase
from replay.report.library import load_report, report_names
from replay.report.page import verdict
from replay.report.page.columns import told_columns
from replay.report.page.document import Document, Query, Shown, html_of
from replay.report.page.drawn import Data, LeftOut
from replay.report.page.facts import Facts, facts_of
from replay.report.page.figure import Figure
from replay.report.page.gallery import FIGURES, LACKS, SECTIONS, column_figure
from replay.report.page.notes import keep_in_mind, read_first
from replay.runs.open import Run

SQL = Path(__file__).parent / "sql"
SQL_NOTE = 'The SQL of a figure runs as it stands: `replay query RUN "…"`.'


@dataclass(frozen=True, slots=True)
class Stories:
    """What there is to tell of single requests, by request_id; `lack` is why there is no more."""

    told: Mapping[int, Sequence[str]] = field(default_factory=dict)
    lack: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a page says, before it is text: for the templates, and for tests."""

    facts: Facts
    figures: tuple[tuple[Figure[Facts], Shown], ...]
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


def _shown(database: RunDatabase, figure: Figure[Facts], facts: Facts) -> Shown | LeftOut:
    why = figure.lack(facts.has, LACKS)
    if why is not None:
        return LeftOut(why)
    queries = []
    for name in figure.queries:
        sql = sql_of(name)
        queries.append(Query.of(name, sql, Data.of(database.query(sql).table())))
    if not queries[0].data.rows:
        return LeftOut("it has nothing to show")
    drawn = figure.draw({query.name: query.data for query in queries}, facts)
    if isinstance(drawn, LeftOut):
        return drawn
    return Shown(figure.name, drawn, tuple(queries), figure.section, figure.width)


def page_text(page: Page, run: Run, stories: Stories, *, command: str, static: bool = False) -> str:
    """Return the HTML of a page; `command` is how it was made.

    `static` draws the pictures here and leaves scripts out.
    """
    facts = page.facts
    document = Document(
        title=f"{facts.run['trace_name'] or 'a trace'}: {verdict.headline(facts)}",
        eyebrow=_eyebrow(facts),
        warnings=read_first(facts, run),
        headline=verdict.headline(facts),
        lede=verdict.lede(facts),
        tiles=verdict.tiles(facts),
        notes=keep_in_mind(facts),
        figures=[shown for _, shown in page.figures],
        sections=SECTIONS,
        left_out=page.left_out,
        told={str(request): lines for request, lines in stories.told.items()},
        no_stories=stories.lack,
        commands=[*_made_by(facts), command],
        sql_note=SQL_NOTE,
        provenance=_provenance(facts),
    )
    return html_of(document, static=static)


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
