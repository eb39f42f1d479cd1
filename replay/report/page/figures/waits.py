"""Pictures of the time to first token: ranked, over the run, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.frame.axes import LEFT, WAIT_LABEL, clock_axis, log_ticks, wait_axis
from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.vega import SIDES, Spec, colour, sides, title, view
from replay.report.words import percent, span, wait

TAG = "Overloaded: these times grow with the length of the trace"
WITH, WITHOUT = SIDES
_PARTS = {"queue": "queue", "overhead": "round", "prefill": "prefill"}
_SHOWN_RANKS = (0, 0.25, 0.5, 0.75, 0.9, 0.99)


def _key(present: list[str]) -> tuple[Key, ...]:
    if WITHOUT not in present:
        return ()
    return tuple(Key(side, SIDES[side], "line" if side == WITH else "dash") for side in SIDES)


def _tag(facts: Facts) -> str:
    if facts.overloaded:
        return TAG
    return (
        f"{TAG.replace('Overloaded', 'Overloaded without the cache')}"
        if facts.only_cache_carries
        else ""
    )


# --- ranked ---------------------------------------------------------------------------------


def ranked_caption(savings: Data, facts: Facts) -> str:
    """Return how long all but one in a hundred wait, with the cache and without."""
    last = savings.records[-1]
    within = f"99 of 100 requests have their first token within {wait(last['ttft_ms'])}"
    if last["no_cache_ttft_ms"] is None or facts.waits_mean_nothing:
        return f"{within}."
    if abs(last["saved_share"]) <= facts.model_error:
        return f"{within}, with the cache and without: the difference is inside the model's error."
    return f"{within}; without the cache, {wait(last['no_cache_ttft_ms'])}."


def ranked(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the waits ranked, and below them the four numbers that people quote."""
    present = sorted(set(data["waits"].column("side")))
    return Drawn(
        caption=ranked_caption(data["savings"], facts),
        subtitle="Share of requests whose first token came within the time below (log scale).",
        key=_key(present),
        views=(View("waits", _ranked_view(data["waits"], present)),),
        digest=_digest(data["savings"], facts),
        tag=_tag(facts),
    )


def _ranked_view(waits: Data, present: list[str]) -> Spec:
    values = [max(ms, 1e-3) for ms in waits.column("ms")]
    x = {"field": "ms", "type": "quantitative", "title": "time to first token",
         "scale": {"type": "log", "nice": False},
         "axis": {"labelExpr": WAIT_LABEL, "grid": True,
                  "values": log_ticks(min(values), max(values))}}  # fmt: skip
    y = {"field": "share", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]},
         "axis": {**LEFT, "values": [*_SHOWN_RANKS], "format": ".0%"}}  # fmt: skip
    lines = {
        "mark": {"type": "line", "interpolate": "step-before", "strokeWidth": 2.25},
        "encoding": {"x": x, "y": y, **sides(present)},
    }
    dots = {
        "transform": [{"filter": "indexof([0.5, 0.9, 0.99], datum.share) >= 0"}],
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {
            "x": {"field": "ms", "type": "quantitative"},
            "y": {"field": "share", "type": "quantitative"},
            "color": sides(present)["color"],
            "tooltip": [
                {"field": "side"},
                {"field": "share", "format": ".0%"},
                {"field": "ms", "title": "ms", "format": ",.0f"},
            ],
        },
    }
    return view("waits", 250, layer=[lines, dots])


def _digest(savings: Data, facts: Facts) -> tuple[tuple[str, ...], ...]:
    """Return the mean, the median and two percentiles of each side, and what was saved of them."""
    paired = savings.records[0]["no_cache_ttft_ms"] is not None
    told = paired and not facts.waits_mean_nothing
    rows = [["", "with" if paired else "wait", *["without"] * paired, *["saved"] * told]]
    for row in savings.records:
        cells = [row["statistic"], wait(row["ttft_ms"])]
        cells += [wait(row["no_cache_ttft_ms"])] if paired else []
        cells += [_saved(row["saved_share"], facts)] if told else []
        rows.append(cells)
    return tuple(map(tuple, rows))


def _saved(share: float | None, facts: Facts) -> str:
    if share is None:
        return ""
    return "tie" if abs(share) <= facts.model_error else percent(share)


# --- over the run ---------------------------------------------------------------------------


def over_time_caption(over_time: Data, slower: Data, facts: Facts) -> str:
    """Return in how many windows the median was shorter, and how many requests waited longer."""
    medians: dict[float, dict[str, float]] = {}
    for row in over_time.records:
        if row["statistic"] == "median":
            medians.setdefault(row["from_s"], {})[row["side"]] = row["ms"]
    pairs = [both for both in medians.values() if len(both) == len(SIDES)]
    if facts.overloaded:
        return _worsening(medians)
    if not pairs or facts.only_cache_carries:
        return _swing(medians)
    shorter = sum(both[WITH] < both[WITHOUT] for both in pairs)
    (late,) = slower.records
    return (
        f"The median wait was shorter in {shorter} of {len(pairs)} windows; "
        f"{late['slower']:,} of {late['paired']:,} requests waited longer than without."
    )


