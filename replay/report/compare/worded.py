"""Tables of a comparison as people read them: values with their units, few columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from replay.report.compare.compare import Comparison
from replay.report.compare.deltas import MANY, worded
from replay.report.compare.sides import LETTERS
from replay.report.tables import Table

NONE = "-"
QUANTILES = (0.1, 0.5, 0.9, 0.99)  # of those in the table, that people are shown
DIGITS = 12  # of a digest: enough to tell two apart
_OF_SLICE = {"prompt tokens": "prompt", "requests of the session": "session of"}


def worded_tables(found: Comparison) -> dict[str, Table]:
    """Return the tables of a comparison for people, those that they are shown unasked first.

    Where more than two runs are compared the ranking says it, not each difference.
    """
    forms = {
        "differences": _differences,
        "gained": _gained,
        "requests": _requests,
        "quantiles": _quantiles,
        "totals": _totals,
    }
    called = [side.called for side in found.sides]
    tables: dict[str, Table] = {}
    for name, table in found.tables.items():
        if name.startswith("delta"):
            other = 1 if name == "delta" else LETTERS.index(name[-1])
            tables[name] = _deltas(table, [called[0], called[other]])
        else:
            tables[name] = forms[name](table, called) if name in forms else table
    return tables


def shown_first(found: Comparison) -> list[str]:
    """Return the names of the tables that people are shown unasked, in order."""
    chosen = ("differences", "ranking", "delta", "gained", "quantiles")
    return [name for name in chosen if name in found.tables]


def _deltas(table: Table, called: Sequence[str]) -> Table:
    """Return differences, a line each; what is nothing in both is left out."""
    rows = []
    for row in _named(table):
        unit, values = row["unit"], (row["a"], row["b"])
        if not any(values):
            continue
        cells = (worded(unit, value) for value in values)
        difference = worded(unit, row["difference"], signed=True)
        rows.append((_metric(row["metric"]), *cells, difference, _change(row), row["verdict"]))
    return _of_runs(("metric", *called, "difference", "change", "verdict"), rows, table)


def _differences(table: Table, called: Sequence[str]) -> Table:
    """Return the keys that differ, a line each, digests cut short."""
    rows = []
    for key, *values in table.rows:
        is_digest = key.endswith("sha256")
        rows.append((key, *(value[:DIGITS] if value and is_digest else value for value in values)))
    return _of_runs(("key", *called), rows, table)


def _change(row: Mapping[str, Any]) -> str:
    """Return a change as people read it: in percent, or how many times as much."""
    change = row["change_share"]
    if not change or row["unit"] == "share":
        return ""
    return f"{change:+.1%}" if change < MANY else f"{1 + change:,.0f} times"


def _gained(table: Table, called: Sequence[str]) -> Table:
    timed = "a_ttft_mean_ms" in table.columns
    columns = ["of", "requests", "reused"]
    columns += ["mean TTFT", "sooner / later", "verdict"] if timed else []
    rows = []
    for row in _named(table):
        of = _OF_SLICE.get(row["slice"], row["slice"])
        cells = [
            f"{of} {_short(row['bucket'])}",
            row["requests"],
            _from_to("share", row["a_token_hit_rate"], row["b_token_hit_rate"]),
        ]
        if timed:
            cells.append(_from_to("ms", row["a_ttft_mean_ms"], row["b_ttft_mean_ms"]))
            beyond = row["faster_in_b"], row["slower_in_b"]
            cells.append(NONE if None in beyond else f"{beyond[0]:,} / {beyond[1]:,}")
            cells.append(row["verdict"])
        rows.append(tuple(cells))
    return Table(columns, rows, f"{table.title}, from {called[0]} to {called[1]}")


def _requests(table: Table, called: Sequence[str]) -> Table:
    timed = "a_ttft_ms" in table.columns
    columns = ["", "request_id", "session_id", "turn", "prompt tokens", "reused"]
    columns += ["TTFT", "difference"] if timed else []
    rows = []
    for row in _named(table):
        cells = [row["side"], row["request_id"], row["session_id"], row["turn"]]
        cells += [row["input_tokens"], _from_to("", row["a_hit_tokens"], row["b_hit_tokens"])]
        if timed:
            cells.append(_from_to("ms", row["a_ttft_ms"], row["b_ttft_ms"]))
            cells.append(worded("ms", row["ttft_difference_ms"], signed=True))
        rows.append(tuple(cells))
    return Table(columns, rows, f"{table.title}, from {called[0]} to {called[1]}")


def _quantiles(table: Table, called: Sequence[str]) -> Table:
    two = "verdict" in table.columns
    rows = []
    for row in table.rows:
        measure, quantile, *values = row
        if quantile not in QUANTILES:
            continue
        unit = "ms" if measure.endswith("_ms") else "share" if measure.endswith("_share") else ""
        cells = [_metric(measure), f"p{100 * quantile:g}"]
        at = values[: len(called)]
        cells += [worded(unit, value) for value in at]
        cells += [worded(unit, values[-2], signed=True), values[-1]] if two else []
        rows.append(tuple(cells))
    worth = ("difference", "verdict") if two else ()
    return _of_runs(("of requests", "quantile", *called, *worth), rows, table)


def _totals(table: Table, called: Sequence[str]) -> Table:
    rows = [
        (_metric(name), *(NONE if value is None else worded(unit, value) for value in values))
        for name, unit, *values in table.rows
    ]
    return _of_runs(("metric", *called), rows, table)


def _of_runs(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], table: Table) -> Table:
    """Return a table with columns named after runs, which are called as they are, `a_b` say."""
    return Table(columns, rows, table.title, of_sql=True)


def _metric(name: str) -> str:
    return name.removesuffix("_share").removesuffix("_ms").replace("_", " ")


def _short(bucket: str) -> str:
    """Return a range of thousands as people write it in little room: `2k-4k`."""
    return bucket.replace(",000", "k")


def _from_to(unit: str, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return NONE
    told = worded(unit, before), worded(unit, after)
    return told[0] if before == after else " → ".join(told)


def _named(table: Table) -> Iterator[Mapping[str, Any]]:
    for row in table.rows:
        yield dict(zip(table.columns, row, strict=True))
