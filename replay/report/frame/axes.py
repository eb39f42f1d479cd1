"""Axes that all drawings share: shares in percent, sizes on a log scale, waits, a trace's clock.

Colours are CSS variables of the page; heights and widths are those of who draws.
"""

from __future__ import annotations

import math
from typing import Any

Spec = dict[str, Any]

LEFT = {"minExtent": 52, "maxExtent": 52}  # so that clocks stand below each other
# Each for itself: a shared prefix makes `0k` of nothing. Thousandths are no `m`.
AMOUNT_LABEL = "format(datum.value, abs(datum.value) < 1 ? '.3~g' : '~s')"
_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86_400
_CLOCK_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * at for at in (1, 2, 3, 5, 10, 15, 30)),
    *(_HOUR * at for at in (1, 2, 3, 6, 12)),
    *(_DAY * at for at in (1, 2, 5, 10, 20, 50, 100, 200)),
)
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
_MOST_TICKS = 6
_LAST_TICK = 0.96  # of the axis
_WAIT_TICKS = 5
_LONG_MS = 20_000  # from here on steps are those of a clock
_MOST_DECADES = 9
# The digits of each decade that get a tick, for an axis of fewer decades than the number.
_DIGITS = (
    (1.2, (1, 2, 3, 4, 5, 6, 8)), (3, (1, 2, 5)), (6, (1, 3)), (math.inf, (1,)),
)  # fmt: skip


def share_axis(field: str, top: float, title: str | None = None) -> Spec:
    """Return a y channel of shares from 0 to `top`, at most 1."""
    return {
        "field": field, "type": "quantitative", "title": title,
        "scale": {"domain": [0, min(top, 1)], "nice": False},
        "axis": {"format": ".0%" if top > 0.04 else ".1%", "tickCount": 6, "grid": True},
    }  # fmt: skip


def log_axis(field: str, low: float, high: float, title: str) -> Spec:
    """Return an x channel of sizes on a log scale, ticks at round numbers."""
    return {
        "field": field, "type": "quantitative", "title": title,
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": log_ticks(low, high), "labelExpr": AMOUNT_LABEL, "grid": True},
    }  # fmt: skip


def clock_axis(
    field: str, until_s: float, title: str | None = None, *, labels: bool = True
) -> Spec:
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
    return {"field": field, "type": "quantitative", "title": title, "axis": axis, "scale": scale}


def wait_axis(most_ms: float) -> Spec:
    """Return the ticks of an axis of waits that starts at 0: at most six, of round length."""
    lengths = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
    lengths = [ms for ms in lengths if ms <= _LONG_MS]
    lengths += [1000.0 * step for step in _CLOCK_STEPS if 1000 * step > _LONG_MS]
    step = next((ms for ms in lengths if most_ms / ms <= _WAIT_TICKS), most_ms)
    ticks = [step * at for at in range(int(most_ms / step) + 1)]
    return {"labelExpr": WAIT_LABEL, "values": ticks}


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two, as many of each decade as an axis has room for."""
    decades = math.log10(high / low) if low > 0 else _MOST_DECADES
    digits = next(digits for most, digits in _DIGITS if decades < most)
    ticks = [digit * 10.0**power for power in range(-6, 16) for digit in digits]
    return [at for at in ticks if low <= at <= high]


def bins(field: str, low: float, high: float, title: str, label: str = AMOUNT_LABEL) -> Spec:
    """Return an x channel of the lower ends of bins on a log scale."""
    axis = log_axis(field, low, high, title)
    return {**axis, "axis": {**axis["axis"], "labelExpr": label, "grid": False}}
