"""Differences between two runs, metric by metric, and how a value is written for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from replay.report.compare.judge import METRICS, Judge, Metric, Values
from replay.report.tables import Table, format_value
from replay.units import NS_PER_MS, format_duration

COLUMNS = ("metric", "unit", "a", "b", "difference", "change_share", "verdict")
MANY = 9  # times more, from which on a change is told in times
TYPES = ("VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE", "DOUBLE", "DOUBLE", "VARCHAR")


@dataclass(frozen=True, slots=True)
class Delta:
    """One metric in two runs, and what the difference is worth."""

    metric: Metric
    one: float
    other: float
    verdict: str

    @property
    def difference(self) -> float:
        """How much more the other has."""
        return self.other - self.one

    @property
    def change(self) -> float | None:
        """The difference as a share of the first; None where that is nothing."""
        return self.difference / self.one if self.one else None


def deltas(judge: Judge, one: Values, other: Values) -> Iterator[Delta]:
    """Yield the metrics that both runs have."""
    for metric in METRICS:
        before, after = one[metric.name], other[metric.name]
        verdict = judge.verdict(metric, before, after)
        if verdict is not None and before is not None and after is not None:
            yield Delta(metric, before, after, verdict)


def delta_table(found: Sequence[Delta], title: str) -> Table:
    """Return differences as numbers."""
    rows = [
        (
            one.metric.name,
            one.metric.unit,
            float(one.one),
            float(one.other),
            float(one.difference),
            one.change,
            one.verdict,
        )
        for one in found
    ]
    return Table(COLUMNS, rows, title, TYPES)


def worded(unit: str, value: float, *, signed: bool = False) -> str:
    """Return a value with its unit; the difference of shares is in points."""
    sign = ("+" if value > 0 else "-" if value < 0 else "") if signed else ""
    size = abs(value) if signed else value
    if unit == "share":
        return f"{sign}{100 * size:.1f} points" if signed else f"{size:.1%}"
    if unit == "ms":
        return f"{sign}{format_duration(round(size * NS_PER_MS))}"
    return f"{sign}{format_value(round(size) if float(size).is_integer() else size)}"
