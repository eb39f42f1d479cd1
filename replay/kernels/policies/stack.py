"""How deep in the LRU stack every edge lies when it is used: the hits of all capacities at once.

The stack holds all blocks by recency. A request looks its path up in the stack as it stands, then
puts its blocks on top, root uppermost. A block at depth d (d blocks above it) is hit at every
capacity above d, and because a parent lies above its child, those hits are the longest resident
prefix (cache-inclusion of LRU: Mattson et al. 1970; for prefixes see docs/cache-science.md).

All that a request leaves on top and no later one has used lies together, so an edge is placed by
the request that used it last: above it lie the blocks last used by later requests, and those of
the same request nearer to the root, which stand before it on every path that reaches it. Blocks
are summed by last request in a tree of fan-out 64. Worked example:

    request 0: A (2 blocks) B (3)     stack  A A B B B
    request 1: A C (1)                A at 0                   then  A A C B B B
    request 2: A B                    A at 0, B at 3: A A C
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import inner, jit

NEVER = -1
_BITS = 6
_FAN = 1 << _BITS


@inner
def _add(level0, level1, level2, level3, at, blocks):
    level0[at] += blocks
    level1[at >> _BITS] += blocks
    level2[at >> 2 * _BITS] += blocks
    level3[at >> 3 * _BITS] += blocks


@inner
def _sum(level, start, stop):
    total = np.int64(0)
    for at in range(start, stop):
        total += level[at]
    return total


@inner
def _sum_after(level0, level1, level2, level3, at, now):
    """Return the blocks last used by requests after `at` and before `now`."""
    start = at + 1
    total = np.int64(0)
    stop = min((start + _FAN - 1) & -_FAN, now)
    total += _sum(level0, start, stop)
    if stop == now:
        return total
    start = stop >> _BITS
    last = (now + _FAN - 1) >> _BITS
    stop = min((start + _FAN - 1) & -_FAN, last)
    total += _sum(level1, start, stop)
    if stop == last:
        return total
    start = stop >> _BITS
    last = (last + _FAN - 1) >> _BITS
    stop = min((start + _FAN - 1) & -_FAN, last)
    total += _sum(level2, start, stop)
    if stop == last:
        return total
    start = stop >> _BITS
    last = (last + _FAN - 1) >> _BITS
    return total + _sum(level3, start, last)


@jit
def stack_depths(blocks, offsets, edges):
    """Return int64[P]: the blocks above each use of an edge in the LRU stack, -1 at a first use.

    Time goes with P, whatever the number of blocks and capacities.
    """
    requests = offsets.size - 1
    level0 = np.zeros(requests + 1, np.int64)
    level1 = np.zeros((requests >> _BITS) + 1, np.int64)
    level2 = np.zeros((requests >> 2 * _BITS) + 1, np.int64)
    level3 = np.zeros((requests >> 3 * _BITS) + 1, np.int64)
    last = np.full(blocks.size, NEVER, np.int32)
    depth = np.empty(edges.size, np.int64)
    for request in range(requests):
        total = np.int64(0)
        place = offsets[request]
        stop = offsets[request + 1]
        while place < stop:
            user = last[edges[place]]
            if user == NEVER:
                break
            above = _sum_after(level0, level1, level2, level3, user, request)
            moved = np.int64(0)
            while place < stop and last[edges[place]] == user:
                edge = edges[place]
                last[edge] = request
                depth[place] = above + moved + total
                moved += blocks[edge]
                place += 1
            _add(level0, level1, level2, level3, user, -moved)
            total += moved
        while place < stop:
            edge = edges[place]
            last[edge] = request
            depth[place] = NEVER
            total += blocks[edge]
            place += 1
        _add(level0, level1, level2, level3, request, total)
    return depth
