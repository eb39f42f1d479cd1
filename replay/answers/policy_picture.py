"""The answer of `replay policies` as a picture: what each policy reuses, between LRU and min."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from replay.report.words import percent

if TYPE_CHECKING:
    import polars as pl

    from replay.analysis.policy_table import PolicyLine
    from replay.analysis.question import Question
    from replay.report.pictures.picture import Picture, Spec

MOST_PANELS = 4
_ROW_PX = 20
_OPTIMA = ("min", "min_bypass")
_HEADROOM = 1.1
_SAME = 0.0005


def policy_picture(question: Question, lines: Sequence[PolicyLine]) -> Picture:
    """Return a panel a capacity: a dot a policy, a line from what LRU reuses to it."""
    import polars as pl

    from replay.answers.policy_tables import policy_table
    from replay.report.frames import table_frame
    from replay.report.pictures.picture import Picture

    frame = table_frame(policy_table(list(lines)))
    keys = ["block_size", "capacity_blocks"]
    lru = frame.filter(pl.col("policy") == "lru")
    base = lru.select(*keys, lru_token_hit_rate="token_hit_rate")
    frame = frame.join(base, on=keys, how="left", maintain_order="left")
    panels = frame.select(keys).unique(maintain_order=True).rows()
    names = {view.block_size: view for view in question.views}
    titles = [_title(question, names[size], blocks) for size, blocks in panels]
    ranked = frame.group_by("policy", maintain_order=True).agg(pl.col("token_hit_rate").mean())
    order = ranked.sort("token_hit_rate", descending=True, nulls_last=True, maintain_order=True)
    views = [
        _view(panel, title, order["policy"].to_list(), frame)
        for panel, title in list(zip(panels, titles, strict=True))[:MOST_PANELS]
    ]
    left = len(panels) - len(views)
    more = f" {left} more capacities are in the table alone." if left else ""
    ruler = " The upright line is LRU." if len(base) else ""
    return Picture(
        finding=_finding(frame, panels, titles),
        subtitle=f"Token hit rate of {question.prepared.trace.meta.name}, requests one after "
        f"another; min knows the future.{ruler}{more}",
        tables={"policies": frame},
        views=views,
    )


def _title(question: Question, view: object, blocks: int) -> str:
    amount = question.in_unit(view, blocks)  # type: ignore[arg-type]
    text = f"{amount:,.0f}" if amount >= 100 else f"{amount:.4g}"
    size = f", blocks of {view.block_size:,}" if len(question.views) > 1 else ""  # type: ignore[attr-defined]
    return f"{text} {question.unit}{size}"


def _view(panel: tuple[int, int], title: str, order: list[str], frame: pl.DataFrame) -> Spec:
    size, blocks = panel
    here = [{"filter": f"datum.block_size == {size} && datum.capacity_blocks == {blocks}"}]
    top = max([*frame["token_hit_rate"].drop_nulls(), 0.01]) * _HEADROOM
    x = {
        "field": "token_hit_rate", "type": "quantitative", "title": None,
        "scale": {"domain": [0, min(top, 1)], "nice": False},
        "axis": {"format": ".0%", "tickCount": 6, "grid": True},
    }  # fmt: skip
    y = {
        "field": "policy", "type": "nominal", "sort": order, "title": None,
        "axis": {"grid": False, "labelColor": "var(--ink)"},
    }  # fmt: skip
    base = "datum.lru_token_hit_rate"
    better = f"!isValid({base}) || datum.token_hit_rate >= {base}"
    optimum = f"indexof({json.dumps(_OPTIMA)}, datum.policy) >= 0"
    shade = {
        "condition": [{"test": optimum, "value": "var(--without)"},
                      {"test": better, "value": "var(--with)"}],
        "value": "var(--avoid)",
    }  # fmt: skip
    shape = {
        "condition": [{"test": optimum, "value": "diamond"}, {"test": better, "value": "circle"}],
        "value": "triangle-left",
    }  # fmt: skip
    start = {"field": "lru_token_hit_rate", "type": "quantitative"}
    tooltip = [
        {"field": "policy"},
        {"field": "token_hit_rate", "title": "hit rate", "format": ".1%"},
        {"field": "gap_closed_share", "title": "gap closed", "format": ".0%"},
        {"field": "evicted_blocks", "title": "evicted blocks", "format": ",d"},
    ]
    number = {"field": "token_hit_rate", "type": "quantitative", "format": ".1%"}
    ruler = [*here, {"filter": "datum.policy == 'lru'"}]
    beside = {"type": "text", "align": "left", "dx": 8}
    before = {"type": "text", "align": "right", "dx": -8}
    layers: list[Spec] = [
        {"transform": ruler, "mark": {"type": "rule", "color": "var(--with)", "strokeWidth": 1},
         "encoding": {"x": start}},
        {"transform": here, "mark": {"type": "rule", "strokeWidth": 2},
         "encoding": {"x": start, "x2": {"field": "token_hit_rate"}, "y": y, "color": shade}},
        {"transform": here, "mark": {"type": "point", "filled": True, "size": 64, "opacity": 1},
         "encoding": {"x": x, "y": y, "color": shade, "shape": shape, "tooltip": tooltip}},
        {"transform": [*here, {"filter": better}], "mark": beside,
         "encoding": {"x": x, "y": y, "text": number}},
        {"transform": [*here, {"filter": f"!({better})"}], "mark": before,
         "encoding": {"x": x, "y": y, "text": number}},
    ]  # fmt: skip
    height = _ROW_PX * len(order)
    return {"title": title, "height": height, "data": {"name": "policies"}, "layer": layers}


def _finding(frame: pl.DataFrame, panels: list[tuple[int, int]], titles: list[str]) -> str:
    """Return the best policy that needs no future, at the first capacity and at the last."""
    said = [_best(frame, *panel) for panel in panels]
    known = [(one, title) for one, title in zip(said, titles, strict=True) if one is not None]
    if not known:
        return "What would be reused is unknown."
    (first, rate, base, best), where = known[0]
    start = f"In {where} {first} reuses {percent(rate)} of the prompt tokens"
    if base is not None and first != "lru":
        start += f", LRU {percent(base)}" if rate - base > _SAME else ", as LRU does"
    if best is not None:
        start += f", a perfect policy {percent(best)}"
    (last, other, _, _), end = known[-1]
    return f"{start}." if len(known) == 1 else f"{start}; in {end} {last} {percent(other)}."


def _best(
    frame: pl.DataFrame, size: int, blocks: int
) -> tuple[str, float, float | None, float | None] | None:
    """Return the best name and its rate, LRU's, the optimum's; None where nothing is known."""
    here = frame.filter((frame["block_size"] == size) & (frame["capacity_blocks"] == blocks))
    rates = dict(zip(here["policy"], here["token_hit_rate"], strict=True))
    real = {name: rate for name, rate in rates.items() if name not in _OPTIMA and rate is not None}
    if not real:
        return None
    best = max(real, key=lambda name: real[name])
    return best, real[best], rates.get("lru"), rates.get("min")