def _swing(medians: Mapping[float, Mapping[str, float]]) -> str:
    values = [both[WITH] for both in medians.values() if WITH in both]
    low, high = min(values), max(values)
    if high < 1.2 * low:
        return f"The median wait stays at {wait(sum(values) / len(values))}."
    return f"The median wait is {wait(low)} in the quietest window and {wait(high)} in the busiest."


def _worsening(medians: Mapping[float, Mapping[str, float]]) -> str:
    values = [both[WITH] for _, both in sorted(medians.items()) if WITH in both]
    first, last = wait(values[0]), wait(values[-1])
    return f"The median wait goes from {first} in the first window to {last} in the last."


def over_time(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the median and the 90th percentile over the run."""
    table = data["waits_over_time"]
    starts = sorted(set(table.column("from_s")))
    if len(starts) < 3:
        return LeftOut("too few requests for windows of a hundred")
    until = max(table.column("to_s"))
    width = table.records[0]["to_s"] - table.records[0]["from_s"]
    present = sorted(set(table.column("side")))
    return Drawn(
        caption=over_time_caption(table, data["slower"], facts),
        subtitle=f"Time to first token by {span(width)} of arrival, "
        "about a hundred requests or more each.",
        key=_key(present),
        views=tuple(
            View(
                f"waits_{name}",
                _over_time_view(
                    statistic,
                    label,
                    until,
                    max(row["ms"] for row in table.records if row["statistic"] == statistic),
                    present,
                ),
            )
            for statistic, name, label in (
                ("median", "median", "Median"),
                ("90%", "p90", "90th percentile: one in ten waits longer"),
            )
        ),
        tag=_tag(facts),
    )


def _over_time_view(
    statistic: str, label: str, until: float, most: float, present: list[str]
) -> Spec:
    y = {"field": "ms", "type": "quantitative", "title": None,
         "axis": {**LEFT, **wait_axis(most)}}  # fmt: skip
    return view(
        "waits_over_time",
        150,
        title=title(label),
        transform=[
            {"filter": f"datum.statistic == '{statistic}'"},
            {"calculate": "(datum.from_s + datum.to_s) / 2", "as": "middle_s"},
        ],
        mark={"type": "line", "strokeWidth": 2},
        encoding={"x": clock_axis("middle_s", until), "y": y, **sides(present)},
    )


# --- what they are made of --------------------------------------------------------------------


def made_of_caption(made_of: Data) -> str:
    """Return how much of the longest waits is queue, and that of the shortest where it differs."""
    shares = {}
    for row in made_of.records:
        if row["side"] == WITH and row["part"] == "queue":
            shares[row["band"]] = row["ms"] / row["wait_ms"] if row["wait_ms"] else 0.0
    if not shares:
        return "Nobody waits in the queue: all of the wait is prefill."
    band, share = [*shares.items()][-1]
    first = shares.get("fastest half", share)
    start = f"The {band} spend {percent(share)} of their wait in the queue"
    if band == "fastest half" or abs(first - share) < 0.1:
        return f"{start}."
    return f"{start}, the fastest half {percent(first)}."


def made_of(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return what waits of each length are made of, with the cache and without."""
    table = data["waits_made_of"]
    present = [side for side in SIDES if side in table.column("side")]
    parts = [part for part in _PARTS if part in table.column("part")]
    most = max(row["wait_ms"] for row in table.records)
    apart = " Ranked separately with and without the cache." if len(present) > 1 else ""
    return Drawn(
        caption=made_of_caption(table),
        subtitle=f"Mean time to first token of requests ranked by it, in its parts.{apart}",
        key=tuple(Key(part, _PARTS[part]) for part in parts),
        views=tuple(
            View(
                f"made_of_{SIDES[side]}", _made_of_view(side, parts, most, alone=len(present) == 1)
            )
            for side in present
        ),
        side_by_side=len(present) > 1,
        tag=_tag(facts),
    )


def _made_of_view(side: str, parts: list[str], most: float, *, alone: bool) -> Spec:
    bands = {"field": "band", "type": "nominal", "title": None,
             "sort": ["fastest half", "to 90%", "to 99%", "slowest 1%"],
             "axis": {"minExtent": 76, "maxExtent": 76}}  # fmt: skip
    x = {"field": "ms", "type": "quantitative", "title": None, "scale": {"domain": [0, most]},
         "axis": wait_axis(most)}  # fmt: skip
    places = f"indexof({[*_PARTS]}, datum.part)"
    return view(
        "waits_made_of",
        108,
        **({} if alone else {"title": title(side, bold=True)}),
        transform=[{"filter": f"datum.side == '{side}'"}, {"calculate": places, "as": "place"}],
        mark={"type": "bar", "height": {"band": 0.8}},
        encoding={
            "y": bands,
            "x": x,
            "color": colour("part", {part: _PARTS[part] for part in parts}),
            "order": {"field": "place"},
            "tooltip": [
                {"field": "band"},
                {"field": "part"},
                {"field": "ms", "title": "mean ms", "format": ",.0f"},
                {"field": "requests", "format": ",d"},
            ],
        },
    )
