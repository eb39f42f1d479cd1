"""The answer of `replay cost` as a picture: where the time of a step goes, over many lengths."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.answers.cost_tables import FLOOR, STEP, CostQuestion
from replay.errors import InputError
from replay.report.words import percent, wait

if TYPE_CHECKING:
    from replay.report.pictures.picture import Picture, Spec

POINTS = 60
RANGES = {"new": (16, 8192), "cached": (256, 131072)}
_SHADES = ("prefill", "queue", "idle", "run", "policy", "cold", "inflight", "off")
_TOTALS = {STEP: ("ink", (1, 0)), FLOOR: ("ink", (5, 3))}


def check_over(question: CostQuestion, over: str) -> None:
    """Raise InputError where a range has no effect on the step."""
    if over == "cached" and not question.step.new:
        raise InputError(
            "a step without --new has no cached tokens to range over",
            hint="give --new 512, or --over new",
        )


def cost_range(question: CostQuestion, over: str) -> pl.DataFrame:
    """Return `tokens`, `part` and `time_ms`: the parts of the step, the whole and its floor.

    At the number of tokens that was asked about they are those of the table. Raises what
    `check_over` does, and InputError where a table of measurements does not reach so far.
    """
    from replay.gpu.backends import Wanted, compile_cost
    from replay.gpu.breakdown import break_down

    check_over(question, over)
    low, high = RANGES[over]
    spaced = np.unique(np.rint(np.geomspace(low, high, POINTS)).astype(int)).tolist()
    own = getattr(question.step, over)
    at = sorted({*spaced, *([own] if own else [])})
    step, replica = question.step, question.replica
    longest = dataclasses.replace(step, **{over: at[-1]})
    most = max(longest.tokens, question.budget)
    wanted = Wanted(replica, most, max(step.sampled + 1, 256), question.table_file)
    cost = compile_cost(question.backend, wanted).cost
    rows: list[tuple[int, str, float]] = []
    for tokens in at:
        found = break_down(replica, cost, dataclasses.replace(step, **{over: tokens}))
        rows += [(tokens, name, part / 1e6) for name, part in found.parts_ns.items()]
        rows += [(tokens, STEP, found.total_ns / 1e6), (tokens, FLOOR, found.floor_ns / 1e6)]
    return pl.DataFrame(rows, ["tokens", "part", "time_ms"], orient="row")


def cost_picture(question: CostQuestion, over: str) -> Picture:
    """Return the parts of the step over new or cached tokens, the whole and its floor."""
    from replay.report.pictures.picture import Picture

    table = cost_range(question, over)
    step, replica = question.step, question.replica
    beside = f", {step.decodes:,} decodes of {step.context:,}" if step.decodes else ""
    fixed = f"after {step.cached:,} cached tokens"
    if over == "cached":
        fixed = f"{step.new:,} new tokens"
    gpus = replica.tensor_parallel * replica.pipeline_parallel
    uncalibrated = "" if replica.gpu.calibrated else " Uncalibrated: nobody measured this GPU."
    return Picture(
        finding=_finding(table, over),
        subtitle=f"One step of {replica.model.name} on {gpus} × {replica.gpu.name}, "
        f"{fixed}{beside}. The dashed floor is peak arithmetic or bytes: nothing is faster."
        f"{uncalibrated}",
        tables={"range": table},
        views=[_view(table, over, getattr(step, over))],
    )


def _finding(table: pl.DataFrame, over: str) -> str:
    """Return how the step grows, which part grows most, and how far above the floor it ends."""
    tokens = table["tokens"]
    low, high = int(tokens.min()), int(tokens.max())  # type: ignore[arg-type]
    first, last = (
        dict(table.filter(pl.col("tokens") == at).select("part", "time_ms").rows())
        for at in (low, high)
    )
    grows = {name: last[name] - first.get(name, 0.0) for name in last if name not in _TOTALS}
    most = max(grows, key=lambda name: grows[name])
    rise = last[STEP] - first[STEP]
    text = (
        f"From {low:,} to {high:,} {over} tokens a step goes from {wait(first[STEP])} to "
        f"{wait(last[STEP])}"
    )
    if rise > 0.02 * last[STEP]:
        text += f", and {most} is {percent(min(grows[most] / rise, 1))} of that growth"
    floor = last[FLOOR]
    return f"{text}; the floor there is {wait(floor)}." if floor else f"{text}."


def _view(table: pl.DataFrame, over: str, own: int) -> Spec:
    from replay.report.frame.axes import LEFT, WAIT_LABEL, log_axis
    from replay.report.pictures.picture import WIDTH

    parts = table.filter(~pl.col("part").is_in([*_TOTALS]))
    order = (
        parts.group_by("part", maintain_order=True).agg(pl.col("time_ms").sum())
        .sort("time_ms", descending=True)["part"].to_list()
    )  # fmt: skip
    low, high = float(table["tokens"].min()), float(table["tokens"].max())  # type: ignore[arg-type]
    x = log_axis("tokens", low, high, f"{over} tokens (log scale)")
    most = max(table["time_ms"].max() * 1.08, 1e-6)  # type: ignore[operator]
    y = {
        "field": "low", "type": "quantitative", "title": None,
        "scale": {"domain": [0, most], "nice": False},
        "axis": {**LEFT, "labelExpr": WAIT_LABEL, "tickCount": 6, "grid": True},
    }  # fmt: skip
    shades = {name: _SHADES[place % len(_SHADES)] for place, name in enumerate(order)}
    widest = max(len(name) for name in order)
    colour = {
        "field": "part", "type": "nominal",
        "scale": {"domain": order, "range": [f"var(--{shade})" for shade in shades.values()]},
        "legend": {"symbolType": "square", "columns": max(int(WIDTH / (widest * 6.2 + 34)), 1)},
    }  # fmt: skip
    place = {"calculate": f"indexof({json.dumps(order)}, datum.part)", "as": "place"}
    stack = {"stack": "time_ms", "groupby": ["tokens"], "sort": [{"field": "place"}],
             "as": ["low", "high"]}  # fmt: skip
    tooltip = [
        {"field": "part"},
        {"field": "tokens", "format": ",d"},
        {"field": "time_ms", "title": "ms", "format": ".4~r"},
    ]
    layers: list[Spec] = [
        {"transform": [place, {"filter": "datum.place >= 0"}, stack],
         "mark": {"type": "area"},
         "encoding": {"x": x, "y": y, "y2": {"field": "high"}, "color": colour,
                      "tooltip": tooltip}},
    ]  # fmt: skip
    for name, (shade, dash) in _TOTALS.items():
        layers.append(
            {"transform": [{"filter": f"datum.part == '{name}'"}],
             "mark": {"type": "line", "color": f"var(--{shade})", "strokeWidth": 1.75,
                      "strokeDash": list(dash)},
             "encoding": {"x": x, "y": {**y, "field": "time_ms"}}}
        )  # fmt: skip
    if own:
        here = [{"filter": f"datum.part == '{STEP}' && datum.tokens == {own}"}]
        layers.append(
            {"transform": here,
             "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1,
                      "color": "var(--ink)"},
             "encoding": {"x": x, "y": {**y, "field": "time_ms"}}}
        )  # fmt: skip
    return {"height": 340, "data": {"name": "range"}, "layer": layers}
