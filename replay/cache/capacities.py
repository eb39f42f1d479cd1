"""Round capacities to look at: 1, 2, 5, 10, … of a unit, over the range that matters."""

from __future__ import annotations

import numpy as np

_STEPS = (1, 2, 5)


def round_capacities(lowest_blocks: int, highest_blocks: int, unit_blocks: float) -> list[int]:
    """Return 1-2-5 multiples of a unit as blocks: from `lowest_blocks` to past `highest_blocks`.

    `unit_blocks` is how many blocks the unit holds; capacities below one block are left out.
    """
    found: list[int] = []
    decade = 10 ** int(np.floor(np.log10(max(lowest_blocks, 1) / unit_blocks)))
    while not found or found[-1] < highest_blocks:
        for step in _STEPS:
            blocks = int(step * decade * unit_blocks)
            done = bool(found) and found[-1] >= highest_blocks
            if blocks >= max(lowest_blocks, 1) and not done:
                found.append(blocks)
        decade *= 10
    return found


def spaced_capacities(lowest_blocks: int, highest_blocks: int, count: int) -> list[int]:
    """Return at most `count` capacities, evenly spaced on a log scale, both ends included."""
    low, high = max(lowest_blocks, 1), max(highest_blocks, lowest_blocks, 1)
    return np.unique(np.rint(np.geomspace(low, high, count)).astype(np.int64)).tolist()
