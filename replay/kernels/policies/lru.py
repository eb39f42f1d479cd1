"""LRU at one capacity, without a list: the trace itself is the order of recency.

The blocks of a request are used deepest first, so its root ends up most recent, and all blocks
that were used together lie together, deeper ones on the older side. `last[e]` is the place in the
trace where edge e was used last. A cursor walks the trace from its start, each request from its
deepest edge to the root: the edge at place p is the least recently used one exactly where
`last[edge] == p`; anywhere else it was used again later. Eviction trims it from its deep end.

Invariant: a parent is never less recent than its child, so what is resident of an edge is a
prefix of it, and of a child only where all of the parent is. One count an edge is exact.
Worked example, capacity 3 blocks:

    request 0: edge A (2 blocks), B (1)    resident A 2, B 1
    request 1: edge A, C (1)               4 blocks: the cursor is at B, whose block goes
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_BLOCKS, _RESIDENT, _LAST, _FIELDS = 0, 1, 2, 4


@jit
def replay_lru(blocks, offsets, edges, limit, capacity):
    """Return (hit_blocks int64[R], found, evicted): LRU over all blocks of each path.

    A request longer than the cache leaves as much of its beginning as fits.
    """
    requests = offsets.size - 1
    table = np.empty((blocks.size, _FIELDS), np.int32)
    for edge in range(blocks.size):
        table[edge, _BLOCKS] = blocks[edge]
        table[edge, _RESIDENT] = 0
        table[edge, _LAST] = -1
    hit_blocks = np.empty(requests, np.int64)
    used = np.int64(0)
    found = np.int64(0)
    evicted = np.int64(0)
    oldest = 0  # the request the cursor is in, and its place there
    cursor = offsets[1] - 1 if requests else np.int64(-1)
    for request in range(requests):
        hit = np.int64(0)
        for place in range(offsets[request], offsets[request + 1]):
            edge = edges[place]
            resident = table[edge, _RESIDENT]
            hit += resident
            missing = table[edge, _BLOCKS] - resident
            used += missing
            table[edge, _RESIDENT] = table[edge, _BLOCKS]
            table[edge, _LAST] = place
        found += hit
        hit_blocks[request] = min(hit, limit[request])
        while used > capacity:
            while cursor < offsets[oldest]:
                oldest += 1
                cursor = offsets[oldest + 1] - 1
            edge = edges[cursor]
            if table[edge, _LAST] == cursor:
                trimmed = min(np.int64(table[edge, _RESIDENT]), used - capacity)
                table[edge, _RESIDENT] -= trimmed
                used -= trimmed
                evicted += trimmed
                if table[edge, _RESIDENT] > 0:
                    break
            cursor -= 1
    return hit_blocks, found, evicted
