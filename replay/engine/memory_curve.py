"""The table `curve` of a run: what other capacities would have hit, exact.

Asked of requests one after another in order of arrival, without a clock, like the rest of the
diagnosis: LRU from one pass, and the optimum replayed at a few capacities. The run's own dot may
lie a little off the line, for its requests overlap.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.cache.capacities import spaced_capacities
from replay.cache.curve import KNEES, Curve, lru_curve
from replay.cache.ranked_policies import optimum_hit_blocks
from replay.cache.references import hit_tokens, longest_request_blocks
from replay.engine.diagnosis import Stack

LRU_POINTS = 180  # spaced over the range; with the marked ones at most 200
OPTIMUM_POINTS = 12
MOST_REFERENCES = 100_000  # uses of an edge up to which the optimum is replayed at all of them
_FACTORS = (0.25, 0.5, 1, 2, 4)  # of the run's capacity: said in sentences, so never interpolated


def curve_frame(stack: Stack) -> pl.DataFrame:
    """Return the table `curve` of a run, by policy and capacity."""
    curve = lru_curve(stack.uses, stack.block_size, int(stack.input_tokens.sum()))
    capacities = _capacities(stack, curve)
    hits = curve.hit_tokens(np.array(capacities))
    fewer = _optimum_capacities(stack, capacities)
    return pl.DataFrame(
        {
            "policy": ["lru"] * len(capacities) + ["min"] * len(fewer),
            "capacity_blocks": [*capacities, *fewer],
            "hit_tokens": [*hits.tolist(), *(_optimum(stack, at) for at in fewer)],
        }
    )


def _capacities(stack: Stack, curve: Curve) -> list[int]:
    """Return the capacities of the line: from where prompts fit to where nothing more is hit."""
    most = max(curve.working_set_blocks, 1)
    knees = [curve.smallest_capacity(share) for share in KNEES]
    marked = [at for at in (*knees, most) if at > 0]
    lowest = min(longest_request_blocks(stack.references), most)
    if stack.capacity_blocks is not None:
        own = [max(int(factor * stack.capacity_blocks), 1) for factor in _FACTORS]
        marked += own
        lowest, most = min(lowest, own[0]), max(most, own[-1])
    return sorted({*spaced_capacities(lowest, most, LRU_POINTS), *marked})


def _optimum_capacities(stack: Stack, capacities: list[int]) -> list[int]:
    own = [] if stack.capacity_blocks is None else [stack.capacity_blocks]
    if len(stack.references.edges) > MOST_REFERENCES:
        return own
    lowest = min(longest_request_blocks(stack.references), capacities[-1])
    return sorted({*spaced_capacities(lowest, capacities[-1], OPTIMUM_POINTS), *own})


def _optimum(stack: Stack, capacity_blocks: int) -> int:
    enough = min(capacity_blocks, stack.all_blocks)  # for all content there is
    best = optimum_hit_blocks(stack.references, enough)
    return int(hit_tokens(best, stack.input_tokens, stack.block_size).sum())
