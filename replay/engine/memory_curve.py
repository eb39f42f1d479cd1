"""The table `curve` of a run: what other capacities would have hit, exact.

Asked of requests one after another in order of arrival, without a clock, like the rest of the
diagnosis: LRU from one pass, and the optimum replayed at a few capacities. The run's own dot may
lie a little off the line, for its requests overlap.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.cache.capacities import spaced_capacities
from replay.cache.curve import (
    KNEES,
    lru_curve,
    lru_hit_tokens,
    stack_uses,
    sufficient_capacities,
)
from replay.cache.ranked_policies import optimum_hit_blocks
from replay.cache.references import hit_tokens, longest_request_blocks
from replay.engine.diagnosis import Asked

LRU_POINTS = 180  # spaced over the range; with the marked ones at most 200
OPTIMUM_POINTS = 12
FEW_REFERENCES = 100_000  # uses of an edge up to which the optimum is replayed at all of them
MANY_REFERENCES = 2_000_000  # from here on the knees are not looked for: they take all uses at once
_FACTORS = (0.25, 0.5, 1, 2, 4)  # of the run's capacity: said in sentences, so never interpolated


def curve_frame(asked: Asked) -> pl.DataFrame:
    """Return the table `curve` of a run, by policy and capacity."""
    capacities = _capacities(asked)
    lru = lru_hit_tokens(
        asked.references, asked.input_tokens, asked.block_size, np.array(capacities)
    )
    fewer = _optimum_capacities(asked, capacities)
    return pl.DataFrame(
        {
            "policy": ["lru"] * len(capacities) + ["min"] * len(fewer),
            "capacity_blocks": [*capacities, *fewer],
            "hit_tokens": [*lru.tolist(), *(_optimum(asked, at) for at in fewer)],
        }
    )


def _capacities(asked: Asked) -> list[int]:
    """Return the capacities of the line: from where prompts fit to where nothing more is hit."""
    most, knees = _range(asked)
    marked = {most, *knees}
    lowest = min(longest_request_blocks(asked.references), most)
    if asked.capacity_blocks is not None:
        own = [max(int(factor * asked.capacity_blocks), 1) for factor in _FACTORS]
        marked.update(own)
        lowest, most = min(lowest, own[0]), max(most, own[-1])
    return sorted({*spaced_capacities(lowest, most, LRU_POINTS), *marked})


def _range(asked: Asked) -> tuple[int, list[int]]:
    """Return the smallest capacity that hits all LRU can, and those that hit most of it."""
    refs = asked.references
    if len(refs.edges) > MANY_REFERENCES:
        return max(int(sufficient_capacities(refs).max(initial=0)), 1), []
    uses = stack_uses(refs, asked.input_tokens, asked.block_size)
    curve = lru_curve(uses, asked.block_size, int(asked.input_tokens.sum()))
    knees = [at for share in KNEES if (at := curve.smallest_capacity(share))]
    return max(curve.working_set_blocks, 1), knees


def _optimum_capacities(asked: Asked, capacities: list[int]) -> list[int]:
    own = [] if asked.capacity_blocks is None else [asked.capacity_blocks]
    if len(asked.references.edges) > FEW_REFERENCES:
        return own
    lowest = min(longest_request_blocks(asked.references), capacities[-1])
    return sorted({*spaced_capacities(lowest, capacities[-1], OPTIMUM_POINTS), *own})


def _optimum(asked: Asked, capacity_blocks: int) -> int:
    enough = min(capacity_blocks, asked.all_blocks)  # for all content there is
    best = optimum_hit_blocks(asked.references, enough)
    return int(hit_tokens(best, asked.input_tokens, asked.block_size).sum())
