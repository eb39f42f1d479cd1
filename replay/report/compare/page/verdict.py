"""The heading of a comparison, the sentences below it, and the strip of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replay.report.compare.compare import Asked, Comparison
from replay.report.compare.judge import OVERLOADED, STANDS, TIE
from replay.report.compare.sentences import of_others, of_ranking
from replay.report.page.verdict import Tile
from replay.report.words import amount, listed, percent, wait


def headline(found: Comparison) -> str:
    """Return what there is to say first: whether the runs differ, and by how much."""
    names = [side.called for side in found.sides]
    if found.why_unpaired is not None:
        return f"{listed(names)}: runs of different requests, compared by quantiles."
    if len(names) > 2:
        return of_set(found)
    if len(found.said) == 1 and found.said[0].startswith("Nothing differs"):
        return f"Nothing differs between {listed(names)}."
    rows = _deltas(found)
    reuse, waits = rows.get("token_hit_rate"), rows.get("ttft_mean_ms")
    told = [say for row, say in ((reuse, _reuse), (waits, _waits)) if row is not None]
    if not told:
        return f"{listed(names)} compared."
    parts = [say(rows, names) for say in told]
    return f"{', and '.join(parts)}."


def _reuse(rows: dict[str, dict[str, Any]], names: list[str]) -> str:
    one, other = names
    row = rows["token_hit_rate"]
    before, after = percent(row["a"]), percent(row["b"])
    if before == after:
        return f"{other} and {one} reuse {'the same' if row['a'] == row['b'] else 'about'} {after}"
    return f"{other} reuses {after} where {one} reuses {before}"


def _waits(rows: dict[str, dict[str, Any]], names: list[str]) -> str:
    row = rows["ttft_mean_ms"]
    before, after = wait(row["a"]), wait(row["b"])
    if row["verdict"] == STANDS and row["change_share"] is not None:
        way = "sooner" if row["difference"] < 0 else "later"
        share = percent(abs(row["change_share"]))
        return f"the first token comes {share} {way} ({before} to {after})"
    if row["verdict"] == TIE:
        return "the GPU model cannot tell their waits apart"
    if row["verdict"] == OVERLOADED:
        return "a run is overloaded, so their waits are not compared"
    return f"the first token comes after {after} instead of {before}, by times of unknown error"


def of_set(found: Comparison) -> str:
    """Return which of several runs is first, or which share that place."""
    return " ".join(of_ranking(found.tables["ranking"], found.sides, word=_word))


def lede(asked: Asked, found: Comparison) -> str:
    """Return what the heading left unsaid."""
    if found.why_unpaired is not None:
        return " ".join(of_others(asked.sides, asked.metrics, word=_word))
    if len(found.sides) > 2:
        return f"Compared with {found.sides[0].called}; runs that share a place are ties."
    started = ("Nothing differs", "Of ")
    counted = [text for text in found.said if text.startswith(started) or "sooner in" in text]
    return " ".join(counted)


def _word(unit: str, value: float) -> str:
    return percent(value) if unit == "share" else wait(value)


def tiles(found: Comparison) -> list[Tile]:
    """Return the strip of numbers of two runs of the same requests."""
    if "delta" not in found.tables:
        return []
    rows, names = _deltas(found), [side.called for side in found.sides]
    return list(_tiles(rows, names))


def _tiles(rows: dict[str, dict[str, Any]], names: list[str]) -> Iterator[Tile]:
    one, other = names
    shown = (
        ("ttft_mean_ms", "Mean wait, first token", wait),
        ("ttft_p99_ms", "Slowest 1 in 100 waits", wait),
        ("e2e_mean_ms", "Whole request, mean", wait),
        ("token_hit_rate", "Prompt tokens reused", lambda share: f"{share:.1%}"),
        ("computed_tokens", "Tokens computed", amount),
        ("evicted_tokens", "Tokens evicted", amount),
    )
    for name, label, word in [one for one in shown if one[0] in rows][:5]:
        row = rows[name]
        verdict = {STANDS: "", "exact": "", "differs": ""}.get(
            row["verdict"], f"; {row['verdict']}"
        )
        yield Tile(f"{label}, {other}", word(row["b"]), f"{word(row['a'])} in {one}{verdict}")


def _deltas(found: Comparison) -> dict[str, dict[str, Any]]:
    table = found.tables["delta"]
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
