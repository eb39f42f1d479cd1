"""The grammar of the figures of pages: Vega-Lite in plain dictionaries, coloured by the page.

Colours are CSS variables, so one drawing serves light, dark and paper. That takes discrete scales:
a continuous one cannot mix variables. What is stacked or binned was so in SQL; a view draws
rectangles, and the table below it holds what they are. Heights are numbers: steps warn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from replay.report.frame.axes import Spec
from replay.report.frame.drawing import AS_WIDE_AS_ITS_PLACE
from replay.report.page.look import PARTS, paint


def view(data: str, height: int, **parts: Any) -> Spec:
    """Return a spec as wide as its place in the page, over the rows of a query."""
    return {"data": {"name": data}, "height": height, **AS_WIDE_AS_ITS_PLACE, **parts}


def title(text: str, *, bold: bool = False) -> Spec:
    """Return the line above a view that is one of several in a figure."""
    return {
        "text": text, "anchor": "start", "frame": "bounds", "fontSize": 13 if bold else 12,
        "fontWeight": 600 if bold else 400, "color": "var(--ink)", "offset": 5,
    }  # fmt: skip


def colour(field: str, colours: Mapping[str, str]) -> Spec:
    """Return a colour channel that paints each value as its meaning says; the key is HTML."""
    scale = {"domain": [*colours], "range": [paint(name) for name in colours.values()]}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def part_colour(parts: Sequence[str]) -> Spec:
    """Return the colour channel of the parts of a prompt."""
    return colour("part", {part: PARTS[part] for part in parts})


SIDES = {"with cache": "with", "without cache": "without"}
_DASHES = {"with cache": [1, 0], "without cache": [5, 3]}


def sides(present: Sequence[str]) -> Spec:
    """Return the channels of the lines with the cache, solid, and without it, dashed."""
    shown = [side for side in SIDES if side in present]
    dashes = {"domain": shown, "range": [_DASHES[side] for side in shown]}
    return {
        "color": colour("side", {side: SIDES[side] for side in shown}),
        "strokeDash": {"field": "side", "type": "nominal", "scale": dashes, "legend": None},
    }
