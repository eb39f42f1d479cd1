"""The answer of `replay curve` as tables: wide ones to read, a long one for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from replay.analysis.curves import CurveAnswer, CurveSummary
    from replay.analysis.question import Question
    from replay.report.frames import FrameTable
    from replay.report.tables import Table

Point = Mapping[str, Any]  # a row of `curve_points.POINTS`
SHOWN_GROUPS = 20


def long_table(answer: CurveAnswer) -> FrameTable:
    """Return a row for each group, block size, policy and capacity."""
    from replay.report.frames import FrameTable

    return FrameTable(answer.points)


def curve_tables(question: Question, answer: CurveAnswer) -> list[Table]:
    """Return what could be hit, and hit rates by capacity: a table for each block size."""
    tables = []
    for view, shown in zip(question.views, question.capacities, strict=True):
        points = _of(answer.points, view.block_size, shown)
        summaries = [one for one in answer.summaries if one.block_size == view.block_size]
        title = f"blocks of {view.block_size:,} tokens"
        if summaries[0].group is None:
            tables += [
                _summary(question, view, summaries[0], f"Unlimited cache and LRU, {title}"),
                _by_capacity(question, view, points, f"Hit rate by capacity, {title}"),
            ]
        else:
            tables += list(_by_group(question, view, points, summaries, title))
    return tables


def _of(points: pl.DataFrame, block_size: int, capacities: Sequence[int]) -> Sequence[Point]:
    """Return the points of a block size at these capacities: there may be more, for a picture."""
    import polars as pl

    chosen = pl.col("capacity_blocks").is_in(capacities) & (pl.col("block_size") == block_size)
    return points.filter(chosen).rows(named=True)


def _summary(question: Question, view: Any, one: CurveSummary, title: str) -> Table:
    from replay.report.tables import Table

    unit = question.unit

    def sized(blocks: int | None) -> float | None:
        return None if blocks is None else question.in_unit(view, blocks)

    row = {
        "requests": one.requests,
        "prompt_tokens": one.input_tokens,
        "block_ceiling_tokens": one.block_ceiling_tokens,
        "block_ceiling_token_hit_rate": one.block_ceiling_token_hit_rate,
        f"longest_request_{unit}": sized(one.longest_request_blocks),
        f"unique_content_{unit}": sized(one.unique_blocks),
        f"90%_of_ceiling_at_{unit}": sized(one.knee_90_blocks),
        f"95%_of_ceiling_at_{unit}": sized(one.knee_95_blocks),
        f"99%_of_ceiling_at_{unit}": sized(one.knee_99_blocks),
        f"all_of_it_at_{unit}": sized(one.working_set_blocks),
    }
    known = {name: value for name, value in row.items() if value is not None}
    return Table(tuple(known), [tuple(known.values())], title=title)


def _by_capacity(question: Question, view: Any, points: Sequence[Point], title: str) -> Table:
    from replay.report.tables import Table

    policies = [one.name for one in question.policies]
    at = {(one["policy"], one["capacity_blocks"]): one for one in points}
    capacities = sorted({one["capacity_blocks"] for one in points})
    columns = [f"capacity_{question.unit}"]
    columns += [f"{name}_share" for name in policies]
    marginal = "lru" in policies and question.kv_bytes_per_token is not None
    sampled = any(one["token_hit_rate_error"] is not None for one in points)
    if sampled:
        columns.append("standard_error_share")
    if "lru" in policies:
        columns.append("of_ceiling_share")
    if marginal:
        columns.append("next_GiB_saves_tokens")
    rows = []
    for capacity in capacities:
        row: list[float | None] = [question.in_unit(view, capacity)]
        row += [at[name, capacity]["token_hit_rate"] for name in policies]
        if sampled:
            row.append(at["lru", capacity]["token_hit_rate_error"])
        if "lru" in policies:
            row.append(at["lru", capacity]["block_ceiling_share"])
        if marginal:
            gain = at["lru", capacity]["marginal_tokens_per_gib"]
            row.append(None if gain is None else round(gain))
        rows.append(tuple(row))
    return Table(tuple(columns), rows, title=title)


def _by_group(
    question: Question,
    view: Any,
    points: Sequence[Point],
    summaries: Sequence[CurveSummary],
    title: str,
) -> Iterator[Table]:
    """Yield a table a policy, a row a group: the largest groups, in their own order."""
    from replay.report.tables import Table

    largest = sorted(summaries, key=lambda one: -one.input_tokens)[:SHOWN_GROUPS]
    shown = [one for one in summaries if one in largest]
    left = len(summaries) - len(shown)
    rest = f"; {left:,} smaller groups are in the other formats" if left else ""
    capacities = sorted({one["capacity_blocks"] for one in points})
    rate = {
        (one["policy"], one["group"], one["capacity_blocks"]): one["token_hit_rate"]
        for one in points
    }
    for policy in question.policies:
        columns = ["group", "requests", "prompt_tokens", "block_ceiling_share"]
        columns += [
            f"{_short(question.in_unit(view, c))}_{question.unit}_share" for c in capacities
        ]
        rows = [
            (
                one.group,
                one.requests,
                one.input_tokens,
                one.block_ceiling_token_hit_rate,
                *(rate[policy.name, one.group, capacity] for capacity in capacities),
            )
            for one in shown
        ]
        heading = f"Token hit rate of {policy.name} by capacity, {title}{rest}"
        yield Table(tuple(columns), rows, title=heading)


def _short(amount: float) -> str:
    """Return a number as a column's name has room for: `20k`, `1.5M`."""
    for size, suffix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if amount >= size:
            return f"{amount / size:.4g}{suffix}"
    return f"{amount:.4g}"
