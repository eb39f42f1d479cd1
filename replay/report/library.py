"""The shipped reports: one SQL file each, described by its own header."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cache

from replay.errors import UnknownNameError
from replay.report.db import RunDatabase
from replay.report.run_tables import SQL_FOLDER
from replay.report.tables import Table

SHORT = ("savings", "causes", "memory")  # what a person is shown who names none
_ORDER = (*SHORT, "summary", "hit_rate", "prefix_caching", "ttft", "sessions", "prefixes")
_COLUMN = re.compile(r"(\w+) (\S+) ([^:]+): (.+)")
# What a report may need to have rows: a query that tells, and what a run without it lacks.
_NEEDS = {
    "content": ("SELECT count(hit_tokens) = count(*) FROM requests", "no content: reuse unknown"),
    "timed": ("SELECT mode = 'timed' FROM run", "the run is untimed"),
    "sessions": ("SELECT count(session_id) > 0 FROM requests", "the trace has no sessions"),
    "curve": (
        "SELECT count(*) > 0 FROM curve",
        "the run has no curve: it is of a session store, without a cache or of an older version",
    ),
    "ended": (
        "SELECT count(*) FILTER (status = 'unfinished') = 0 FROM requests",
        "the run stopped before all requests ended, and the curve counts all of them",
    ),
    "prefixes": ("SELECT count(*) > 0 FROM prefixes", "no two prompts are known to share a prefix"),
}


@dataclass(frozen=True, slots=True)
class ReportColumn:
    """One column a report returns: `type` is DuckDB's, `unit` empty where it has none."""

    name: str
    type: str
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its SQL, and what the header of it says.

    `meaning` is one line without its full stop, `needs` what a run must have for it to say
    anything, `example` the purpose of `example_sql`, a query over the report.
    """

    name: str
    meaning: str
    details: str
    needs: str | None
    columns: tuple[ReportColumn, ...]
    example: str
    example_sql: str
    sql: str


def report_names() -> list[str]:
    """Return the names in the order they are printed."""
    return list(_ORDER)


def load_report(name: str) -> Report:
    """Return a report; raises UnknownNameError, which lists the known ones."""
    if name not in _ORDER:
        raise UnknownNameError("report", name, _ORDER)
    return _load(name)


def run_report(database: RunDatabase, name: str) -> Table:
    """Return the rows of a report over an open run."""
    report = load_report(name)
    return database.query(report.sql).table(title=report.meaning)


def unmet_need(database: RunDatabase, name: str) -> str | None:
    """Return why a report has no rows for a run, or None where it has something to say."""
    needs = load_report(name).needs
    if needs is None:
        return None
    for sql, lack in map(_NEEDS.__getitem__, needs.split(", ")):
        if not database.query(sql).table().rows[0][0]:
            return f"{name} says nothing: {lack}"
    return None


@cache
def _load(name: str) -> Report:
    sql = (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    comments = itertools.takewhile(lambda line: line.startswith("--"), sql.splitlines())
    header = [line.removeprefix("--").strip() for line in comments]
    before, _, after = "\n".join(header).partition("\nColumns:\n")
    meaning, _, details = before.partition("\n")
    needs = re.search(r"^Needs: ([\w, ]+)$", details, re.MULTILINE)
    listing, _, example = after.partition("\n\nExample: ")
    purpose, _, example_sql = example.partition("\n")
    matches = [_COLUMN.fullmatch(line) for line in listing.splitlines()]
    columns = [ReportColumn(m[1], m[2], m[3].strip("-"), m[4]) for m in matches if m]
    return Report(
        name=name,
        meaning=meaning.rstrip("."),
        details=re.sub(r"^Needs: [\w, ]+$", "", details, flags=re.MULTILINE).strip(),
        needs=needs[1] if needs else None,
        columns=tuple(columns),
        example=purpose,
        example_sql=example_sql,
        sql=sql,
    )


REPORTS = tuple(_load(name) for name in _ORDER)
