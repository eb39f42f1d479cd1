"""Charts, one function each: small tables in, a Vega-Lite chart out; and the files they go to.

Altair and vl-convert come with `pip install 'kvreplay[report]'`. Both work offline: an HTML page
carries its own scripts, PNG and SVG are drawn without a browser.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replay.errors import InputError
from replay.writing.whole import whole_file

if TYPE_CHECKING:
    import altair

SUFFIXES = (".png", ".svg", ".html", ".json")
_WIDTH, _HEIGHT = 640, 360
_PNG_SCALE = 2
_INK, _QUIET, _GRID = "#222222", "#777777", "#e8e8e8"
_COLOURS = (
    "#1f5fa8", "#d1603d", "#3a8f5c", "#8a5aa8", "#b8902a", "#3b9aa8",
    "#a83f6d", "#5f6f7f", "#7a8f2a", "#c07aa0",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """A named line: `x` and `y` of its points, `dots` where only the points are known."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a label."""

    x: float
    label: str


def check_plot(path: Path) -> None:
    """Raise InputError where a plot cannot be made: an unknown suffix, or Altair missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: the suffix tells no kind of plot (got {path.suffix!r})",
            hint=f"use one of {', '.join(SUFFIXES)}",
        )
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"plots need a module that is not installed ({error.name})",
            hint="pip install 'kvreplay[report]'",
        ) from error


def curve_chart(
    series: Sequence[Series],
    *,
    title: str,
    subtitle: str,
    x_title: str,
    ceiling: float | None,
    marks: Sequence[Mark] = (),
) -> altair.Chart:
    """Return hit rate over capacity on a logarithmic axis, the ceiling dashed, marks labelled."""
    import altair as alt

    points = [
        {"policy": one.name, "capacity": x, "rate": y}
        for one in series
        for x, y in zip(one.x, one.y, strict=True)
        if x > 0
    ]
    names = [one.name for one in series]
    dotted = [one.name for one in series if one.dots]
    colour = alt.Color(
        "policy:N",
        title=None,
        sort=names,
        scale=alt.Scale(
            domain=names, range=[_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
        ),
        legend=alt.Legend(orient="right") if len(names) > 1 else None,
    )
    x = alt.X("capacity:Q", title=x_title, scale=alt.Scale(type="log", nice=False))
    top = max([ceiling or 0.0, *(y for one in series for y in one.y)], default=1.0)
    y = alt.Y(
        "rate:Q",
        title="token hit rate",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(domain=[0, min(1, top * 1.25)]),
    )
    base = alt.Chart(alt.Data(values=points)).encode(x=x, y=y, color=colour)
    layers: list[Any] = [base.mark_line(strokeWidth=2.2, interpolate="linear")]
    if dotted:
        chosen = alt.FieldOneOfPredicate(field="policy", oneOf=dotted)
        layers.append(base.transform_filter(chosen).mark_point(filled=True, size=40, opacity=1))
    if ceiling is not None:
        layers += _ceiling(ceiling)
    layers += _marks(marks)
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=14)
    return styled(alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=heading))


def write_chart(chart: altair.Chart, path: Path, *, force: bool = False) -> None:
    """Write a chart as the suffix of its file says; the file appears whole or not at all."""
    suffix = path.suffix.lower()
    check_plot(path)
    buffer = io.BytesIO() if suffix == ".png" else io.StringIO()
    if suffix == ".html":
        chart.save(buffer, format="html", inline=True)
    elif suffix == ".png":
        chart.save(buffer, format="png", scale_factor=_PNG_SCALE)
    elif suffix == ".svg":
        chart.save(buffer, format="svg")
    else:
        chart.save(buffer, format="json")
    content = buffer.getvalue()
    with whole_file(path, force=force) as sink:
        sink.write(content if isinstance(content, bytes) else content.encode())


def _ceiling(rate: float) -> list[Any]:
    import altair as alt

    data = alt.Data(values=[{"rate": rate, "label": f"unlimited cache {rate:.1%}"}])
    base = alt.Chart(data).encode(y="rate:Q")
    rule = base.mark_rule(strokeDash=[5, 4], color=_QUIET)
    text = base.mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=_QUIET).encode(
        x=alt.value(0), text="label:N"
    )
    return [rule, text]


def _marks(marks: Sequence[Mark]) -> list[Any]:
    import altair as alt

    layers: list[Any] = []
    for index, mark in enumerate(marks):
        data = alt.Data(values=[{"capacity": mark.x, "label": mark.label}])
        base = alt.Chart(data).encode(x="capacity:Q")
        rule = base.mark_rule(strokeDash=[2, 3], color=_QUIET)
        text = base.mark_text(
            align="left", baseline="bottom", dx=4, color=_INK, fontSize=10
        ).encode(y=alt.value(12 + 13 * index), text="label:N")
        layers += [rule, text]
    return layers


def styled(chart: Any) -> altair.Chart:
    """Return a chart in the look that all of them share."""
    return (
        chart.configure(background="white", font="Helvetica, Arial, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=_GRID, domainColor=_QUIET, tickColor=_QUIET, labelColor=_INK,
            titleColor=_INK, titleFontWeight="normal",
        )
        .configure_title(color=_INK, subtitleColor=_QUIET, fontSize=15)
        .configure_legend(labelColor=_INK, strokeColor=_GRID, fillColor="white", padding=8)
    )  # fmt: skip
