"""What more memory or another policy would do, and how soon evicted KV is wanted again."""

from __future__ import annotations

import math
from collections.abc import Mapping

from replay.report.frame.axes import AMOUNT_LABEL, CLOCK_LABEL, LEFT, log_ticks
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.figures.causes import part_key
from replay.report.page.look import PARTS, paint
from replay.report.page.vega import Spec, part_colour, view
from replay.report.page.verdict import SAME
from replay.report.words import percent, span, times

ROOM_ABOVE, LEAST_RATE = 1.15, 0.01  # of the axis
HEIGHT = 250  # pixels
EDGE = 0.12  # of the width
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


def _of_all(facts: Facts) -> str:
    if facts.all_completed:
        return ""
    return " Requests that were not completed count, too: the run reused nothing of them."


def curve(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the hit rate over capacity, this run's dot, the optimum and the ceiling."""
    sized = None not in (facts.run["kv_bytes_per_token"], facts.run["block_size"])
    field = "capacity_gib" if sized else "capacity_blocks"
    unit = "GiB" if sized else "tokens" if facts.run["block_size"] == 1 else "blocks"
    rows = data["curve"].records
    low, high = min(row[field] for row in rows), max(row[field] for row in rows)
    axis = {"values": log_ticks(low, high), "labelExpr": AMOUNT_LABEL, "grid": True}
    x = {"field": field, "type": "quantitative", "title": f"KV memory, {unit} (log scale)",
         "scale": {"type": "log", "nice": False, "domain": [low, high]}, "axis": axis}  # fmt: skip
    if not any(row["token_hit_rate"] for row in rows):
        return LeftOut("no prompt repeats what an earlier one contained")
    rates = [row["token_hit_rate"] for row in rows] + [facts.rate("this run") or 0.0]
    top = min(max(*rates, LEAST_RATE) * ROOM_ABOVE, 1)
    key = [Key("LRU", "with", "line")]
    if facts.run["capacity_blocks"] is not None and facts.summary["completed"]:
        key.append(Key("this run", "with", "dot"))
    optima = sum(row["policy"] == "min" for row in rows)
    if optima:
        mark = "dash" if optima > 1 else "dot"
        key.append(Key("optimum, which knows the future", "avoid", mark))
    layers = [*_lines(x, top, facts), *_dots(field, low, high, top, facts)]
    return Drawn(
        caption=curve_caption(facts),
        subtitle="Hit rate at every capacity, requests one after another; the dot is this run, "
        f"whose requests overlap.{_knee(facts)}{_of_all(facts)}",
        key=tuple(key),
        views=(View("curve", view("curve", HEIGHT, layer=layers)),),
    )


def _lines(x: Spec, top: float, facts: Facts) -> list[Spec]:
    """Return the curves, and the ceiling in words."""
    y = {"field": "token_hit_rate", "type": "quantitative", "title": None,
         "scale": {"domain": [0, top]},
         "axis": {**LEFT, "format": "~%", "tickCount": 6}}  # fmt: skip
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
    return layers


def _at(mark: Spec, **place: float) -> Spec:
    """Return a mark at one place of the axes that the lines have."""
    encoding = {axis: {"field": axis, "type": "quantitative"} for axis in place}
    return {"data": {"values": [place]}, "mark": mark, "encoding": encoding}


def _dots(field: str, low: float, high: float, top: float, facts: Facts) -> list[Spec]:
    """Return this run and the optimum at its capacity, each with its number."""
    run = facts.memory.get("this run")
    if run is None or run[field] is None:
        return []
    along = math.log(run[field] / low) / math.log(high / low) if high > low else 0.0
    layers, below = [_at({"type": "rule", "color": "var(--axis)"}, x=run[field])], 0.0
    for cache, shade, shape in (
        ("this run", "with", "circle"),
        ("the same memory, optimum", "avoid", "diamond"),
    ):
        rate = facts.rate(cache)
        if rate is None or (cache == "this run" and not facts.summary["completed"]):
            continue
        place, below = _beside(rate / top * HEIGHT, along, below)
        dot = {"type": "point", "filled": True, "size": 80, "opacity": 1, "color": paint(shade),
               "shape": shape}  # fmt: skip
        number = {"type": "text", **place, "fontWeight": 600, "text": percent(rate)}
        layers += [_at(dot, x=run[field], y=rate), _at(number, x=run[field], y=rate)]
    return layers


def _beside(up: float, along: float, below: float) -> tuple[Spec, float]:
    """Return where the number of a dot stands, off its curve, and the top of it in pixels.

    The curve rises to the right, so that is below the dot on its right, or above it on its left
    where the axis or the number before it is in the way; on the other side where that would reach
    past an edge. `up` is the dot's height and `below` what is taken below it, in pixels; `along` is
    its place on the axis, 0 to 1.
    """
    lowered = up - 12
    above = lowered < below + 10
    at = max(up + 9, below + 9) if above else lowered
    left = above if EDGE < along < 1 - EDGE else along >= 1 - EDGE
    place = {"align": "right" if left else "left", "dx": -9 if left else 9, "dy": up - at}
    return place, at + 6


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
