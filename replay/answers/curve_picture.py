"""The answer of `replay curve` as a picture: a line for each policy, block size or group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from replay.printable import drawable
from replay.report.words import listed, percent, sentence, times

if TYPE_CHECKING:
    import polars as pl

    from replay.analysis.curves import CurveAnswer, CurveSummary
    from replay.analysis.question import Question
    from replay.report.pictures.picture import Picture, Spec

NAMED = 8  # lines with a name and a colour; what else there is stays faint
FAINT = "others"
_MARKED = {"lru": ("with", (1, 0)), "min": ("avoid", (6, 3)), "min_bypass": ("avoid", (2, 3))}
_REST = (
    ("queue", (1, 0)), ("prefill", (1, 0)), ("unavoid", (1, 0)), ("inflight", (1, 0)),
    ("policy", (8, 3)), ("cross", (8, 3)), ("round", (8, 3)), ("queue", (3, 2)),
    ("prefill", (3, 2)), ("unavoid", (3, 2)),
)  # fmt: skip
_KINDS = (("with", ()), *_REST[:4], ("policy", ()), ("cross", ()), ("round", ()))
_DASHES = ((1, 0), (6, 3), (2, 2), (10, 3))
_HEADROOM = 1.12
_AWAY_PX, _MARK_PX = 5, 15
_LETTER_PX, _KEY_PX = 6.2, 34  # of a name in the legend, and of what stands beside it
_SAME = 0.005  # shares nearer than this are called the same


def curve_picture(question: Question, answer: CurveAnswer, by: str | None = None) -> Picture:
    """Return hit rate over capacity: of all policies, block sizes or groups that were asked for.

    The question is one that was asked with `drawn`, or the lines are straight between few points.
    `by` is what the groups are of. Several block sizes are compared in tokens where nobody asked
    for GiB: a block is not the same twice.
    """
    from replay.report.pictures.picture import Picture

    if len(question.views) > 1 and question.unit == "blocks":
        question = replace(question, unit="tokens")
    points = _labelled(question, answer)
    lines = _lines(points)
    marks = _marks(question, answer)
    return Picture(
        finding=_finding(question, answer, by),
        subtitle=_subtitle(question, answer, lines),
        tables={"points": points, "marks": marks},
        views=[_view(question, points, marks, lines)],
    )


# --- what is drawn ----------------------------------------------------------------------------


def _labelled(question: Question, answer: CurveAnswer) -> pl.DataFrame:
    """Return the points of the table that are drawn, with their capacity and the name of a line."""
    import polars as pl

    from replay.analysis.group_curves import largest

    shown = {one.name for curves in answer.curves for one in largest(curves)}
    points = answer.points
    if None not in shown:
        points = points.filter(pl.col("group").is_in([*shown]))
    parts = [pl.col("policy")]
    if answer.curves[0][0].name is not None:
        parts = [pl.col("group")] if len(question.policies) == 1 else [*parts, pl.col("group")]
    if len(question.views) > 1:
        parts.append(pl.format("blocks of {}", pl.col("block_size")))
    if len(question.views) > 1 and len(parts) == 2 and len(question.policies) == 1:
        parts = parts[1:]
    sizes = {view.block_size: question.in_unit(view, 1) for view in question.views}
    names = [one.name for one in answer.curves[0]]
    unit = pl.col("block_size").replace_strict(sizes, return_dtype=pl.Float64)
    return points.with_columns(
        capacity=pl.col("capacity_blocks") * unit,
        line=pl.concat_str(parts, separator=" "),
        group_place=pl.col("group").replace_strict(
            {name: place for place, name in enumerate(names)}, default=0, return_dtype=pl.Int64
        ),
    ).sort("capacity", maintain_order=True)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line's name, colour and dashes; those that stay faint share one."""

    name: str
    colour: str
    dash: tuple[int, int]


