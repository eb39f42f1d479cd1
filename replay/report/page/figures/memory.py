"""What more memory or another policy would do, and how soon evicted KV is wanted again."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.figures.causes import part_key
from replay.report.page.look import PARTS, paint
from replay.report.page.vega import (
    AMOUNT_LABEL,
    CLOCK_LABEL,
    LEFT,
    Spec,
    log_ticks,
    part_colour,
    view,
)
from replay.report.page.verdict import SAME
from replay.report.words import percent, span, times

ROOM_ABOVE, LEAST_RATE = 1.15, 0.01  # of the axis
ROOM_BELOW = 0.1  # of the optimum: a number below its dot stays above that of the run
HOPELESS = 0.95  # of what is wanted at an age: no policy keeps it so long
MORE = 1.05  # times the run's capacity: less is called the same
FEW = 0.05  # of all that was evicted: not worth a sentence


def curve_caption(facts: Facts) -> str:
    """Return what twice the memory and the optimum would reuse, against what this run did."""
    hit, twice = facts.rate("this run") or 0.0, facts.rate("twice the memory")
    best, most = facts.rate("the same memory, optimum"), facts.rate("unlimited memory") or 0.0
    if facts.run["capacity_blocks"] is None or twice is None:
        return f"With unlimited memory {percent(most)} of the prompt tokens can be reused."
    if most - hit < SAME and twice - hit < SAME:
        return f"More memory would reuse no more than the {percent(hit)} of this run."
    policy = "a perfect policy in the same memory"
    more = f"Twice the memory would reuse {percent(twice)}"
    if best is None:
        return f"{more}, not {percent(hit)}."
    if best - hit < SAME:
        return f"{more}; {policy} no more than this run, {percent(hit)}."
    if best - twice > SAME:
        return f"{more}, {policy} {percent(best)}."
    return f"{more}, as much as {policy} ({percent(best)})."


def _knee(facts: Facts) -> str:
    row = facts.memory.get("90% of the ceiling")
    if row is None:
        return ""
    start = f" 90% of the ceiling takes {facts.room(row['capacity_blocks'])}"
    has = facts.run["capacity_blocks"]
    if has is None or row["capacity_blocks"] < MORE * has:
        return f"{start}."
    return f"{start}, {times(row['capacity_blocks'] / has)} this cache."


def curve(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the hit rate over capacity, this run's dot, the optimum and the ceiling."""
    sized = facts.run["kv_bytes_per_token"] is not None
    field = "capacity_gib" if sized else "capacity_blocks"
    unit = "GiB" if sized else "tokens" if facts.run["block_size"] == 1 else "blocks"
    rows = data["curve"].records
    low, high = min(row[field] for row in rows), max(row[field] for row in rows)
    axis = {"values": log_ticks(low, high), "labelExpr": AMOUNT_LABEL, "grid": True}
    x = {"field": field, "type": "quantitative", "title": f"KV memory, {unit} (log scale)",
         "scale": {"type": "log", "nice": False, "domain": [low, high]}, "axis": axis}  # fmt: skip
    rates = [row["token_hit_rate"] for row in rows] + [facts.rate("this run") or 0.0]
    top = min(max(*rates, LEAST_RATE) * ROOM_ABOVE, 1)
    key = [Key("LRU", "with", "line")]
    if facts.run["capacity_blocks"] is not None:
        key.append(Key("this run", "with", "dot"))
    optima = sum(row["policy"] == "min" for row in rows)
    if optima:
        mark = "dash" if optima > 1 else "dot"
        key.append(Key("optimum, which knows the future", "avoid", mark))
    return Drawn(
        caption=curve_caption(facts),
        subtitle="Hit rate at every capacity, requests one after another; the dot is this run, "
        f"whose requests overlap.{_knee(facts)}",
        key=tuple(key),
        views=(View("curve", _curve_view(x, field, top, facts)),),
    )


def _curve_view(x: Spec, field: str, top: float, facts: Facts) -> Spec:
    y = {"field": "token_hit_rate", "type": "quantitative", "title": None,
         "scale": {"domain": [0, top]},
         "axis": {**LEFT, "format": ".0%", "tickCount": 6}}  # fmt: skip
    layers: list[Spec] = []
    for policy, shade, dash in (("lru", "with", [1, 0]), ("min", "avoid", [5, 3])):
        line = {"type": "line", "color": paint(shade), "strokeWidth": 2.25, "strokeDash": dash}
        chosen = [{"filter": f"datum.policy == '{policy}'"}]
        layers.append({"transform": chosen, "mark": line, "encoding": {"x": x, "y": y}})
    most = facts.rate("unlimited memory")
    if most:
        rule = {"type": "rule", "strokeDash": [2, 3], "color": "var(--muted)"}
        words = {"type": "text", "align": "left", "dy": -7, "x": 4, "color": "var(--muted)",
                 "text": f"block ceiling {percent(most)}"}  # fmt: skip
        layers += [_at(rule, y=most), _at(words, y=most)]
    return view("curve", 250, layer=[*layers, *_dots(field, facts)])


