"""The prefix tree as an icicle: what is shared by how many, and how much of it hit."""

from __future__ import annotations

from collections.abc import Mapping

from replay.report.page.drawn import Data, Drawn, Key, LeftOut, View
from replay.report.page.facts import Facts
from replay.report.page.look import paint
from replay.report.page.vega import AMOUNT_LABEL, LEFT, view
from replay.report.tokens import DARK_TEXT
from replay.report.words import percent, sentence, spelled

FEW = 5  # prefixes that a sentence may say bring most of the reuse
MOST = 0.5
_STEPS = (0.2, 0.4, 0.6, 0.8)
_SHADES = ("avoid", "unavoid", "axis", "cross", "session")
_STEP_NAMES = ("under 20%", "20-40%", "40-60%", "60-80%", "over 80%")
_LABELLED = 0.03  # of all requests: less has no room for its number
_LEAST_PIXELS = 96
_EDGED_PIXELS = 4  # a narrower box would be all edge
# What can be read on each shade, in light and in dark.
_READABLE = [
    {"test": "datum.kept >= 0.8 || datum.kept < 0.2", "value": "var(--onstrong)"},
    {"test": "datum.kept >= 0.4 && datum.kept < 0.6", "value": "var(--ink)"},
]
_ACROSS = "scale('x', datum.to_request) - scale('x', datum.from_request)"


def caption(prefixes: Data) -> str:
    """Return how few prefixes bring half of all reuse, where few do."""
    shares = sorted((row["hit_share"] or 0.0 for row in prefixes.records), reverse=True)
    if not shares or not shares[0]:
        return "None of the shared prefixes was reused."
    for number in range(1, FEW + 1):
        if sum(shares[:number]) >= MOST:
            verb, ending = ("brings", "") if number == 1 else ("bring", "es")
            share = percent(sum(shares[:number]))
            return sentence(f"{spelled(number)} shared prefix{ending} {verb} {share} of all reuse.")
    return (
        f"No prefix stands out: the one that saves most brings {percent(shares[0])} of all reuse."
    )


def tree(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the prefixes that saved most and what they hang from."""
    table = data["prefixes"]
    requests = facts.summary["requests"]
    x = {"field": "from_request", "type": "quantitative", "title": "requests, side by side",
         "scale": {"domain": [0, requests], "nice": False},
         "axis": {"grid": False, "tickCount": 5, "format": ",d"}}  # fmt: skip
    y = {"field": "start_tokens", "type": "quantitative", "title": None,
         "scale": {"reverse": True, "type": "pow", "exponent": 0.5, "nice": False},
         "axis": {**LEFT, "labelExpr": AMOUNT_LABEL, "tickCount": 6}}  # fmt: skip
    shade = {"field": "kept", "type": "quantitative", "legend": None,
             "scale": {"type": "threshold", "domain": [*_STEPS],
                       "range": [paint(name) for name in _SHADES]}}  # fmt: skip
    boxes = {
        "mark": {"type": "rect", "stroke": "var(--card)",
                 "strokeWidth": {"expr": f"{_ACROSS} > {_EDGED_PIXELS} ? 1 : 0"}},
        "encoding": {
            "x": x, "x2": {"field": "to_request"}, "y": y, "y2": {"field": "stop_tokens"},
            "color": shade,
            "tooltip": [
                {"field": "prefix_id", "title": "prefix"},
                {"field": "start_tokens", "title": "from token", "format": ",d"},
                {"field": "stop_tokens", "title": "to token", "format": ",d"},
                {"field": "requests", "format": ",d"},
                {"field": "hit_tokens", "title": "tokens saved", "format": ",d"},
                {"field": "kept", "title": "repeats that hit", "format": ".0%"},
            ],
        },
    }  # fmt: skip
    numbers = {
        "transform": [
            {"filter": f"datum.requests >= {_LABELLED * requests}"},
            {"calculate": "format(datum.requests, ',d') + ' requests'", "as": "text"},
        ],
        "mark": {
            "type": "text", "align": "left", "baseline": "top", "dx": 5, "dy": 5,
            "limit": {"expr": f"{_ACROSS} - 8"},
            "opacity": {"expr": f"{_ACROSS} > {_LEAST_PIXELS} ? 1 : 0"},
            "fontWeight": 600,
        },
        "encoding": {
            "x": {"field": "from_request", "type": "quantitative"},
            "y": {"field": "start_tokens", "type": "quantitative"},
            "text": {"field": "text"},
            "color": {"condition": _READABLE, "value": DARK_TEXT},
        },
    }  # fmt: skip
    shown = len(table.rows)
    return Drawn(
        caption=caption(table),
        subtitle=(
            f"The prefix tree, {shown} prefixes: width is how many requests contain one, depth its "
            "place in the prompt in tokens (square-root scale), so area is tokens sent."
        ),
        key_title="Share of its repeats that hit",
        key=tuple(Key(name, shade) for name, shade in zip(_STEP_NAMES, _SHADES, strict=True)),
        views=(View("prefixes", view("prefixes", 230, layer=[boxes, numbers])),),
    )
