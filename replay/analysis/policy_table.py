"""Eviction policies side by side: hits, the share of the gap to the optimum closed, the work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from replay.analysis.question import Question
from replay.cache.replacement import replacement
from replay.cache.replays import Replay, replay_all
from replay.progress import Hook, ignore

BASE, OPTIMUM = "lru", "min"
_ABOUT_CONTENT = (
    "token_hit_rate", "gap_closed_share", "hit_tokens", "evicted_blocks", "stranded_blocks"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """One policy at one capacity.

    `gap_closed_share` is 0 for LRU and 1 for the optimum, negative for what is worse than LRU,
    and None where LRU is the optimum. `closure` says how what is resident stays prefix-closed;
    where it does not, `stranded_blocks` were resident at a look-up but behind a missing one. What
    hits there are is null where the content is unknown.
    """

    block_size: int
    capacity_blocks: int
    policy: str
    token_hit_rate: float | None
    gap_closed_share: float | None
    hit_tokens: int | None
    evicted_blocks: int | None
    stranded_blocks: int | None
    closure: str
    cpu_ms: float


def compare_policies(question: Question, *, progress: Hook = ignore) -> list[PolicyLine]:
    """Return a line for each block size, capacity and policy, best hit rate first.

    LRU and the optimum are replayed too where they were not asked for: the gap is between them.
    """
    asked = {policy.name for policy in question.policies}
    needed = [replacement(name) for name in (BASE, OPTIMUM) if name not in asked]
    lines = []
    each = zip(question.views, question.capacities, question.hints, strict=True)
    for view, capacities, hints in each:
        replays = list(
            replay_all(
                view,
                [*question.policies, *needed],
                capacities,
                hints,
                threads=question.threads,
                progress=progress,
            )
        )
        hits = {
            (one.policy.name, one.capacity_blocks): int(one.hit_tokens.sum()) for one in replays
        }
        for capacity in capacities:
            here = [
                _line(one, hits, int(view.input_tokens.sum()))
                for one in replays
                if one.capacity_blocks == capacity and one.policy.name in asked
            ]
            lines += sorted(here, key=lambda line: -(line.hit_tokens or 0))
    if not question.prepared.content_known:
        unknown: dict[str, Any] = dict.fromkeys(_ABOUT_CONTENT)
        return [replace(line, **unknown) for line in lines]
    return lines


def _line(one: Replay, hits: dict[tuple[str, int], int], input_tokens: int) -> PolicyLine:
    base, optimum = (hits[name, one.capacity_blocks] for name in (BASE, OPTIMUM))
    own = hits[one.policy.name, one.capacity_blocks]
    return PolicyLine(
        block_size=one.view.block_size,
        capacity_blocks=one.capacity_blocks,
        policy=one.policy.name,
        token_hit_rate=own / input_tokens if input_tokens else None,
        gap_closed_share=(own - base) / (optimum - base) if optimum != base else None,
        hit_tokens=own,
        evicted_blocks=one.outcome.evicted_blocks,
        stranded_blocks=one.outcome.stranded_blocks,
        closure=one.policy.closure,
        cpu_ms=one.cpu_ns / 1e6,
    )
