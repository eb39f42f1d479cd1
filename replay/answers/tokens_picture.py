"""A run as a picture: where its prompt tokens went over time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from replay.report.words import percent

if TYPE_CHECKING:
    from replay.report.pictures.picture import Picture, Spec

# The columns of the report `hit_rate` in the order of the stack: what each is called, its colour.
_PARTS = {
    "session_hit_share": ("reused: same session", "session"),
    "cross_request_hit_share": ("reused: other requests", "cross"),
    "capacity_miss_share": ("evicted", "avoid"),
    "in_flight_share": ("being computed", "inflight"),
    "granularity_share": ("rounding", "round"),
    "policy_miss_share": ("not kept for it", "policy"),
    "disabled_share": ("not looked up", "off"),
    "cold_share": ("never seen", "cold"),
}
_SAME = 0.03  # shares of the two halves nearer than this are called the same


def tokens_picture(hit_rate: pl.DataFrame, name: str) -> Picture:
    """Return the rows of the report `hit_rate` that are windows of time, their parts stacked."""
    from replay.report.pictures.picture import Picture

    windows = hit_rate.filter(pl.col("slice") == "window")
    present = [one for one in _PARTS if one in windows.columns and windows[one].sum()]
    return Picture(
        finding=_finding(windows),
        subtitle=f"Where the prompt tokens of {name} went, by time of arrival.",
        tables={"windows": windows},
        views=[_view(windows, present)],
    )


def _finding(windows: pl.DataFrame) -> str:
    """Return whether reuse holds or changes from the first half of the windows to the second."""
    known = windows.drop_nulls("hit_tokens")
    if not len(known):
        return "What was reused is unknown."
    whole = _reused(known)
    if len(known) == 1:
        return f"{percent(whole)} of the prompt tokens were reused."
    half = len(known) // 2
    first, second = _reused(known[:half]), _reused(known[half:])
    if abs(first - second) < _SAME:
        return f"Reuse holds at {percent(whole)}."
    verb = "rises" if second > first else "falls"
    return (
        f"Reuse {verb} from {percent(first)} in the first half of the windows to {percent(second)} "
        "in the second."
    )


def _reused(windows: pl.DataFrame) -> float:
    """Return the share of the prompt tokens of some windows that was reused."""
    return int(windows["hit_tokens"].sum()) / max(int(windows["input_tokens"].sum()), 1)


def _view(windows: pl.DataFrame, present: list[str]) -> Spec:
    from replay.report.frame.axes import LEFT

    names = {column: _PARTS[column][0] for column in present}
    order = [*names.values()]
    said = " ".join(f"datum.key == '{column}' ? '{text}' :" for column, text in names.items())
    parts = [
        {"fold": present, "as": ["key", "share"]},
        {"calculate": f"{said} ''", "as": "part"},
        {"calculate": f"indexof({json.dumps(order)}, datum.part)", "as": "place"},
    ]
    x = {
        "field": "bucket", "type": "ordinal", "sort": windows["bucket"].to_list(), "title": None,
        "axis": {"labelOverlap": True, "labelAngle": 0,
                 "labelExpr": "split(datum.label, '-')[0]", "ticks": False},
        "scale": {"paddingInner": 0.06, "paddingOuter": 0},
    }  # fmt: skip
    y = {
        "field": "share", "type": "quantitative", "stack": "zero", "title": None,
        "scale": {"domain": [0, 1]}, "axis": {**LEFT, "format": ".0%", "tickCount": 5},
    }  # fmt: skip
    colour = {
        "field": "part", "type": "nominal",
        "scale": {"domain": order, "range": [f"var(--{_PARTS[one][1]})" for one in present]},
        "legend": {"symbolType": "square", "columns": 4},
    }  # fmt: skip
    tooltip = [
        {"field": "bucket", "title": "arrived"},
        {"field": "part"},
        {"field": "share", "format": ".1%"},
    ]
    return {
        "height": 260,
        "data": {"name": "windows"},
        "layer": [
            {
                "transform": parts,
                "mark": {"type": "bar"},
                "encoding": {"x": x, "y": y, "color": colour, "order": {"field": "place"},
                             "tooltip": tooltip},
            }
        ],
    }  # fmt: skip
