"""The answer of `replay curve` as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.engine.curves import CurveAnswer
    from replay.engine.question import Question

LINE_POINTS = 300
MOST_LINES = 10


def curve_plot(question: Question, answer: CurveAnswer) -> Any:
    """Return the chart of hit rate over capacity: all of LRU, the points of other policies.

    Several block sizes or groups get a line each, at most MOST_LINES: the largest groups.
    """
    from replay.report.charts import Mark, Series, curve_chart

    several = len(question.views) > 1
    wanted = {policy.name for policy in question.policies}
    series: list[Series] = []
    rows = answer.points.filter(answer.points["policy"] != "lru").rows(named=True)
    for view, curves in zip(question.views, answer.curves, strict=True):
        largest = sorted(curves, key=lambda one: -one.curve.input_tokens)[:MOST_LINES]
        for one in (one for one in curves if one in largest):
            label = [str(view.block_size)] * several + [one.name or ""] * (one.name is not None)
            if "lru" in wanted:
                capacity = _spaced(view, one.curve)
                rates = one.curve.token_hit_rate(capacity).tolist()
                x = [question.in_unit(view, int(blocks)) for blocks in capacity]
                series.append(Series(" ".join(["lru", *label]), x, rates))
            for policy in sorted(wanted - {"lru"}):
                points = [
                    point
                    for point in rows
                    if (point["policy"], point["group"], point["block_size"])
                    == (policy, one.name, view.block_size)
                ]
                x = [question.in_unit(view, point["capacity_blocks"]) for point in points]
                y = [point["token_hit_rate"] or 0.0 for point in points]
                series.append(Series(" ".join([policy, *label]), x, y, dots=True))
    marks, ceiling = [], None
    if not several and answer.summaries[0].group is None:
        view, summary = question.views[0], answer.summaries[0]
        ceiling = summary.block_ceiling_token_hit_rate
        knees = (("90%", summary.knee_90_blocks), ("99%", summary.knee_99_blocks))
        marks = [Mark(question.in_unit(view, blocks), f"{name} of it") for name, blocks in knees]
        block_bytes = question.block_bytes(view)
        if question.pool_bytes is not None and block_bytes is not None:
            gpu = question.prepared.scenario.gpu
            at = question.in_unit(view, question.pool_bytes // block_bytes)
            marks.append(Mark(at, f"KV of {gpu.tensor_parallel} × {gpu.name}"))
    sizes = ", ".join(f"{view.block_size:,}" for view in question.views)
    name = question.prepared.trace.meta.name
    return curve_chart(
        series,
        title="Token hit rate by cache capacity",
        subtitle=f"{name}, blocks of {sizes} tokens, requests one after another",
        x_title=f"capacity, {_unit(question)}",
        ceiling=ceiling,
        marks=marks,
    )


def _spaced(view: Any, curve: Any) -> Any:
    """Return capacities for a smooth line: from a tenth of the longest request to all reuse."""
    import numpy as np

    least = max(view.longest_request_blocks // 10, 1)
    most = max(curve.working_set_blocks, least + 1)
    return np.unique(np.rint(np.geomspace(least, most, LINE_POINTS)).astype(np.int64))


def _unit(question: Question) -> str:
    if question.unit == "GiB":
        return f"GiB of KV of {question.prepared.scenario.model.name}"
    return question.unit
