"""The page of a comparison: its findings and figures put into one document."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from replay.report.compare.asking import sql_file, table
from replay.report.compare.compare import Asked, Comparison
from replay.report.compare.page import verdict
from replay.report.compare.page.gallery import FIGURES, LACKS, SECTIONS, has
from replay.report.compare.servers import NS_PER_MS
from replay.report.page.document import Document, Query, Shown, html_of
from replay.report.page.drawn import Data, LeftOut
from replay.report.page.figure import Figure
from replay.report.page.notes import Line, line_of

_NO_SQL = "-- {name}: made of the manifests and of the metrics of each run, see docs/compare.md"
_OF_SQL = ("gained", "requests", "timeline", "curve")  # tables that are one file of `sql/`


@dataclass(frozen=True, slots=True)
class ComparisonPage:
    """Everything a page says, before it is text."""

    found: Comparison
    lede: str
    figures: tuple[Shown, ...]
    left_out: tuple[tuple[str, str], ...]


def compose(asked: Asked, found: Comparison) -> ComparisonPage:
    """Return what a page of open runs says; raises QueryError."""
    met, figures, left_out = has(found), [], []
    for figure in FIGURES:
        why = figure.lack(met, LACKS)
        shown = _shown(asked, found, figure) if why is None else LeftOut(why)
        if isinstance(shown, Shown):
            figures.append(shown)
        elif shown.why:
            left_out.append((figure.called, shown.why))
    return ComparisonPage(found, verdict.lede(asked, found), tuple(figures), tuple(left_out))


def _shown(asked: Asked, found: Comparison, figure: Figure[Comparison]) -> Shown | LeftOut:
    queries = tuple(_query(asked, found, name) for name in figure.queries)
    if not queries[0].data.rows and figure.name != "differences":
        return LeftOut("it has nothing to show")
    drawn = figure.draw({query.name: query.data for query in queries}, found)
    if isinstance(drawn, LeftOut):
        return drawn
    return Shown(figure.name, drawn, queries, figure.section, figure.width)


def _query(asked: Asked, found: Comparison, name: str) -> Query:
    """Return a table of the comparison, or what a file of `sql/` finds."""
    if name in found.tables:
        sql = sql_file(name) if name in _OF_SQL else _NO_SQL.format(name=name)
        return Query.of(name, sql, Data.of(found.tables[name]))
    sql = sql_file(name)
    return Query.of(name, sql, Data.of(table(asked.database, sql, name)))


def page_text(page: ComparisonPage, *, command: str, static: bool = False) -> str:
    """Return the HTML of a page; `command` is how it was made.

    `static` draws the pictures here and leaves scripts out.
    """
    found = page.found
    names = [side.called for side in found.sides]
    traces = list(dict.fromkeys(side.trace.get("name") or "a trace" for side in found.sides))
    document = Document(
        title=f"{', '.join(names)}: {verdict.headline(found)}",
        eyebrow=" · ".join(["replay compare", ", ".join(traces), _called(found)]),
        warnings=[_line(text, names) for text in (*found.warnings, *found.left_out)],
        headline=verdict.headline(found),
        lede=page.lede,
        tiles=verdict.tiles(found),
        notes=[_line(text, names) for text in (*_worth(found), *found.assumed)],
        figures=page.figures,
        sections=SECTIONS,
        left_title="What these runs cannot show",
        left_out=page.left_out,
        commands=list(dict.fromkeys([*_made_by(found), command])),
        sql_note="In the SQL each run is a schema of its own: "
        + ", ".join(f"`{side.letter}` is {side.name}" for side in found.sides)
        + ". `replay compare … --format json` has the tables.",
        provenance=list(_provenance(found)),
    )
    return html_of(document, static=static)


def _worth(found: Comparison) -> Iterator[str]:
    """Yield what verdicts mean, and from which difference on single times stand."""
    yield from found.verdicts
    if found.band is not None and len(found.sides) == 2:
        yield f"the model's error: single times must differ by more than {found.band - 1:.1%}"
        if found.apart is not None and found.apart.slack_ns:
            yield (
                "the servers' overhead: to stand, a single time must be over "
                f"{found.apart.factor:.1f} times another and "
                f"{found.apart.slack_ns / NS_PER_MS:,.1f} ms"
            )


def _line(text: str, names: Sequence[str]) -> Line:
    """Return a note; what one run says of itself is about that run."""
    name, _, rest = text.partition(": ")
    return Line(name, rest) if rest and name in names else line_of(text)


def _called(found: Comparison) -> str:
    return ", ".join(
        side.called if side.called == side.name else f"{side.called}: {side.name}"
        for side in found.sides
    )


def _made_by(found: Comparison) -> Iterator[str]:
    for side in found.sides:
        if argv := side.manifest.get("argv"):
            yield shlex.join(["replay", *map(str, argv)])


def _provenance(found: Comparison) -> Iterator[tuple[str, str]]:
    for side in found.sides:
        manifest = side.manifest
        made = f"replay {manifest.get('replay_version')}, {manifest.get('created_at')}"
        told = {"result": manifest.get("result_digest"), "trace": side.trace.get("sha256")}
        for what, digest in told.items():
            if digest:
                yield f"{side.called}, {what}", digest
        yield f"{side.called}, version", made
