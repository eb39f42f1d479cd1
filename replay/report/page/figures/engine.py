"""What the engine did, on one clock: running, waiting, memory, evictions, tokens computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.report.frame.axes import AMOUNT_LABEL, LEFT, clock_axis
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.look import paint
from replay.report.page.vega import Spec, colour, title, view
from replay.report.words import percent, span

FULL = 0.97  # of the pool from which it counts as full
STAYS = 0.9  # of the later intervals that have to be full


def caption(engine: Data, facts: Facts) -> str:
    """Return since when memory is full and what it holds, or how much of it is ever used."""
    rows = [row for row in engine.records if row["held_blocks"] is not None]
    if not rows:
        return "The engine did nothing."
    pool = facts.run["capacity_blocks"]
    filled = [row["held_blocks"] + row["cached_blocks"] for row in rows]
    if not pool:
        return f"Memory has no limit here; at most {facts.room(round(max(filled)))} of it are used."
    held = sum(row["held_blocks"] for row in rows) / len(rows) / pool
    since = full_since(filled, pool)
    if since is None:
        most = percent(min(max(filled) / pool, 1))
        return f"The KV pool is never full for long: at most {most} of it is used at once."
    cached = "the rest is cache" if facts.cache_on else "the rest is free"
    when = rows[since]["from_s"]
    start = "from the start" if when <= 0 else f"from {span(when)} on"
    holds = f"{percent(held)} of it on average holds requests in progress, {cached}"
    return f"The KV pool is full {start}; {holds}."


def full_since(filled: list[float], pool: int) -> int | None:
    """Return the first interval from which nearly all are full; None where there is none."""
    full = [blocks >= FULL * pool for blocks in filled]
    later = sum(full)
    for at, is_full in enumerate(full):
        if is_full and later >= STAYS * (len(full) - at):
            return at
        later -= is_full
    return None


def strips(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the strips, one below the other, the clock below the last."""
    table = data["engine"]
    until = max(row["from_s"] + row["width_s"] for row in table.records)
    width = table.records[0]["width_s"]
    pool = facts.run["capacity_blocks"]
    unit = "tokens" if facts.run["block_size"] == 1 else "blocks"
    most_waiting = any(value is not None for value in table.column("most_waiting"))
    strips: list[tuple[str, str, int, dict[str, str], list[Spec]]] = [
        ("running", "Requests running, on average", 56, {"running": "run"}, []),
        (
            "waiting",
            "Requests waiting: most at once (line), mean (filled)" if most_waiting
            else "Requests waiting, on average",
            48, {"waiting": "queue"}, [_line("most_waiting", "queue")] if most_waiting else [],
        ),
        ("memory", f"KV {unit}: held by running requests, cached and idle", 76,
         {"held_blocks": "run", "cached_blocks": "idle"}, [_rule(pool)] if pool else []),
        ("evicted", f"KV {unit} evicted per second", 44, {"evicted_blocks_per_s": "avoid"}, []),
        ("computed", "Prompt tokens computed per second", 56,
         {"prompt_tokens_per_s": "prefill"}, []),
    ]  # fmt: skip
    if any(table.column("preemptions")):
        strips.append(("preempted", "Requests preempted", 44, {"preemptions": "inflight"}, []))
    if not any(table.column("evicted_blocks_per_s")):
        strips = [one for one in strips if one[0] != "evicted"]
    last = strips[-1][0]
    line = f" The dashed line is the pool, {facts.room(pool)}." if pool else ""
    return Drawn(
        caption=caption(table, facts),
        subtitle=f"State of the engine by {span(width)}.{line}",
        key=(Key("held by running requests", "run"), Key("cached, idle", "idle")),
        views=tuple(
            View(
                f"engine_{name}",
                _strip(
                    words, height, _scale(table, series), series, more, until, is_last=name == last
                ),
            )
            for name, words, height, series, more in strips
        ),
    )


def _scale(table: Data, series: Mapping[str, str]) -> Spec:
    """Return the scale of a strip: one of nothing but zeros has its zero at the bottom, too."""
    something = any(value for name in series for value in table.column(name))
    return {} if something else {"domain": [0, 1]}


def _strip(
    words: str, height: int, scale: Spec, series: dict[str, str], more: list[Spec], until: float,
    *, is_last: bool,
) -> Spec:  # fmt: skip
    order = f"indexof({[*series]}, datum.series)"
    area = {
        "transform": [
            {"fold": [*series], "as": ["series", "value"]},
            {"calculate": order, "as": "place"},
        ],
        "mark": {"type": "area", "interpolate": "step-after"},
        "encoding": {
            "x": clock_axis("from_s", until, labels=is_last),
            "y": {"field": "value", "type": "quantitative", "title": None, "stack": True,
                  "scale": scale, "axis": {**LEFT, "labelExpr": AMOUNT_LABEL, "tickCount": 2}},
            "color": colour("series", series),
            "order": {"field": "place"},
        },
    }  # fmt: skip
    return view("engine", height, title=title(words), layer=[area, *more])


def _line(field: str, shade: str) -> Spec:
    return {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1,
                 "color": paint(shade)},
        "encoding": {
            "x": {"field": "from_s", "type": "quantitative"},
            "y": {"field": field, "type": "quantitative"},
        },
    }  # fmt: skip


def _rule(pool: int) -> Spec:
    mark: dict[str, Any] = {"type": "rule", "strokeDash": [4, 3], "color": "var(--ink)"}
    return {"mark": mark, "encoding": {"y": {"datum": pool}}}
