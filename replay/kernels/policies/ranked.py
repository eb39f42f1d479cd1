"""Eviction by rank: of the blocks that may go, the one of the smallest rank goes first.

Requests come one after another and each is atomic:

1. a look-up finds the longest resident prefix, at most `limit` blocks;
2. the resident blocks of its whole path, prompt and response, are pinned and the missing ones are
   added; as many as exceed the capacity are evicted one by one, each the unpinned block that is
   first in order. Of a path longer than the cache only the first `capacity` blocks are kept;
3. the ranks of all blocks on the path are brought up to date.

The order is (rank, request that used the block last), deepest block first among equals. A block
that a deeper resident block hangs from waits for it: the policies here either never rank such a
block first (closed by nature) or are restricted to leaves. So what is resident is always closed
under prefixes: on an edge it is the first RESIDENT blocks, and an edge hangs on a whole edge.

Invariant: between requests the heap has one entry that counts for every edge that is a leaf (it
has resident blocks and no child has), with the rank of its deepest block. No two leaves were last
used by the same request, or one would be an ancestor of the other: the order has no ties. Blocks
of an edge are used together but may have been stored apart, so ranks are kept by run, the deepest
on top of a stack. Worked example, LFU with 5 blocks, requests 0..2 use A, AB, A, where A has 2
blocks and B has 3; request 3 uses C, 2 blocks:

    after 2    A 0 1 count 3    B 2 3 4 count 1    heap: B
    request 3  evicts B 4, B 3                     heap: B, C

When a leaf is gone its parent takes the root of the heap in its place, and mostly stays there.
"""

from __future__ import annotations

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.leaf_heap import OFFSET, RANK, TAG, edge_of, last_of, pop
from replay.kernels.policies.ranked_layout import (
    BLOCK_COST,
    CAPACITY,
    CHILDREN,
    CLOCK,
    EVICTED,
    FIRST,
    FLAT_COST,
    FOUND,
    GDSF,
    HEAP_SIZE,
    LAST,
    LENGTH,
    NONE,
    PARENT,
    PGDSF,
    POLICY,
    PRIORITY,
    RESIDENT,
    RUN,
    START,
    USED,
    USES,
)
from replay.kernels.policies.ranked_runs import (
    enter,
    first_value,
    new_run,
    raise_priority,
    recall,
    replace_first,
    successor,
    trim,
)

# --- eviction -------------------------------------------------------------------------------


@inner
def _evict(t, wanted, request):
    """Evict `wanted` blocks that `request` does not use; the caller has checked there are enough.

    The root of the heap is trimmed from its deep end for as long as it ranks first.
    """
    while wanted > 0:
        tag = t.heap[OFFSET, TAG]
        edge = edge_of(tag)
        last = last_of(tag)
        if t.edges[edge, LAST] != last:
            t.counters[HEAP_SIZE] = pop(t.heap, t.counters[HEAP_SIZE])
            continue
        t.counters[CLOCK] = max(t.counters[CLOCK], t.heap[OFFSET, RANK])
        resident = t.edges[edge, RESIDENT]
        taken = min(wanted, resident - t.runs[t.edges[edge, RUN], START])
        wanted -= taken
        trim(t, edge, resident - taken)
        replace_first(t, successor(t, edge, request))


# --- requests -------------------------------------------------------------------------------


@inner
def _kept(t, edge):
    """Return how many blocks of an edge lie within a cache that keeps nothing else."""
    return min(t.edges[edge, LENGTH], max(0, t.rules[CAPACITY] - t.edges[edge, FIRST]))


@inner
def look_up(t, request):
    """Return (hit, missing) blocks of a request, and pin its path by making it last used now.

    Of the missing ones those count that will be kept.
    """
    hit = 0
    missing = 0
    unbroken = True
    for at in range(t.offsets[request], t.offsets[request + 1]):
        edge = t.path[at]
        resident = t.edges[edge, RESIDENT]
        if unbroken:
            hit += resident
            unbroken = resident == t.edges[edge, LENGTH]
        missing += _kept(t, edge) - resident
        t.edges[edge, LAST] = request
        t.edges[edge, USES] += 1
    hit = min(hit, t.limit[request])
    t.hits[request] = hit
    t.counters[FOUND] += hit
    return hit, missing


@inner
def store(t, request, hit):
    """Store what was missing on the path of a request, and enter its end if that is a leaf.

    For pgdsf a missing token costs what the mean one does: all are computed behind the hit ones.
    """
    policy = t.rules[POLICY]
    leaf = NONE
    cost = 0
    if policy == PGDSF and t.offsets[request] < t.offsets[request + 1]:
        end = t.path[t.offsets[request + 1] - 1]
        blocks = hit + t.edges[end, FIRST] + t.edges[end, LENGTH]
        cost = t.rules[FLAT_COST] + t.rules[BLOCK_COST] * blocks // 2
    for at in range(t.offsets[request], t.offsets[request + 1]):
        edge = t.path[at]
        kept = _kept(t, edge)
        resident = t.edges[edge, RESIDENT]
        parent = t.edges[edge, PARENT]
        if resident == 0 and kept > 0 and parent != NONE:
            t.edges[parent, CHILDREN] += 1
        if policy == PRIORITY:
            raise_priority(t, edge, t.priority[request])
        if policy == PGDSF:
            if resident < t.edges[edge, LENGTH]:
                recall(t, edge, kept, cost)
        elif resident < kept:
            value = first_value(t, request, edge)
            t.edges[edge, RUN] = new_run(t, resident, t.edges[edge, RUN], value, 0)
            t.edges[edge, RESIDENT] = kept
        if policy == GDSF or policy == PGDSF:
            t.clock[edge] = t.counters[CLOCK]
        if kept > 0:
            leaf = edge
    if leaf != NONE and t.edges[leaf, CHILDREN] == 0:
        enter(t, leaf)


@inner
def make_room(t, missing):
    """Return how many blocks must go for `missing` new ones, and count them as gone and stored."""
    used = t.counters[USED] + missing
    excess = max(0, used - t.rules[CAPACITY])
    t.counters[USED] = used - excess
    t.counters[EVICTED] += excess
    return excess


@kernel
def replay_ranked(t, start, stop):
    """Replay requests start..stop under any policy but length_aware."""
    for request in range(start, stop):
        hit, missing = look_up(t, request)
        _evict(t, make_room(t, missing), request)
        store(t, request, hit)
