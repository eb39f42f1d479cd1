"""Which node a radix cache evicts: a heap of unlocked leaves, one rank a policy, smallest first.

Ranks are pairs of integers. Two leaves never have the same one: uses are numbered, and of the
nodes that share a number (the path of one operation) one is below the other, so at most one of
them is a leaf. Keys lie in the heap itself; a node's PLACE says where.

    lru       (0, last use)                     mru       (0, -last use)
    lfu       (insertions, last use)            filo      (0, -creation)
    slru      (protected, last use)             fifo      (0, creation)
    priority  (priority, last use)              protected: insertions >= PROTECTED_HITS
"""

from __future__ import annotations

from replay.kernels.cache.radix_layout import (
    ACCESS,
    CREATED,
    HITS,
    LEAF,
    PLACE,
    PRIORITY,
    RANK_FIRST,
    RANK_NEXT,
)
from replay.kernels.jit import inner
from replay.kernels.layout import (
    BY_FIFO,
    BY_FILO,
    BY_LFU,
    BY_LRU,
    BY_MRU,
    BY_SLRU,
    ENTRIES,
    NONE,
    POLICY,
    PROTECTED_HITS,
)


@inner
def _rank(t, node):
    """Return the pair by which a node is evicted."""
    policy = t.rules[POLICY]
    access = t.nodes[node, ACCESS]
    if policy == BY_LRU:
        return 0, access
    if policy == BY_MRU:
        return 0, -access
    if policy == BY_FIFO:
        return 0, t.nodes[node, CREATED]
    if policy == BY_FILO:
        return 0, -t.nodes[node, CREATED]
    if policy == BY_LFU:
        return t.nodes[node, HITS], access
    if policy == BY_SLRU:
        return 1 if t.nodes[node, HITS] >= t.rules[PROTECTED_HITS] else 0, access
    return t.nodes[node, PRIORITY], access


@inner
def _put(t, place, first, second, node):
    t.leaves[place, RANK_FIRST] = first
    t.leaves[place, RANK_NEXT] = second
    t.leaves[place, LEAF] = node
    t.nodes[node, PLACE] = place


@inner
def _copy(t, place, source):
    _put(
        t,
        place,
        t.leaves[source, RANK_FIRST],
        t.leaves[source, RANK_NEXT],
        t.leaves[source, LEAF],
    )


@inner
def _after(t, place, first, second):
    """Return whether the entry at a place comes after the rank (first, second)."""
    if t.leaves[place, RANK_FIRST] != first:
        return t.leaves[place, RANK_FIRST] > first
    return t.leaves[place, RANK_NEXT] > second


@inner
def _settle(t, place, first, second, node):
    """Put a node where it belongs, starting from a free place of the heap."""
    while place > 0 and _after(t, (place - 1) // 2, first, second):
        _copy(t, place, (place - 1) // 2)
        place = (place - 1) // 2
    count = t.counters[ENTRIES]
    while True:
        below = 2 * place + 1
        if below >= count:
            break
        if below + 1 < count and _after(
            t, below, t.leaves[below + 1, RANK_FIRST], t.leaves[below + 1, RANK_NEXT]
        ):
            below += 1
        if _after(t, below, first, second):
            break
        _copy(t, place, below)
        place = below
    _put(t, place, first, second, node)


@inner
def rank_again(t, node):
    """Move a node of the heap to where it belongs now."""
    first, second = _rank(t, node)
    _settle(t, t.nodes[node, PLACE], first, second, node)


@inner
def put_leaf(t, node):
    """Add an unlocked node without children to the heap."""
    place = t.counters[ENTRIES]
    t.counters[ENTRIES] += 1
    first, second = _rank(t, node)
    _settle(t, place, first, second, node)


@inner
def drop_leaf(t, node):
    """Take a node out of the heap."""
    place = t.nodes[node, PLACE]
    t.nodes[node, PLACE] = NONE
    last = t.counters[ENTRIES] - 1
    t.counters[ENTRIES] = last
    if place != last:
        _settle(
            t,
            place,
            t.leaves[last, RANK_FIRST],
            t.leaves[last, RANK_NEXT],
            t.leaves[last, LEAF],
        )
