"""Hit rates over capacity: LRU at all of them, other policies where asked, knees, ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from replay.analysis.curve_points import ABOUT_HITS, POINTS, lru_points, replay_points
from replay.analysis.group_curves import GroupCurve, group_curves, largest
from replay.analysis.groups import WINDOW, group_requests
from replay.analysis.question import Question
from replay.cache.curve import KNEES
from replay.cache.replays import replay_all
from replay.cache.view import BlockView
from replay.errors import InputError
from replay.progress import Hook, ignore


@dataclass(frozen=True, slots=True)
class CurveSummary:
    """What one group of requests could hit, and how much cache LRU needs for most of it.

    `unique_blocks` is all content there is, `working_set_blocks` the smallest capacity at which
    LRU hits all that can be hit, `knee_90_blocks` that for 90 % of it.
    """

    group: str | None
    block_size: int
    requests: int
    input_tokens: int
    block_ceiling_tokens: int
    block_ceiling_token_hit_rate: float | None
    unique_blocks: int | None
    longest_request_blocks: int | None
    working_set_blocks: int
    knee_90_blocks: int
    knee_95_blocks: int
    knee_99_blocks: int


def summarise(view: BlockView, curves: Sequence[GroupCurve]) -> list[CurveSummary]:
    """Return ceiling, working set and knees of each group."""
    return [_summary(view, one) for one in curves]


def _summary(view: BlockView, one: GroupCurve) -> CurveSummary:
    curve = one.curve
    whole = one.name is None and one.estimate is None
    knees = [curve.smallest_capacity(share) for share in KNEES]
    return CurveSummary(
        group=one.name,
        block_size=view.block_size,
        requests=len(one.requests),
        input_tokens=curve.input_tokens,
        block_ceiling_tokens=curve.ceiling_tokens,
        block_ceiling_token_hit_rate=_rate(curve.ceiling_tokens, curve.input_tokens),
        unique_blocks=view.unique_blocks if whole else None,
        longest_request_blocks=view.longest_request_blocks if whole else None,
        working_set_blocks=curve.working_set_blocks,
        knee_90_blocks=knees[0],
        knee_95_blocks=knees[1],
        knee_99_blocks=knees[2],
    )


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class CurveAnswer:
    """Points and summaries of every block size, and the LRU curves they were read from.

    `points` is a frame with the schema `curve_points.POINTS`.
    """

    points: pl.DataFrame
    summaries: list[CurveSummary]
    curves: list[list[GroupCurve]]


def capacity_notes(question: Question) -> list[str]:
    """Return what to know where a request is longer than a cache that was asked for."""
    notes = []
    for view, capacities in zip(question.views, question.capacities, strict=True):
        longest = int(-(-view.input_tokens.max() // view.block_size))
        below = sum(blocks < longest for blocks in capacities)
        if below:
            notes.append(
                f"{below:,} of {len(capacities):,} capacities are below the longest prompt "
                f"({longest:,} blocks of {view.block_size:,}): there the curve "
                "lets it use what fits, and `replay run` rejects it"
            )
    return notes


def answer_curves(
    question: Question, *, by: str | None, window_ns: int | None, progress: Hook = ignore
) -> CurveAnswer:
    """Return the hit rates of each policy at each capacity, for all requests or for each group.

    Capacities that only a picture has are looked at for the largest groups alone. What hits there
    are is null where the content is unknown. Raises what `group_requests` raises, and InputError
    for groups of a sample.
    """
    groups = None
    if window_ns is not None and by != WINDOW:
        raise InputError("--window has no effect without --by window", hint="give --by window")
    sampled = any(estimate is not None for estimate in question.estimates)
    if by is not None:
        if sampled:
            raise InputError("a sample has too few requests of each group", hint="leave --by out")
        groups = group_requests(question.prepared.trace, by, window_ns)
    points: list[pl.DataFrame] = []
    answer = CurveAnswer(POINTS.to_frame(), [], [])
    more = question.drawn or [()] * len(question.views)
    each = zip(
        question.views, question.estimates, question.capacities, more, question.hints, strict=True
    )
    for view, estimate, shown, drawn, hints in each:
        curves = group_curves(view, groups, estimate)
        large = largest(curves)
        between = sorted({*drawn} - {*shown})
        block_bytes = question.block_bytes(view)
        answer.curves.append(curves)
        answer.summaries.extend(summarise(view, curves))
        others = [policy for policy in question.policies if policy.name != "lru"]
        if len(others) < len(question.policies):
            points.append(lru_points(view, curves, shown, block_bytes))
            if between:
                points.append(lru_points(view, large, between, block_bytes))
        for replay in replay_all(
            view,
            others,
            sorted({*shown, *between}),
            hints,
            threads=question.threads,
            progress=progress,
        ):
            asked_for = curves if replay.capacity_blocks in shown else large
            points.append(replay_points(replay, asked_for, block_bytes))
    found = pl.concat([answer.points, *points])
    if not question.prepared.content_known:
        unknown = [pl.lit(None, dtype=POINTS[name]).alias(name) for name in ABOUT_HITS]
        found = found.with_columns(unknown)
    return replace(answer, points=found)
