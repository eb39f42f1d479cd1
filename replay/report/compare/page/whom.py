"""Pictures of who gained and who lost: groups of requests in both runs, and single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from replay.report.compare.compare import Comparison
from replay.report.compare.page.runs import both, dot_key, run_colour
from replay.report.compare.page.waits import tag
from replay.report.frame.axes import wait_axis
from replay.report.page.drawn import Data, Drawn, LeftOut, View
from replay.report.page.vega import Spec, view
from replay.report.words import percent, points, sentence, wait

LEAST_REQUESTS = 30  # of a group that a sentence is about
MOST_ROWS = 18  # groups of one picture, those with most requests
_ROW, _ROOM = 22, 34  # pixels
_NAMES = {"turn": "turn", "prompt tokens": "prompt", "requests of the session": "session of"}
_REUSE = ("a_token_hit_rate", "b_token_hit_rate")
_WAITS = ("a_ttft_mean_ms", "b_ttft_mean_ms")


def group_name(row: Mapping[str, Any]) -> str:
    """Return a group as people call it: `turn 3`, `prompt 2k-4k`, `session of 5-9`."""
    return f"{_NAMES.get(row['slice'], row['slice'])} {row['bucket'].replace(',000', 'k')}"


def hits_caption(gained: Data, found: Comparison) -> str:
    """Return the group whose hit rate changed most, and the one that changed least or lost."""
    rows = _large(gained, _REUSE)
    one, other = both(found)
    if not rows or all(row["a_token_hit_rate"] == row["b_token_hit_rate"] for row in rows):
        return f"{sentence(one)} and {other} reuse the same of every group of requests."
    changes = [(row["b_token_hit_rate"] - row["a_token_hit_rate"], row) for row in rows]
    most, row = max(changes, key=lambda change: change[0])
    least, loser = min(changes, key=lambda change: change[0])
    if most <= 0:
        return f"Nobody gains; {_lost(least, loser)}."
    told = f"{sentence(group_name(row))} gains most, {_from_to(row, _REUSE, percent)}"
    if least < 0:
        return f"{told}; {_lost(least, loser)}."
    return f"{told}; nobody loses."


def _lost(change: float, row: Mapping[str, Any]) -> str:
    return f"{group_name(row)} loses most, {points(change)}"


def waits_caption(gained: Data, found: Comparison) -> str:
    """Return for how many groups the mean wait differs by more than the error, and how."""
    rows = _large(gained, _WAITS)
    stands = [row for row in rows if row["verdict"] == "stands"]
    sooner = sum(row["b_ttft_mean_ms"] < row["a_ttft_mean_ms"] for row in stands)
    other = both(found)[1]
    if all(row["verdict"] is None for row in rows):
        return f"Mean waits of groups in both runs; nobody can tell what differs in {other}."
    if not stands:
        return f"Of no group the mean wait in {other} differs by more than the model's error."
    later = len(stands) - sooner
    told = f"The mean wait is shorter in {other} for {sooner} of {len(rows)} groups"
    if later:
        told += f", longer for {later}"
    ties = len(rows) - len(stands)
    return f"{told}; {ties} are ties." if ties else f"{told}."


def _large(gained: Data, fields: Sequence[str]) -> list[dict[str, Any]]:
    rows = [row for row in gained.records if all(row[name] is not None for name in fields)]
    return [row for row in rows if row["requests"] >= LEAST_REQUESTS] or rows


def hits(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the hit rate of each group in both runs, who gained most first."""
    gained = data["gained"]
    rows = _chosen(gained, _REUSE, lambda row: row["b_token_hit_rate"] - row["a_token_hit_rate"])
    if not rows:
        return LeftOut("reuse is unknown")
    most = max(value for row in rows for value in (row[name] for name in _REUSE))
    axis = {"format": ".0%", "tickCount": 5, "grid": True}
    return Drawn(
        caption=hits_caption(gained, found),
        subtitle=_subtitle("Share of the prompt tokens reused", gained, rows),
        key=dot_key(found),
        **_drawn("gained_hits", rows, _REUSE, found, max(most, 0.01), axis),
    )


