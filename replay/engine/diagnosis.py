"""What else a request could have hit: with more cache, and with a better policy in the same cache.

Both are asked of requests one after another in order of arrival, without a clock: LRU at every
capacity (the fewest blocks that hit all there is to hit), and the optimum at the run's capacity.
The optimum maximises hits over all requests, so a single one may do worse under it than it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.cache.curve import Uses, stack_uses, sufficient_capacity
from replay.cache.ranked_policies import optimum_hit_blocks
from replay.cache.references import hit_tokens, references
from replay.engine.plan import UNLIMITED_BLOCKS, Plan
from replay.kernels import layout
from replay.kernels.references import References


@dataclass(frozen=True, slots=True)
class Stack:
    """A plan's requests as both questions see them: what each uses, and how deep that lies.

    `input_tokens` int64[R]; `capacity_blocks` None is unlimited; `all_blocks` hold all content
    there is, so that nothing is ever evicted.
    """

    references: References
    uses: Uses
    input_tokens: np.ndarray
    block_size: int
    capacity_blocks: int | None
    all_blocks: int


def stack_of(plan: Plan) -> Stack | None:
    """Return what the cache of a plan is asked; None where it is off or has no blocks."""
    if plan.store is not None or not plan.rules[layout.ENABLED]:
        return None
    size = int(plan.rules[layout.BLOCK_SIZE])
    tokens = plan.table[:, layout.INPUT_TOKENS]
    refs = references(plan.paths)
    uses = stack_uses(refs, tokens, size)
    all_blocks = max(int(refs.blocks.sum()), 1)
    bounded = plan.capacity_blocks < UNLIMITED_BLOCKS
    return Stack(refs, uses, tokens, size, plan.capacity_blocks if bounded else None, all_blocks)


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


def diagnose(stack: Stack, outcome: np.ndarray) -> Diagnosis:
    """Return the diagnosis of a replay by its outcome, int64[R, OUTCOME_FIELDS]."""
    tokens, size, enough = stack.input_tokens, stack.block_size, stack.all_blocks
    best = optimum_hit_blocks(stack.references, min(stack.capacity_blocks or enough, enough))
    optimum = hit_tokens(best, tokens, size)
    more = np.maximum(optimum - outcome[:, layout.HIT], 0)
    return Diagnosis(
        sufficient_capacity_blocks=sufficient_capacity(stack.uses, len(tokens)),
        optimum_hit_tokens=optimum,
        avoidable_miss_tokens=np.minimum(more, outcome[:, layout.CAPACITY_MISS]),
    )