def _lines(points: pl.DataFrame) -> list[_Line]:
    """Return the lines to name: LRU, the optimum, and the others that hit most on average.

    Where a line is a policy it has its colour. Where it is one of several groups or block sizes,
    they have the colours, and policies the dashes.
    """
    import polars as pl

    means = (
        points.sort("group_place")
        .group_by("line", maintain_order=True)
        .agg(pl.col("token_hit_rate").mean(), pl.col("policy", "group", "block_size").first())
    )
    ranked = means.sort("token_hit_rate", descending=True, nulls_last=True, maintain_order=True)
    names, of_groups = ranked["line"].to_list(), means["group"].null_count() == 0
    if not of_groups and means["block_size"].n_unique() == 1:
        marked = [name for name in _MARKED if name in names]
        others = [name for name in names if name not in marked][: max(NAMED - len(marked), 1)]
        free = iter(_REST)
        styles = {name: _MARKED[name] for name in marked} | {name: next(free) for name in others}
        return [_Line(name, *styles[name]) for name in names if name in styles]
    kinds = means["group" if of_groups else "block_size"].unique(maintain_order=True).to_list()
    shades = {kind: shade for kind, (shade, _) in zip(kinds, _KINDS, strict=False)}
    policies = means["policy"].unique(maintain_order=True).to_list()
    dashes = dict(zip(_by_mark(policies), _DASHES, strict=False))
    return [
        _Line(row["line"], shades[kind], dashes[row["policy"]])
        for row in means.iter_rows(named=True)
        if (kind := row["group" if of_groups else "block_size"]) in shades
        and row["policy"] in dashes
    ]


def _by_mark(policies: Sequence[str]) -> list[str]:
    """Return policies with LRU and the optimum first: those have the dashes they always have."""
    first = [name for name in ("lru", "min") if name in policies]
    return [*first, *(name for name in policies if name not in first)]


