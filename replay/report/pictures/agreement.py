"""Predicted against measured step times, one dot a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from replay.report.frame.axes import WAIT_LABEL, log_ticks
from replay.report.pictures.picture import Picture

if TYPE_CHECKING:
    from replay.report.pictures.picture import Spec

SIDE = 460  # pixels: both axes are the same
_WITHIN = 0.2  # of the measured time: the dashed lines beside the diagonal
_SHADES = ("prefill", "queue", "unavoid", "cross")
_SHAPES = ("circle", "triangle-up", "square", "diamond")


@dataclass(frozen=True, slots=True)
class Points:
    """A named cloud: measured and predicted times in milliseconds."""

    name: str
    measured: Sequence[float]
    predicted: Sequence[float]


def agreement_picture(series: Sequence[Points], *, finding: str, subtitle: str) -> Picture:
    """Return predicted over measured times on logarithmic axes, with the diagonal and 20 % off."""
    import polars as pl

    rows = [
        (one.name, round(float(x), 4), round(float(y), 4))
        for one in series
        for x, y in zip(one.measured, one.predicted, strict=True)
    ]
    points = pl.DataFrame(rows, ["phase", "measured_ms", "predicted_ms"], orient="row")
    times = [time for row in rows for time in row[1:]]
    low, high = min(times, default=1.0) * 0.8, max(times, default=10.0) * 1.25
    ends = [
        (factor, edge, edge * factor) for factor in (1.0, 1 - _WITHIN, 1 + _WITHIN)
        for edge in (low, high)
    ]  # fmt: skip
    lines = pl.DataFrame(ends, ["factor", "measured_ms", "predicted_ms"], orient="row")
    return Picture(
        finding=finding,
        subtitle=f"{subtitle}. Dashed: {_WITHIN:.0%} off.",
        tables={"points": points, "lines": lines},
        views=[_view([one.name for one in series], low, high)],
    )


def _view(names: list[str], low: float, high: float) -> Spec:
    ticks = {"values": log_ticks(low, high), "labelExpr": WAIT_LABEL, "grid": True}
    scale = {"type": "log", "nice": False, "domain": [low, high]}
    axis = {"type": "quantitative", "scale": scale, "axis": ticks}
    x, y = (
        {**axis, "field": f"{what}_ms", "title": what} for what in ("measured", "predicted")
    )  # fmt: skip
    key = {"field": "phase", "type": "nominal"}
    shades = [f"var(--{shade})" for shade, _ in zip(cycle(_SHADES), names, strict=False)]
    shapes = [shape for shape, _ in zip(cycle(_SHAPES), names, strict=False)]
    colour = {**key, "scale": {"domain": names, "range": shades}}
    shape = {**key, "scale": {"domain": names, "range": shapes}}
    dashes = {"domain": [1.0, 1 - _WITHIN, 1 + _WITHIN], "range": [[1, 0], [4, 4], [4, 4]]}
    dash = {"field": "factor", "type": "nominal", "legend": None, "scale": dashes}
    line = {"type": "line", "color": "var(--muted)", "strokeWidth": 1, "clip": True}
    dots = {"type": "point", "filled": True, "size": 16, "opacity": 0.55}
    return {
        "width": SIDE,
        "height": SIDE,
        "data": {"name": "points"},
        "layer": [
            {"data": {"name": "lines"}, "mark": line,
             "encoding": {"x": x, "y": y, "strokeDash": dash, "detail": {"field": "factor"}}},
            {"mark": dots, "encoding": {"x": x, "y": y, "color": colour, "shape": shape}},
        ],
    }  # fmt: skip
