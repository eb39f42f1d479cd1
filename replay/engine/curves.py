"""Hit rates over capacity: LRU at all of them, other policies where asked, knees, ceilings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from replay.cache.curve import KNEES, Curve, lru_curve
from replay.cache.replays import Replay, replay_all
from replay.cache.sampled import SampledCurve
from replay.cache.view import BlockView
from replay.engine.groups import WINDOW, Groups, group_requests
from replay.engine.question import Question
from replay.errors import InputError
from replay.progress import Hook, ignore

GIB = 2**30


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One policy at one capacity, over one group of requests.

    `block_ceiling_tokens` is what an unlimited cache hits with blocks of that size, and
    `block_ceiling_share` how much of it this one does.
    `marginal_tokens_per_gib` is what more capacity saves, over the next tenth of it and at least
    one GiB; known for LRU where the bytes of a block are. `token_hit_rate_error` is the standard
    error of a rate that was estimated from a sample.
    """

    group: str | None
    block_size: int
    policy: str
    capacity_blocks: int
    capacity_tokens: int
    capacity_gib: float | None
    hit_tokens: int
    token_hit_rate: float | None
    token_hit_rate_error: float | None
    block_ceiling_tokens: int
    block_ceiling_share: float | None
    marginal_tokens_per_gib: float | None
    evicted_blocks: int | None
    stranded_blocks: int | None


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


@dataclass(frozen=True, slots=True)
class GroupCurve:
    """The LRU curve of one group of requests; `requests` are their numbers, int64."""

    name: str | None
    requests: np.ndarray
    curve: Curve
    estimate: SampledCurve | None = None


def group_curves(
    view: BlockView, groups: Groups | None, estimate: SampledCurve | None = None
) -> list[GroupCurve]:
    """Return the LRU curve of each group, all requests as one where there are no groups.

    All groups share one cache: a curve says what of it each group has.
    """
    if estimate is not None:
        return [GroupCurve(None, np.arange(view.requests), estimate.curve, estimate)]
    if groups is None:
        return [GroupCurve(None, np.arange(view.requests), view.curve)]
    uses = view.uses
    ordered = uses.where(np.argsort(groups.codes[uses.request], kind="stable"))
    edges = np.searchsorted(groups.codes[ordered.request], np.arange(len(groups.names) + 1))
    members = np.split(
        np.argsort(groups.codes, kind="stable"),
        np.cumsum(np.bincount(groups.codes, minlength=len(groups.names)))[:-1],
    )
    found = []
    for code, name in enumerate(groups.names):
        own = ordered.where(np.arange(edges[code], edges[code + 1]))
        tokens = int(view.input_tokens[members[code]].sum())
        found.append(GroupCurve(name, members[code], lru_curve(own, view.block_size, tokens)))
    return found


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


def lru_points(
    view: BlockView,
    curves: Sequence[GroupCurve],
    capacities: Sequence[int],
    block_bytes: int | None,
) -> Iterator[CurvePoint]:
    """Yield LRU at the capacities, in blocks, for each group; exact, from the curve."""
    capacity = np.asarray(capacities, np.int64)
    for one in curves:
        hits = one.curve.hit_tokens(capacity)
        gain: Sequence[float | None] = [None] * len(capacity)
        if block_bytes is not None:
            more = np.maximum(capacity // 10, max(GIB // block_bytes, 1))
            gained = one.curve.hit_tokens(capacity + more) - hits
            gain = (gained * (GIB / (more * block_bytes))).tolist()
        error: Sequence[float | None] = [None] * len(capacity)
        if one.estimate is not None:
            found = one.estimate.rate_error(capacity).tolist()
            error = [None if math.isnan(value) else value for value in found]
        for at, blocks in enumerate(capacity.tolist()):
            point = _point(view, one, "lru", blocks, int(hits[at]), block_bytes)
            yield replace(point, marginal_tokens_per_gib=gain[at], token_hit_rate_error=error[at])


def replay_points(
    replay: Replay, curves: Sequence[GroupCurve], block_bytes: int | None
) -> Iterator[CurvePoint]:
    """Yield one replay of a policy for each group."""
    hits = replay.hit_tokens
    for one in curves:
        yield _point(
            replay.view,
            one,
            replay.policy.name,
            replay.capacity_blocks,
            int(hits[one.requests].sum()),
            block_bytes,
            replay if one.name is None else None,
        )


def _point(
    view: BlockView,
    one: GroupCurve,
    policy: str,
    capacity_blocks: int,
    hit_tokens: int,
    block_bytes: int | None,
    replay: Replay | None = None,
) -> CurvePoint:
    outcome = None if replay is None else replay.outcome
    return CurvePoint(
        group=one.name,
        block_size=view.block_size,
        policy=policy,
        capacity_blocks=capacity_blocks,
        capacity_tokens=capacity_blocks * view.block_size,
        capacity_gib=None if block_bytes is None else capacity_blocks * block_bytes / GIB,
        hit_tokens=hit_tokens,
        token_hit_rate=_rate(hit_tokens, one.curve.input_tokens),
        token_hit_rate_error=None,
        block_ceiling_tokens=one.curve.ceiling_tokens,
        block_ceiling_share=_rate(hit_tokens, one.curve.ceiling_tokens),
        marginal_tokens_per_gib=None,
        evicted_blocks=None if outcome is None else outcome.evicted_blocks,
        stranded_blocks=None if outcome is None else outcome.stranded_blocks,
    )


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class CurveAnswer:
    """Points and summaries of every block size, and the LRU curves they were read from."""

    points: list[CurvePoint]
    summaries: list[CurveSummary]
    curves: list[list[GroupCurve]]


def answer_curves(
    question: Question, *, by: str | None, window_ns: int | None, progress: Hook = ignore
) -> CurveAnswer:
    """Return the hit rates of each policy at each capacity, for all requests or for each group.

    Raises what `group_requests` raises, and InputError for groups of a sample.
    """
    groups = None
    if window_ns is not None and by != WINDOW:
        raise InputError("--window has no effect without --by window", hint="give --by window")
    sampled = any(estimate is not None for estimate in question.estimates)
    if by is not None:
        if sampled:
            raise InputError("a sample has too few requests of each group", hint="leave --by out")
        groups = group_requests(question.prepared.trace, by, window_ns)
    answer = CurveAnswer([], [], [])
    each = zip(question.views, question.estimates, question.capacities, question.hints, strict=True)
    for view, estimate, capacities, hints in each:
        curves = group_curves(view, groups, estimate)
        block_bytes = question.block_bytes(view)
        answer.curves.append(curves)
        answer.summaries.extend(summarise(view, curves))
        others = [policy for policy in question.policies if policy.name != "lru"]
        if len(others) < len(question.policies):
            answer.points.extend(lru_points(view, curves, capacities, block_bytes))
        for replay in replay_all(
            view, others, capacities, hints, threads=question.threads, progress=progress
        ):
            answer.points.extend(replay_points(replay, curves, block_bytes))
    return answer