def _marks(question: Question, answer: CurveAnswer) -> pl.DataFrame:
    """Return what is marked: knees, the GPU's own memory, the ceiling; one curve alone has any."""
    import polars as pl

    rows: list[tuple[str, float | None, float | None]] = []
    if len(question.views) == 1 and answer.summaries[0].group is None:
        view, one = question.views[0], answer.summaries[0]
        if one.block_ceiling_token_hit_rate:
            rate = one.block_ceiling_token_hit_rate
            rows.append((f"all that can be reused, {percent(rate)}", None, rate))
            knees = (("90%", one.knee_90_blocks), ("99%", one.knee_99_blocks))
            named = "LRU has " if len(question.policies) > 1 else ""
            for share, blocks in knees:
                text = f"{named}{share} of it"
                rows.append((text, question.in_unit(view, blocks), None))
        own = _own(question)
        if own is not None:
            gpu = question.prepared.scenario.gpu
            name = f"KV memory of {gpu.tensor_parallel} × {gpu.name}"
            rows.append((name, question.in_unit(view, own), None))
    schema = {"mark": pl.String, "capacity": pl.Float64, "share": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row")


def _own(question: Question) -> int | None:
    """Return the blocks that the GPU's memory holds, None where none is named."""
    block_bytes = question.block_bytes(question.views[0])
    if question.pool_bytes is None or block_bytes is None:
        return None
    return max(question.pool_bytes // block_bytes, 1)


def _view(
    question: Question, points: pl.DataFrame, marks: pl.DataFrame, lines: Sequence[_Line]
) -> Spec:
    from replay.report.frame.axes import log_axis, share_axis
    from replay.report.pictures.picture import WIDTH

    low, high = points["capacity"][0], points["capacity"][-1]  # in order
    rates = [*points["token_hit_rate"].drop_nulls(), *marks["share"].drop_nulls(), 0.01]
    x = log_axis("capacity", low, high, _x_title(question))
    y = share_axis("token_hit_rate", max(rates) * _HEADROOM, None)
    widest = max((len(one.name) for one in lines), default=1)
    columns = max(int(WIDTH / (widest * _LETTER_PX + _KEY_PX)), 1)
    legend = {"symbolType": "stroke", "columns": columns} if len(lines) > 1 else None
    colour = {
        "field": "line", "type": "nominal", "sort": None,
        "scale": {"domain": [one.name for one in lines],
                  "range": [f"var(--{one.colour})" for one in lines]},
        "legend": legend,
    }  # fmt: skip
    dash = {
        "field": "line", "type": "nominal",
        "scale": {"domain": [one.name for one in lines],
                  "range": [list(one.dash) for one in lines]},
        "legend": legend,
    }  # fmt: skip
    named = f"indexof({json.dumps(drawable([one.name for one in lines]))}, datum.line) >= 0"
    place = {"x": x, "y": y}
    tooltip = [
        {"field": "line", "title": "line"},
        {"field": "capacity", "title": question.unit, "format": ",.4~r"},
        {"field": "token_hit_rate", "title": "hit rate", "format": ".1%"},
    ]
    faint = {"type": "line", "color": "var(--axis)", "strokeWidth": 1}
    bold = {"type": "line", "strokeWidth": 2.25}
    layers: list[Spec] = [
        {"transform": [{"filter": f"!({named})"}], "mark": faint,
         "encoding": {**place, "detail": {"field": "line"}, "tooltip": tooltip}},
        {"transform": [{"filter": named}], "mark": bold,
         "encoding": {**place, "color": colour, "strokeDash": dash, "tooltip": tooltip}},
    ]  # fmt: skip
    layers += _mark_layers(marks, high)
    return {"height": 340, "data": {"name": "points"}, "layer": layers}


def _mark_layers(marks: pl.DataFrame, high: float) -> Iterator[Spec]:
    """Yield the ceiling as a line across, its name above it, and the others as lines upwards.

    Their names stand at the foot, below all curves, on the side on which there is more room.
    """
    share = {"field": "share", "type": "quantitative"}
    across = [{"filter": "isValid(datum.share)"}]
    rule = {"type": "rule", "strokeDash": [2, 3], "color": "var(--muted)"}
    words = {"type": "text", "color": "var(--muted)", "baseline": "bottom"}
    yield {"data": {"name": "marks"}, "transform": across, "mark": rule, "encoding": {"y": share}}
    yield {"data": {"name": "marks"}, "transform": across,
           "mark": {**words, "align": "left", "x": 4, "dy": -4},
           "encoding": {"y": share, "text": {"field": "mark"}}}  # fmt: skip
    upright = marks.filter(marks["capacity"].is_not_null()).sort("capacity")
    for place, row in enumerate(upright.iter_rows(named=True)):
        name = json.dumps(drawable(row["mark"]))
        one = [{"filter": f"datum.mark == {name} && isValid(datum.capacity)"}]
        x = {"field": "capacity", "type": "quantitative"}
        side = {"align": "right", "dx": -_AWAY_PX}
        if row["capacity"] < high**0.5 * upright["capacity"][0] ** 0.5 and place == 0:
            side = {"align": "left", "dx": _AWAY_PX}
        yield {"data": {"name": "marks"}, "transform": one, "mark": rule, "encoding": {"x": x}}
        text = {**words, **side, "y": {"expr": f"height - {6 + _MARK_PX * place}"}}
        for halo in ({"stroke": "var(--card)", "strokeWidth": 5}, {}):  # over the lines it crosses
            yield {"data": {"name": "marks"}, "transform": one, "mark": {**text, **halo},
                   "encoding": {"x": x, "text": {"field": "mark"}}}  # fmt: skip


def _x_title(question: Question) -> str:
    if question.unit == "GiB":
        return f"cache, GiB of KV of {question.prepared.scenario.model.name} (log scale)"
    return f"cache, {question.unit} (log scale)"


# --- what is said -----------------------------------------------------------------------------


def _finding(question: Question, answer: CurveAnswer, by: str | None) -> str:
    if answer.summaries[0].group is not None:
        return _of_groups(answer.summaries, by or "group")
    if len(question.views) > 1:
        return _of_sizes(answer.summaries)
    one = answer.summaries[0]
    ceiling = one.block_ceiling_token_hit_rate
    if not ceiling:
        return "Nothing repeats in whole blocks: no cache of any size reuses anything."
    knee, own = one.knee_90_blocks, _own(question)
    takes = f"{_sized(question, knee)}"
    if own is None:
        return (
            f"Up to {percent(ceiling)} of the prompt tokens can be reused; LRU has 90% of that "
            f"with {takes}."
        )
    rate = float(answer.curves[0][0].curve.token_hit_rate(np.array([own]))[0])
    has = f"The {_sized(question, own)} of the GPU reuse {percent(rate)} of the prompt tokens"
    if ceiling - rate < _SAME:
        return f"{has}, all that can be reused: more memory would reuse no more."
    if own >= knee:
        return f"{has}, nearly all that can be reused ({percent(ceiling)})."
    return (
        f"{has}; 90% of what can be reused ({percent(ceiling)}) takes LRU {takes}, "
        f"{times(knee / own)} as much."
    )


def _of_groups(summaries: Sequence[CurveSummary], by: str) -> str:
    from replay.analysis.group_curves import DRAWN_GROUPS

    large = sorted(summaries, key=lambda one: -one.input_tokens)[:DRAWN_GROUPS]
    known = [one for one in large if one.block_ceiling_token_hit_rate is not None]
    ranked = sorted(known, key=lambda one: one.block_ceiling_token_hit_rate or 0.0)
    if not ranked:
        return "Nothing is known of these groups."
    low, high = ranked[0], ranked[-1]
    least, most = (one.block_ceiling_token_hit_rate or 0.0 for one in (low, high))
    if most - least < _SAME:
        return f"The groups are alike: each can reuse {percent(most)} of its prompt tokens."
    name = "the window from" if by == "window" else by
    return sentence(
        f"{name} {high.group} can reuse {percent(most)} of its prompt tokens, "
        f"{name} {low.group} {percent(least)}."
    )


def _of_sizes(summaries: Sequence[CurveSummary]) -> str:
    said = [
        f"{percent(one.block_ceiling_token_hit_rate or 0)} in blocks of {one.block_size:,}"
        for one in summaries
    ]
    return f"Of the prompt tokens {listed(said)} can be reused."


def _sized(question: Question, blocks: int) -> str:
    from replay.report.words import GLUE

    amount = question.in_unit(question.views[0], blocks)
    text = f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"
    return f"{text}{GLUE}{question.unit}"


def _subtitle(question: Question, answer: CurveAnswer, lines: Sequence[_Line]) -> str:
    """Return what is drawn, and of how much: groups and policies that are left out are counted."""
    name = question.prepared.trace.meta.name
    sizes = listed([f"{view.block_size:,}" for view in question.views])
    parts = [f"Token hit rate of {name}, blocks of {sizes} tokens, requests one after another."]
    first = answer.curves[0]
    if first[0].name is not None:
        parts.append(_said_of_groups(first))
    faint = len({*_line_names(answer, question)}) - len(lines)
    if faint > 0:
        parts.append(f"The {len(lines)} that hit most are named, {faint} more are faint.")
    if any(estimate is not None for estimate in question.estimates):
        parts.append("Estimated from a sample.")
    best = _best_policy(question, answer)
    if best:
        parts.append(best)
    return " ".join(parts)


def _line_names(answer: CurveAnswer, question: Question) -> Iterator[Any]:
    groups = min(len(answer.curves[0]), 8)
    for policy in question.policies:
        for view in question.views:
            for group in range(groups):
                yield policy.name, view.block_size, group


def _said_of_groups(curves: Sequence[Any]) -> str:
    from replay.analysis.group_curves import largest

    drawn = largest(curves)
    whole = sum(one.curve.input_tokens for one in curves)
    share = percent(sum(one.curve.input_tokens for one in drawn) / whole) if whole else ""
    which = (
        f"All {len(curves)} groups" if len(drawn) == len(curves)
        else f"The {len(drawn)} largest of {len(curves):,} groups, {share} of the prompt tokens"
    )  # fmt: skip
    return f"{which}; all share one cache, and a line is what its group has of it."


def _best_policy(question: Question, answer: CurveAnswer) -> str:
    """Return the policy that does best where the GPU's memory ends, beside LRU and the optimum."""
    own = _own(question)
    names = [one.name for one in question.policies]
    if own is None or len(names) < 2 or len(question.views) > 1:
        return ""
    if answer.summaries[0].group is not None:
        return ""
    here = answer.points.filter(answer.points["capacity_blocks"] == own)
    rates = dict(zip(here["policy"], here["token_hit_rate"], strict=True))
    real = {name: rate for name, rate in rates.items() if name not in ("min", "min_bypass")}
    if not real:
        return ""
    best = max(real, key=lambda name: real[name])
    said = [f"{name} {percent(rates[name])}" for name in dict.fromkeys(("lru", best, "min"))
            if name in rates]  # fmt: skip
    return f"In the GPU's memory: {listed(said)}."
