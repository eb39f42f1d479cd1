"""Charts of step times: predicted against measured, and what one step costs over a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from replay.report.charts import styled

if TYPE_CHECKING:
    import altair

_WIDTH, _HEIGHT, _SQUARE = 640, 360, 420
_WITHIN = 0.2  # of the measured time: the dashed lines beside the diagonal
_QUIET = "#777777"
_COLOURS = (
    "#1f5fa8", "#d1603d", "#3a8f5c", "#8a5aa8", "#b8902a", "#3b9aa8", "#a83f6d", "#5f6f7f",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Points:
    """A named cloud: measured and predicted times in milliseconds."""

    name: str
    measured: Sequence[float]
    predicted: Sequence[float]


def agreement_chart(series: Sequence[Points], *, title: str, subtitle: str) -> altair.Chart:
    """Return predicted over measured times on logarithmic axes, with the diagonal and 20 % off."""
    import altair as alt

    points = [
        {"phase": one.name, "measured": round(float(x), 4), "predicted": round(float(y), 4)}
        for one in series
        for x, y in zip(one.measured, one.predicted, strict=True)
    ]
    times = [float(value) for one in series for value in (*one.measured, *one.predicted)]
    low, high = min(times, default=1.0), max(times, default=10.0)
    scale = alt.Scale(type="log", nice=False, domain=[low * 0.8, high * 1.25])
    dots = (
        alt.Chart(alt.Data(values=points))
        .mark_point(filled=True, size=14, opacity=0.55)
        .encode(
            x=alt.X("measured:Q", title="measured, ms", scale=scale),
            y=alt.Y("predicted:Q", title="predicted, ms", scale=scale),
            color=_colours("phase", [one.name for one in series]),
        )
    )
    lines: list[Any] = []
    for factor, dash in ((1.0, [1, 0]), (1 - _WITHIN, [4, 4]), (1 + _WITHIN, [4, 4])):
        ends = [{"x": edge, "y": edge * factor} for edge in (low, high)]
        lines.append(
            alt.Chart(alt.Data(values=ends))
            .mark_line(strokeDash=dash, color=_QUIET, strokeWidth=1, clip=True)
            .encode(x=alt.X("x:Q", scale=scale), y=alt.Y("y:Q", scale=scale))
        )
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=14)
    layers = alt.layer(*lines, dots)
    return styled(layers.properties(width=_SQUARE, height=_SQUARE, title=heading))


def parts_chart(
    x: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    *,
    title: str,
    subtitle: str,
    x_title: str,
) -> altair.Chart:
    """Return where the time of a step goes over a range: areas on each other, in milliseconds."""
    import altair as alt

    points = [
        {"part": name, "x": float(at), "ms": round(float(value), 6), "order": index}
        for index, (name, values) in enumerate(parts.items())
        for at, value in zip(x, values, strict=True)
    ]
    areas = (
        alt.Chart(alt.Data(values=points))
        .mark_area(opacity=0.9)
        .encode(
            x=alt.X("x:Q", title=x_title, scale=alt.Scale(type="log", nice=False)),
            y=alt.Y("ms:Q", title="step time, ms", stack="zero"),
            color=_colours("part", list(parts)),
            order="order:Q",
        )
    )
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=14)
    return styled(areas.properties(width=_WIDTH, height=_HEIGHT, title=heading))


def _colours(field: str, names: list[str]) -> Any:
    import altair as alt

    colours = [_COLOURS[index % len(_COLOURS)] for index in range(len(names))]
    return alt.Color(
        f"{field}:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=colours),
        legend=alt.Legend(orient="right"),
    )
