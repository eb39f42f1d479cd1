"""The grammar that all pictures share: Vega-Lite in plain dictionaries, coloured by the page.

Colours are CSS variables, so one drawing serves light, dark and paper. That takes discrete scales:
a continuous one cannot mix variables. What is stacked or binned was so in SQL; a view draws
rectangles, and the table below it holds what they are. Heights are numbers: steps warn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from replay.report.frame.drawing import AS_WIDE_AS_ITS_PLACE
from replay.report.page.look import PARTS, paint

Spec = dict[str, Any]

LEFT = {"minExtent": 52, "maxExtent": 52}  # so that clocks stand below each other
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_CLOCK_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * at for at in (1, 2, 3, 5, 10, 15, 30)),
    *(_HOUR * at for at in (1, 2, 3, 6, 12)),
    *(_DAY * at for at in (1, 2, 5, 10, 20, 50, 100, 200)),
)
_MOST_TICKS = 6
_LAST_TICK = 0.96  # of the axis
_WAIT_TICKS = 5
_LONG_MS = 20_000  # from here on steps are those of a clock
CLOCK_LABEL = (
    "datum.value >= 172800 ? format(datum.value / 86400, '.3~g') + ' d' : "
    "datum.value >= 7200 && datum.value % 3600 == 0 ? format(datum.value / 3600, 'd') + ' h' : "
    "datum.value >= 3600 ? floor(datum.value / 3600) + ':' "
    "+ format(floor(datum.value / 60) % 60, '02d') + ' h' : "
    "datum.value >= 60 ? (datum.value % 60 ? floor(datum.value / 60) + ':' "
    "+ format(datum.value % 60, '02d') : floor(datum.value / 60) + ' min') : "
    "format(datum.value, '.3~g') + ' s'"
)
WAIT_LABEL = (
    "datum.value >= 7200000 ? format(datum.value / 3600000, '.3~g') + ' h' : "
    "datum.value >= 120000 ? format(datum.value / 60000, '.3~g') + ' min' : "
    "datum.value >= 1000 ? format(datum.value / 1000, '.3~g') + ' s' : "
    "datum.value == 0 ? '0' : format(datum.value, '.3~g') + ' ms'"
)

# Each for itself: a shared prefix makes `0k` of nothing. Thousandths are no `m`.
AMOUNT_LABEL = "format(datum.value, abs(datum.value) < 1 ? '.3~g' : '~s')"


def view(data: str, height: int, **parts: Any) -> Spec:
    """Return a spec as wide as its place in the page, over the rows of a query."""
    return {"data": {"name": data}, "height": height, **AS_WIDE_AS_ITS_PLACE, **parts}


def title(text: str, *, bold: bool = False) -> Spec:
    """Return the line above a view that is one of several in a figure."""
    return {
        "text": text, "anchor": "start", "frame": "bounds", "fontSize": 13 if bold else 12,
        "fontWeight": 600 if bold else 400, "color": "var(--ink)", "offset": 5,
    }  # fmt: skip


def clock_axis(field: str, until_s: float, *, labels: bool = True) -> Spec:
    """Return an x channel of seconds since the trace began, ticks at round times."""
    step = next((at for at in _CLOCK_STEPS if until_s / at <= _MOST_TICKS), until_s or 1)
    if until_s < _MOST_TICKS * _SECOND / 2:
        step = max(until_s, 1e-9) / 4
    # A label that reaches past the end would take room from this clock and not from its neighbours.
    ticks = [step * at for at in range(int(_LAST_TICK * until_s / step) + 1)]
    axis: Spec = {"labelExpr": CLOCK_LABEL, "values": ticks, "grid": False, "labelFlush": True}
    if not labels:
        axis |= {"labels": False, "ticks": False}
    scale = {"domain": [0, until_s], "nice": False}
    return {"field": field, "type": "quantitative", "title": None, "axis": axis, "scale": scale}


def wait_axis(most_ms: float) -> Spec:
    """Return the ticks of an axis of waits that starts at 0: at most six, of round length."""
    lengths = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
    lengths = [ms for ms in lengths if ms <= _LONG_MS]
    lengths += [1000.0 * step for step in _CLOCK_STEPS if 1000 * step > _LONG_MS]
    step = next((ms for ms in lengths if most_ms / ms <= _WAIT_TICKS), most_ms)
    ticks = [step * at for at in range(int(most_ms / step) + 1)]
    return {"labelExpr": WAIT_LABEL, "values": ticks}


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1 and 3 of each decade between two numbers."""
    ticks = [digit * 10.0**power for power in range(-6, 13) for digit in (1, 3)]
    return [at for at in ticks if low <= at <= high]


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
