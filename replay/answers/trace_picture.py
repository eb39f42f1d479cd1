"""A trace as a picture: its load by the clock, its lengths, and how soon content comes again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from replay.report.words import amount, percent, span
from replay.trace.bins import arrivals_over_time, lengths_in_bins, reuse_in_bins
from replay.trace.continuation import ASSUMED
from replay.trace.describe import TOKEN_EXACT_BLOCK, Facts
from replay.trace.frame import Trace
from replay.trace.reuse import edge_uses
from replay.trace.tree import PrefixTree

if TYPE_CHECKING:
    from replay.report.pictures.picture import Picture, Spec

_HEIGHT = 150
_AGES_S = (0.1, 1, 10, 60, 600, 3600, 21_600, 86_400, 604_800)
_PARTS = {"in over 1% of requests": "session", "rarer": "cross"}
_EVEN = 1.5  # times the mean: below it no window stands out


def trace_picture(trace: Trace, tree: PrefixTree | None, facts: Mapping[str, Facts]) -> Picture:
    """Return three views: arrivals, lengths and reuse; the last one where content is known."""
    from replay.report.pictures.picture import Picture

    tables = {"arrivals": arrivals_over_time(trace), "lengths": lengths_in_bins(trace)}
    views = [_arrivals(tables["arrivals"]), _lengths(tables["lengths"])]
    if tree is not None:
        uses = edge_uses(tree, trace.meta.block_size or TOKEN_EXACT_BLOCK)
        reused = reuse_in_bins(uses, trace.column("arrival_ns"))
        if len(reused):
            tables["reuse"] = reused
            views.append(_reuse(reused))
    return Picture(
        finding=_finding(facts),
        subtitle=_subtitle(facts, tables["arrivals"], known=tree is not None),
        tables=tables,
        views=views,
    )


def _finding(facts: Mapping[str, Facts]) -> str:
    """Return the load, the middle lengths, and what comes again how soon."""
    load, lengths = facts["arrivals"], facts["lengths"]
    text = f"{load['requests']:,} requests"
    if load["requests_per_s"] is not None:
        text += (
            f" in {span(float(load['duration_s'] or 0))}, {_rate(float(load['requests_per_s']))}"
        )
    text += f", prompts of {amount(float(lengths['input_tokens_p50'] or 0))} tokens in the median"
    ceiling = facts["ceilings"]["content_ceiling_token_hit_rate"]
    soon = facts["reuse"]["reuse_time_s_p50"]
    if ceiling is None:
        return f"{text}; what repeats is unknown."
    if not ceiling or soon is None:
        return f"{text}; nothing repeats."
    text += f"; {percent(float(ceiling))} of the prompt tokens repeat"
    return f"{text}, half within {span(float(soon))}."


def _rate(per_s: float) -> str:
    return f"{per_s:.3g} a second" if per_s >= 0.5 else f"{per_s * 60:.3g} a minute"


def _subtitle(facts: Mapping[str, Facts], arrivals: pl.DataFrame, *, known: bool) -> str:
    name = facts["trace"]["name"]
    text = f"{name}, in bins; every request is in one"
    text += ", every reused block too." if known else ". The trace has lengths only."
    if facts["trace"]["content_identity"] == ASSUMED:
        text += " Its content is assumed: each prompt starts with the turn before it."
    most, mean = arrivals["requests_per_s"].max(), facts["arrivals"]["requests_per_s"]
    if mean and isinstance(most, float) and most > _EVEN * float(mean):
        at = arrivals.row(arrivals["requests_per_s"].arg_max(), named=True)["from_s"]
        text += f" The busiest window, from {span(at) if at else 'the start'} on, has "
        text += f"{most / float(mean):.2g} times the mean load."
    return text


def _arrivals(table: pl.DataFrame) -> Spec:
    from replay.report.frame.axes import LEFT, clock_axis

    until = float(table["to_s"][-1])
    y = {
        "field": "requests_per_s", "type": "quantitative", "title": None,
        "axis": {**LEFT, "tickCount": 4, "format": "~r", "grid": True},
    }  # fmt: skip
    return {
        "title": "Requests a second, by the clock of the trace",
        "height": _HEIGHT,
        "data": {"name": "arrivals"},
        "layer": [
            {
                "mark": {"type": "rect", "color": "var(--run)", "stroke": "var(--card)",
                         "strokeWidth": 0.5},
                "encoding": {
                    "x": clock_axis("from_s", until), "x2": {"field": "to_s"},
                    "y": y, "y2": {"datum": 0},
                    "tooltip": [
                        {"field": "from_s", "title": "from, s", "format": ",d"},
                        {"field": "requests", "format": ",d"},
                        {"field": "requests_per_s", "title": "a second", "format": ".3~r"},
                    ],
                },
            }
        ],
    }  # fmt: skip


def _lengths(table: pl.DataFrame) -> Spec:
    from replay.report.frame.axes import LEFT, bins

    low, high = table["from_tokens"].min(), table["to_tokens"].max()
    colour = {
        "field": "of", "type": "nominal",
        "scale": {"domain": ["prompts", "responses"], "range": ["var(--prefill)", "var(--queue)"]},
        "legend": {"symbolType": "stroke"},
    }  # fmt: skip
    dash = {
        "field": "of", "type": "nominal", "legend": {"symbolType": "stroke"},
        "scale": {"domain": ["prompts", "responses"], "range": [[1, 0], [6, 3]]},
    }  # fmt: skip
    middle = {"calculate": "sqrt(datum.from_tokens * datum.to_tokens)", "as": "middle"}
    y = {"field": "requests", "type": "quantitative", "title": None,
         "axis": {**LEFT, "tickCount": 4, "format": "~s", "grid": True}}  # fmt: skip
    return {
        "title": "Requests by length, two bins each time it doubles",
        "height": _HEIGHT,
        "data": {"name": "lengths"},
        "layer": [
            {
                "transform": [middle],
                "mark": {"type": "line", "strokeWidth": 2.25,
                         "point": {"filled": True, "size": 28}},
                "encoding": {
                    "x": bins("middle", low, high, "tokens (log scale)"), "y": y,  # type: ignore[arg-type]
                    "color": colour, "strokeDash": dash,
                    "tooltip": [
                        {"field": "of"},
                        {"field": "from_tokens", "title": "from", "format": ",.0f"},
                        {"field": "to_tokens", "title": "to", "format": ",.0f"},
                        {"field": "requests", "format": ",d"},
                    ],
                },
            }
        ],
    }  # fmt: skip


def _reuse(table: pl.DataFrame) -> Spec:
    from replay.report.frame.axes import CLOCK_LABEL, LEFT, bins

    low, high = table["from_s"].min(), table["to_s"].max()
    x = bins("from_s", low, high, "used again after (log scale)", CLOCK_LABEL)  # type: ignore[arg-type]
    x["axis"]["values"] = [at for at in _AGES_S if low <= at <= high]  # type: ignore[operator]
    names = [name for name in _PARTS if name in set(table["of"])]
    colour = {
        "field": "of", "type": "nominal",
        "scale": {"domain": names, "range": [f"var(--{_PARTS[name]})" for name in names]},
        "legend": {"symbolType": "square"},
    }  # fmt: skip
    stacked = [
        {"calculate": f"datum.of == '{names[0]}' ? 0 : 1", "as": "place"},
        {"stack": "share", "groupby": ["from_s"], "sort": [{"field": "place"}],
         "as": ["low", "high"]},
        {"calculate": "datum.to_s * 0.96", "as": "edge_s"},
    ]  # fmt: skip
    y = {"field": "low", "type": "quantitative", "title": None,
         "axis": {**LEFT, "tickCount": 4, "format": ".0%", "grid": True}}  # fmt: skip
    return {
        "title": "Reused blocks by how long ago they were last used, share of all",
        "height": _HEIGHT,
        "data": {"name": "reuse"},
        "layer": [
            {
                "transform": stacked,
                "mark": {"type": "rect"},
                "encoding": {
                    "x": x, "x2": {"field": "edge_s"}, "y": y, "y2": {"field": "high"},
                    "color": colour,
                    "tooltip": [
                        {"field": "of"},
                        {"field": "from_s", "title": "after, s", "format": ",.3~g"},
                        {"field": "blocks", "format": ",d"},
                        {"field": "share", "format": ".1%"},
                    ],
                },
            }
        ],
    }  # fmt: skip
