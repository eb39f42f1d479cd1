"""What else a request could have hit: with more cache, and with a better policy in the same cache.

Both are asked of requests one after another in order of arrival, without a clock: LRU at every
capacity (the fewest blocks that hit all there is to hit), and the optimum at the run's capacity.
The optimum maximises hits over all requests, so a single one may do worse under it than it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.cache.curve import sufficient_capacities
from replay.cache.ranked_policies import optimum_hit_blocks
from replay.cache.references import hit_tokens, references
from replay.engine.outcome import Outcome, narrowed
from replay.engine.plan import UNLIMITED_BLOCKS, Plan
from replay.kernels import layout
from replay.kernels.policies.references import References


@dataclass(frozen=True, slots=True)
class Asked:
    """A plan's requests as caches without a clock are asked about them.

    `input_tokens` int64[R]; `capacity_blocks` None is unlimited; `all_blocks` hold all content
    there is, so that nothing is ever evicted.
    """

    references: References
    input_tokens: np.ndarray
    block_size: int
    capacity_blocks: int | None
    all_blocks: int


def asked_of(plan: Plan) -> Asked | None:
    """Return what the cache of a plan is asked; None where it is off or has no blocks."""
    if plan.rules[layout.KIND] == layout.SESSION_STORE or not plan.rules[layout.ENABLED]:
        return None
    refs = references(plan.paths)
    bounded = plan.capacity_blocks < UNLIMITED_BLOCKS
    return Asked(
        references=refs,
        input_tokens=plan.table[:, layout.INPUT_TOKENS],
        block_size=int(plan.rules[layout.BLOCK_SIZE]),
        capacity_blocks=plan.capacity_blocks if bounded else None,
        all_blocks=max(int(refs.blocks.sum()), 1),
    )


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Per request, int64[R] each.

    `sufficient_capacity_blocks` is the smallest LRU cache that hits all that can be hit, 0 where
    nothing can; `optimum_hit_tokens` is what the optimum hits at the run's capacity, and
    `avoidable_miss_tokens` how many of the tokens missed for capacity it would have kept.
    """

    sufficient_capacity_blocks: np.ndarray
    optimum_hit_tokens: np.ndarray
    avoidable_miss_tokens: np.ndarray


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What other caches do, whatever the replay did: two of the columns of `Diagnosis`, int[R]."""

    sufficient_capacity_blocks: np.ndarray
    optimum_hit_tokens: np.ndarray

    def diagnosis(
        self, outcome: np.ndarray | Outcome, start: int = 0, stop: int | None = None
    ) -> Diagnosis:
        """Return the diagnosis of the requests start..stop of a replay."""
        rows = slice(start, stop)
        optimum = self.optimum_hit_tokens[rows].astype(np.int64)
        more = np.maximum(optimum - outcome[rows, layout.HIT], 0)
        return Diagnosis(
            sufficient_capacity_blocks=self.sufficient_capacity_blocks[rows].astype(np.int64),
            optimum_hit_tokens=optimum,
            avoidable_miss_tokens=np.minimum(more, outcome[rows, layout.CAPACITY_MISS]),
        )


def diagnose(plan: Plan, outcome: np.ndarray | Outcome) -> Diagnosis | None:
    """Return the diagnosis of a replay, None where caching is off or the cache has no blocks."""
    asked = asked_of(plan)
    return None if asked is None else alternatives(asked).diagnosis(outcome)


def alternatives(asked: Asked) -> Alternatives:
    """Return what other caches do."""
    refs, enough = asked.references, asked.all_blocks
    needed = narrowed(sufficient_capacities(refs))
    best = optimum_hit_blocks(refs, min(asked.capacity_blocks or enough, enough))
    return Alternatives(
        sufficient_capacity_blocks=needed,
        optimum_hit_tokens=narrowed(hit_tokens(best, asked.input_tokens, asked.block_size)),
    )
