"""Charts of small answers: a bar a name, and columns over time, whole or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from replay.report.charts import styled

if TYPE_CHECKING:
    import altair

_WIDTH, _HEIGHT, _BAR = 640, 300, 22
_COLOURS = (
    "#1f5fa8", "#d1603d", "#3a8f5c", "#8a5aa8", "#b8902a", "#3b9aa8", "#a83f6d", "#5f6f7f",
)  # fmt: skip
PERCENT = "%"


def bars_chart(
    rows: Sequence[tuple[str, float]], *, title: str, subtitle: str, x_title: str
) -> altair.Chart:
    """Return a bar for each name, in the order given, with its share in percent beside it."""
    import altair as alt

    data = [{"name": name, "value": value} for name, value in rows]
    base = alt.Chart(alt.Data(values=data)).encode(
        x=alt.X("value:Q", title=x_title, axis=alt.Axis(format=PERCENT)),
        y=alt.Y("name:N", title=None, sort=[name for name, _ in rows]),
    )
    words = base.mark_text(align="left", dx=4).encode(text=alt.Text("value:Q", format=".1%"))
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=14)
    layers = alt.layer(base.mark_bar(color=_COLOURS[0]), words)
    return styled(layers.properties(width=_WIDTH, height=alt.Step(_BAR), title=heading))


def columns_chart(
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    title: str,
    subtitle: str,
    x_title: str,
    y_title: str,
    shares: bool,
) -> altair.Chart:
    """Return a column for each name, its parts stacked, the first lowest; `shares` in percent."""
    import altair as alt

    data = [
        {"name": name, "part": part, "value": value, "order": order}
        for order, (part, values) in enumerate(parts.items())
        for name, value in zip(names, values, strict=True)
    ]
    axis = alt.Axis(format=PERCENT) if shares else alt.Axis()
    colour: Any = alt.value(_COLOURS[0])
    if len(parts) > 1:
        scale = alt.Scale(domain=list(parts), range=list(_COLOURS[: len(parts)]))
        colour = alt.Color("part:N", title=None, scale=scale, sort=list(parts))
    chart = (
        alt.Chart(alt.Data(values=data))
        .mark_bar()
        .encode(
            x=alt.X("name:O", title=x_title, sort=list(names), axis=alt.Axis(labelOverlap=True)),
            y=alt.Y("value:Q", title=y_title, axis=axis, stack="zero"),
            color=colour,
            order="order:Q",
        )
    )
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=14)
    return styled(chart.properties(width=_WIDTH, height=_HEIGHT, title=heading))
