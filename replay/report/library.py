"""The shipped reports: one SQL file each, read from its own header."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from replay.errors import UnknownNameError
from replay.report.db import RunDatabase
from replay.report.tables import Table
from replay.runs.open import Run

_FOLDER = Path(__file__).parent / "sql"
_ORDER = ("summary", "hit_rate", "ttft", "sessions", "prefixes")


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its name, its first comment line, and its SQL."""

    name: str
    meaning: str
    sql: str


@cache
def _load(name: str) -> Report:
    sql = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return Report(name, sql.splitlines()[0].removeprefix("-- ").rstrip("."), sql)


REPORTS = tuple(_load(name) for name in _ORDER)


def report_names() -> list[str]:
    """Return the names in the order they are printed."""
    return list(_ORDER)


def load_report(name: str) -> Report:
    """Return a report; raises UnknownNameError, which lists the known ones."""
    if name not in _ORDER:
        raise UnknownNameError("report", name, _ORDER)
    return _load(name)


def run_report(database: RunDatabase, name: str) -> Table:
    """Return the table of a report over an open run."""
    report = load_report(name)
    return database.query(report.sql, title=report.meaning)


def warnings(run: Run) -> list[str]:
    """Return what must be read before any mean of a run: that its queue diverges."""
    overload, baseline = run.manifest.get("overload"), run.manifest.get("no_cache_overload")
    overloaded = bool(overload and overload["overloaded"])
    lines = []
    if overload and overloaded:
        lines.append(
            "OVERLOADED: requests arrive faster than they are served. The queue grows by "
            f"{overload['queue_growth']:.2f} s every second and {overload['backlog_requests']:,} "
            "requests were waiting when the last one arrived. Latencies below measure how long "
            "the trace is, not how fast the system is."
        )
    if baseline and baseline["overloaded"]:
        lines.append(
            f"With caching off the system is {'also ' if overloaded else ''}overloaded (its queue "
            f"grows by {baseline['queue_growth']:.2f} s every second): latency savings grow with "
            "the length of the trace. Prefill savings do not."
        )
    return lines


def notes(run: Run) -> list[str]:
    """Return what the numbers of a run assume."""
    trace = run.manifest.get("trace") or {}
    return [*(trace.get("notes") or []), *(run.manifest.get("notes") or [])]
