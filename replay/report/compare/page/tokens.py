"""Pictures of tokens: where they went in each run, and what LRU reuses at other capacities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from replay.report.compare.compare import Comparison
from replay.report.compare.page.runs import (
    dot,
    each_or_ends,
    line_key,
    names_of,
    run_lines,
    shades,
)
from replay.report.frame.axes import AMOUNT_LABEL, LEFT, log_ticks
from replay.report.page.drawn import Data, Drawn, LeftOut, View
from replay.report.page.figures.causes import part_key
from replay.report.page.look import EVICTED, PARTS, REUSED
from replay.report.page.vega import Spec, part_colour, view
from replay.report.words import amount, listed, percent, size

ROOM_ABOVE, LEAST_RATE = 1.15, 0.01  # of the axis of hit rates
LEAST_MOST = (", the least,", ", the most,")
_BAR, _ROOM = 44, 30  # pixels


def parts_caption(parts: Data, found: Comparison) -> str:
    """Return what each run reused, and what it evicted."""
    reused, evicted = _shares(parts, REUSED), _shares(parts, EVICTED)
    if len(found.sides) > 2:
        ends = each_or_ends(found, reused, lambda one: percent(reused[one]), *LEAST_MOST)
        return f"Of the prompt tokens {ends} were reused."
    told = listed([f"{percent(reused[side.letter])} in {side.called}" for side in found.sides])
    if not any(evicted.values()):
        return f"Of the prompt tokens {told} were reused; nothing was evicted too early."
    lost = listed([percent(evicted[side.letter]) for side in found.sides])
    return f"Of the prompt tokens {told} were reused; {lost} were evicted before they came back."


def _shares(parts: Data, names: tuple[str, ...]) -> dict[str, float]:
    found = dict.fromkeys(parts.column("run"), 0.0)
    for row in parts.records:
        found[row["run"]] += row["token_share"] if row["part"] in names else 0.0
    return found


def parts(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return one bar of all prompt tokens a run."""
    table = data["parts"]
    present = [part for part in PARTS if part in set(table.column("part"))]
    x = {"field": "low", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]},
         "axis": {"format": ".0%", "tickCount": 5, "grid": False}}  # fmt: skip
    spec = view(
        "parts", _ROOM + _BAR * len(found.sides),
        mark={"type": "bar", "height": {"band": 0.75}},
        encoding={
            "y": names_of(found), "x": x, "x2": {"field": "high"}, "color": part_colour(present),
            "tooltip": [
                {"field": "part"},
                {"field": "tokens", "format": ",d"},
                {"field": "token_share", "title": "share", "format": ".1%"},
            ],
        },
    )  # fmt: skip
    return Drawn(
        caption=parts_caption(table, found),
        subtitle="All prompt tokens of the requests compared: reused, or missed and why.",
        key=part_key(present),
        views=(View("parts", spec),),
        digest=_digest(table, present, found),
    )


def _digest(table: Data, present: Sequence[str], found: Comparison) -> tuple[tuple[str, ...], ...]:
    """Return the share of each part in each run, the first run last as the one to hold against."""
    shares = {(row["run"], row["part"]): row["token_share"] for row in table.records}
    order = [*found.sides[1:], found.sides[0]]
    rows = [
        (part, *(f"{shares.get((side.letter, part), 0):.1%}" for side in order)) for part in present
    ]
    return ("", *(side.called for side in order)), *rows


# --- at other capacities --------------------------------------------------------------------


def curve_caption(found: Comparison) -> str:
    """Return the memory of each run, and what it reused with it."""
    table = found.tables["capacities"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    named = {row["run"]: row for row in rows}
    rates = {letter: row["token_hit_rate"] for letter, row in named.items()}

    def word(letter: str) -> str:
        return f"{percent(rates[letter])} with {_room(named[letter])}"

    told = each_or_ends(found, rates, word, *LEAST_MOST)
    return f"Reused are {told}."


def _room(one: Mapping[str, int | None]) -> str:
    tokens, nbytes = one["capacity_tokens"], one["capacity_bytes"]
    if tokens is None:
        return "unlimited memory"
    return (
        f"{amount(tokens)} tokens"
        if nbytes is None
        else f"{size(nbytes)} ({amount(tokens)} tokens)"
    )


def curve(data: Mapping[str, Data], found: Comparison) -> Drawn | LeftOut:
    """Return the hit rate of LRU over capacity, a line a run, and each run at its own."""
    table = data["curve"]
    sized = all(row["capacity_gib"] is not None for row in table.records)
    field = "capacity_gib" if sized else "capacity_tokens"
    unit = "GiB" if sized else "tokens"
    dots = _dots(found, field)
    values = [row[field] for row in table.records] + [at for _, at, _ in dots]
    if None in values:
        return LeftOut("a run does not say how large its blocks are")
    low, high = min(values), max(values)
    rates = [*table.column("token_hit_rate"), *(rate for *_, rate in dots)]
    top = min(max(*rates, LEAST_RATE) * ROOM_ABOVE, 1)
    x = {"field": field, "type": "quantitative", "title": f"KV memory, {unit} (log scale)",
         "scale": {"type": "log", "nice": False, "domain": [low, high]},
         "axis": {"values": log_ticks(low, high), "labelExpr": AMOUNT_LABEL, "grid": True},
         }  # fmt: skip
    y = {"field": "token_hit_rate", "type": "quantitative", "title": None,
         "scale": {"domain": [0, top]},
         "axis": {**LEFT, "format": ".0%", "tickCount": 6}}  # fmt: skip
    line = {"type": "line", "strokeWidth": 2.25}
    layers: list[Spec] = [{"mark": line, "encoding": {"x": x, "y": y, **run_lines(found)}}]
    for letter, at, rate in dots:
        layers += _marked(shades(found)[letter], at, rate)
    return Drawn(
        caption=curve_caption(found),
        subtitle="Lines: the hit rate of LRU at every capacity, requests one after another. Dots: "
        "what the runs reused at theirs, under their own policies and with requests that overlap.",
        key=line_key(found),
        views=(View("curve", view("curve", 260, layer=layers)),),
    )


def _dots(found: Comparison, field: str) -> list[tuple[str, float, float]]:
    """Return letter, capacity and hit rate of the runs whose memory has a limit."""
    table = found.tables["capacities"]
    dots = []
    for row in table.rows:
        one = dict(zip(table.columns, row, strict=True))
        nbytes, tokens = one["capacity_bytes"], one["capacity_tokens"]
        at = tokens if field == "capacity_tokens" else None if nbytes is None else nbytes / 2**30
        if at is not None:
            dots.append((one["run"], float(at), one["token_hit_rate"]))
    return dots


def _marked(shade: str, at: float, rate: float) -> list[Spec]:
    values = {"data": {"values": [{"x": at, "y": rate}]}}
    place = {axis: {"field": axis, "type": "quantitative"} for axis in "xy"}
    number = {"type": "text", "align": "left", "dx": 10, "fontWeight": 600, "text": percent(rate)}
    rule = {"type": "rule", "color": "var(--axis)"}
    return [
        {**values, "mark": rule, "encoding": {"x": place["x"]}},
        {**values, "mark": dot(shade), "encoding": place},
        {**values, "mark": number, "encoding": place},
    ]