def waits(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the mean wait of each group in both runs, who gained most first."""
    gained = data["gained"]
    rows = _chosen(gained, _WAITS, lambda row: row["a_ttft_mean_ms"] - row["b_ttft_mean_ms"])
    if not rows:
        return LeftOut("no group has waits in both runs")
    most = max(value for row in rows for value in (row[name] for name in _WAITS))
    return Drawn(
        caption=waits_caption(gained, found),
        subtitle=_subtitle("Mean time to first token", gained, rows),
        key=dot_key(found),
        **_drawn("gained_waits", rows, _WAITS, found, max(most, 1e-3), wait_axis(most)),
        tag=tag(found),
    )


def _chosen(gained: Data, fields: Sequence[str], gain: Any) -> list[dict[str, Any]]:
    known = [row for row in gained.records if all(row[name] is not None for name in fields)]
    large = sorted(known, key=lambda row: -row["requests"])[:MOST_ROWS]
    return sorted(large, key=lambda row: -gain(row))


def _subtitle(what: str, gained: Data, rows: Sequence[object]) -> str:
    rest = len(gained.rows) - len(rows)
    small = f" {rest} groups with fewer requests stand in the table." if rest else ""
    return f"{what} by turn, prompt length and more, who gained most first (requests).{small}"


def _drawn(
    name: str, rows: Sequence[Mapping[str, Any]], fields: Sequence[str], found: Comparison,
    most: float, axis: Spec,
) -> dict[str, Any]:  # fmt: skip
    """Return the view of a line from the first run's dot to the other's, and the rows it draws."""
    order = [f"{group_name(row)} ({row['requests']:,})" for row in rows]
    ends = Data(
        ("group", "before", "after"),
        [(name, row[fields[0]], row[fields[1]]) for name, row in zip(order, rows, strict=True)],
    )
    y = {"field": "group", "type": "nominal", "title": None, "sort": order,
         "axis": {"minExtent": 150, "maxExtent": 150, "labelLimit": 148, "grid": False},
         }  # fmt: skip
    x = {"type": "quantitative", "title": None, "scale": {"domain": [0, most]}, "axis": axis}
    fold = [{"fold": ["before", "after"], "as": ["end", "value"]},
            {"calculate": "datum.end == 'before' ? 'a' : 'b'", "as": "run"}]  # fmt: skip
    spec = view(
        name,
        _ROOM + _ROW * len(rows),
        layer=[
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--axis)"},
                "encoding": {"y": y, "x": {"field": "before", **x}, "x2": {"field": "after"}},
            },
            {
                "transform": fold,
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"y": y, "x": {"field": "value", **x}, "color": run_colour(found)},
            },
        ],
    )
    return {"views": (View(name, spec),), "data": {name: ends}}


# --- single requests ------------------------------------------------------------------------


def requests(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the requests that lost most and gained most."""
    table = data["requests"]
    one, other = both(found)
    timed = "a_ttft_ms" in table.columns
    rows = table.records
    return Drawn(
        caption=requests_caption(rows, found, timed=timed),
        subtitle=f"The requests that lost most in {other}, then those that gained most. Before: "
        f"{one}, after: {other}.",
        story_columns=("request", "before", "after", "change", "prompt", "reused", "turn"),
        stories=tuple(_story(row, timed=timed) for row in rows),
    )


def requests_caption(rows: Sequence[Mapping[str, Any]], found: Comparison, *, timed: bool) -> str:
    """Return what the request lost that lost most, or that none lost."""
    lost = [row for row in rows if row["side"] == "lost"]
    other = both(found)[1]
    if not lost:
        return f"No request {'waits longer' if timed else 'reuses less'} in {other}."
    if timed:
        change = wait(lost[0]["ttft_difference_ms"])
        return f"The request that lost most waits {change} longer in {other}."
    fewer = lost[0]["a_hit_tokens"] - lost[0]["b_hit_tokens"]
    return f"The request that lost most reuses {fewer:,} tokens less in {other}."


def _story(row: Mapping[str, Any], *, timed: bool) -> dict[str, Any]:
    tokens = max(row["input_tokens"], 1)
    hits_before, hits_after = row["a_hit_tokens"], row["b_hit_tokens"]
    known = hits_before is not None and hits_after is not None
    if timed:
        before, after = wait(row["a_ttft_ms"]), wait(row["b_ttft_ms"])
        change = row["ttft_difference_ms"]
        told = f"{'+' if change > 0 else '−'}{wait(abs(change))}"
    else:
        before, after = f"{hits_before:,}", f"{hits_after:,}"
        told = f"{hits_after - hits_before:+,}"
    reused = ""
    if known:
        reused = percent(hits_before / tokens)
        if hits_after != hits_before:
            reused += f" → {percent(hits_after / tokens)}"
    return {
        "request": str(row["request_id"]), "before": before, "after": after, "change": told,
        "prompt": f"{row['input_tokens']:,}", "reused": reused,
        "turn": "" if row["turn"] is None else str(row["turn"]),
        "id": str(row["request_id"]), "reason": sentence(_reason(row, timed=timed)),
    }  # fmt: skip


def _reason(row: Mapping[str, Any], *, timed: bool) -> str:
    """Return what of a change is the queue's, and what is that of reuse."""
    told = []
    before, after = row["a_hit_tokens"], row["b_hit_tokens"]
    if before is not None and after is not None and before != after:
        more = "more" if after > before else "fewer"
        told.append(f"{abs(after - before):,} {more} tokens reused")
    if timed and row["a_queue_ms"] is not None and row["b_queue_ms"] is not None:
        queue = row["b_queue_ms"] - row["a_queue_ms"]
        if abs(queue) > abs(row["ttft_difference_ms"]) / 4:
            told.append(f"{wait(abs(queue))} {'longer' if queue > 0 else 'shorter'} in the queue")
    return "; ".join(told) + "." if told else "the same reuse, other neighbours in its steps."


def _from_to(row: Mapping[str, Any], fields: Sequence[str], word: Any) -> str:
    return f"from {word(row[fields[0]])} to {word(row[fields[1]])}"