def _at(mark: Spec, **place: float) -> Spec:
    """Return a mark at one place of the axes that the lines have."""
    encoding = {axis: {"field": axis, "type": "quantitative"} for axis in place}
    return {"data": {"values": [place]}, "mark": mark, "encoding": encoding}


# Beside its dot a number keeps off a curve that rises to the right.
_BELOW = {"align": "left", "dx": 9, "dy": 12}
_ABOVE = {"align": "right", "dx": -9, "dy": -10}


def _apart(facts: Facts) -> bool:
    """Return whether the numbers of the run and of the optimum have room below their dots."""
    run, optimum = facts.rate("this run"), facts.rate("the same memory, optimum")
    return run is None or optimum is None or optimum - run > ROOM_BELOW * (optimum or 1)


def _dots(field: str, facts: Facts) -> list[Spec]:
    """Return this run and the optimum at its capacity, each with its number."""
    run = facts.memory.get("this run")
    if run is None or run[field] is None:
        return []
    layers = [_at({"type": "rule", "color": "var(--axis)"}, x=run[field])]
    marks = (
        ("this run", "with", "circle", _BELOW),
        ("the same memory, optimum", "avoid", "diamond", _BELOW if _apart(facts) else _ABOVE),
    )
    for cache, shade, shape, beside in marks:
        rate = facts.rate(cache)
        if rate is None:
            continue
        dot = {"type": "point", "filled": True, "size": 80, "opacity": 1, "color": paint(shade),
               "shape": shape}  # fmt: skip
        number = {"type": "text", **beside, "fontWeight": 600, "text": percent(rate)}
        layers += [_at(dot, x=run[field], y=rate), _at(number, x=run[field], y=rate)]
    return layers


# --- how soon it was wanted again -------------------------------------------------------------


def wanted_again_caption(wanted: Data) -> str:
    """Return within what time half of the evicted tokens were wanted again."""
    half = wanted.records[0]["half_within_s"]
    if half <= 0:
        return "Half of the evicted tokens were evicted while the request that wanted them waited."
    return f"Half of the evicted tokens were wanted again within {span(half)}."


def _reach(wanted: Data) -> str:
    """Return from which age on no policy helps any more, where there is such a front."""
    bins: dict[float, dict[str, int]] = {}
    for row in wanted.records:
        bins.setdefault(row["from_s"], {})[row["part"]] = row["tokens"]
    whole, behind, front = sum(sum(parts.values()) for parts in bins.values()), 0, None
    for since in sorted(bins, reverse=True):
        tokens = sum(bins[since].values())
        if bins[since].get("evicted, unavoidable", 0) < HOPELESS * tokens:
            break
        behind, front = behind + tokens, since
    if front is None or behind < FEW * whole:
        return ""
    share = percent(behind / whole)
    return f" {share} were wanted after more than {span(front)}: no policy would have kept them."


def wanted_again(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the tokens computed again, by how long ago they had been evicted."""
    table = data["wanted_again"]
    rows = table.records
    parts = [part for part in PARTS if part in set(table.column("part"))]
    low, high = rows[0]["from_s"], max(row["to_s"] for row in rows)
    ticks = [1, 3, 10, 30, 120, 600, 3600, 21_600, 86_400, 604_800]
    x = {"field": "from_s", "type": "quantitative", "title": "wanted again after (log scale)",
         "scale": {"type": "log", "nice": False, "domain": [low, high]},
         "axis": {"labelExpr": CLOCK_LABEL, "grid": False,
                  "values": [at for at in ticks if low <= at <= high]}}  # fmt: skip
    return Drawn(
        caption=wanted_again_caption(table),
        subtitle="Prompt tokens computed again, by how long after eviction they were wanted."
        + _reach(table),
        key=part_key(parts),
        views=(
            View(
                "wanted_again",
                view(
                    "wanted_again",
                    236,
                    transform=[{"calculate": "datum.to_s * 0.96", "as": "edge_s"}],
                    mark={"type": "rect"},
                    encoding={
                        "x": x,
                        "x2": {"field": "edge_s"},
                        "y": {"field": "low", "type": "quantitative", "title": None,
                              "axis": {**LEFT, "labelExpr": AMOUNT_LABEL, "tickCount": 5}},
                        "y2": {"field": "high"},
                        "color": part_colour(parts),
                        "tooltip": [
                            {"field": "from_s", "title": "from, s", "format": ",.3~g"},
                            {"field": "part"},
                            {"field": "tokens", "format": ",d"},
                        ],
                    },
                ),
            ),
        ),
    )  # fmt: skip
