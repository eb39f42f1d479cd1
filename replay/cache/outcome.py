"""What became of a trace under one eviction policy and one capacity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """Counts of one replay, in blocks.

    `hit_blocks` int64[R] is the longest resident prefix each request found, at most its limit;
    `found_blocks` the references that found their block, whatever came before it in the prompt;
    `stranded_blocks` those resident at a look-up, within its limit, but behind a missing block;
    `evicted_blocks` the blocks evicted.
    """

    hit_blocks: np.ndarray
    found_blocks: int
    stranded_blocks: int
    evicted_blocks: int
