"""A set of runs in order, those that cannot be told apart on one place."""

from __future__ import annotations

from collections.abc import Sequence

from replay.report.compare.judge import METRICS, TIE, UNJUDGED, Judge, Values
from replay.report.compare.sides import Side
from replay.report.tables import Table

_METRIC = {metric.name: metric for metric in METRICS}
_SHOWN = {
    "token_hit_rate": "DOUBLE", "computed_tokens": "BIGINT", "ttft_mean_ms": "DOUBLE",
    "ttft_p99_ms": "DOUBLE", "itl_mean_ms": "DOUBLE", "e2e_mean_ms": "DOUBLE",
}  # fmt: skip
_SHARES_A_PLACE = (TIE, UNJUDGED)
_WORDS = {"ttft_mean_ms": "mean time to first token", "token_hit_rate": "token hit rate"}


def ranked_by(sides: Sequence[Side]) -> str:
    """Return the metric that decides: mean TTFT where all runs are timed, else token hit rate."""
    return "ttft_mean_ms" if all(side.timed for side in sides) else "token_hit_rate"


def ranking(sides: Sequence[Side], metrics: Sequence[Values]) -> Table:
    """Return the runs in order; `metrics` are those of each.

    By what `ranked_by` says. A run shares the place of the best before it from which it cannot be
    told. Overloaded runs have no place where latencies decide, for theirs measure the length of
    the trace; nor have runs without the metric.
    """
    by = ranked_by(sides)
    metric = _METRIC[by]
    placed: list[tuple[Side, Values]] = []
    others: list[tuple[Side, Values]] = []
    for side, values in zip(sides, metrics, strict=True):
        counts = values[by] is not None and not (metric.of_time and side.overloaded)
        (placed if counts else others).append((side, values))
    placed.sort(key=lambda one: one[1][by] or 0.0, reverse=metric.more_is == "better")
    rows = []
    best, place = placed[0] if placed else None, 1
    for count, (side, values) in enumerate(placed, start=1):
        if best is not None and not _is_same(by, best, (side, values)):
            best, place = (side, values), count
        rows.append(_row(place, side, values))
    rows += [_row(None, side, values) for side, values in others]
    columns = ("place", "run", "name", "overloaded", *_SHOWN)
    types = ("BIGINT", "VARCHAR", "VARCHAR", "BOOLEAN", *_SHOWN.values())
    title = f"By {_WORDS[by]}; runs that cannot be told apart share a place"
    return Table(columns, rows, title, types)


def _row(place: int | None, side: Side, values: Values) -> tuple[object, ...]:
    overloaded = side.overloaded if side.timed else None
    return place, side.letter, side.name, overloaded, *(values[name] for name in _SHOWN)


def _is_same(by: str, best: tuple[Side, Values], one: tuple[Side, Values]) -> bool:
    verdict = Judge(best[0], one[0]).verdict(_METRIC[by], best[1][by], one[1][by])
    return verdict in _SHARES_A_PLACE
