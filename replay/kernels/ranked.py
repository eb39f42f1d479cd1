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

from replay.kernels.draws import draw
from replay.kernels.jit import inner, kernel
from replay.kernels.leaf_heap import (
    OFFSET,
    RANK,
    TAG,
    edge_of,
    last_of,
    pop,
    push,
    restore,
    sink,
    tag_of,
)
from replay.kernels.ranked_layout import (
    BELOW,
    BLOCK_COST,
    CAPACITY,
    CHILDREN,
    CLOCK,
    EVICTED,
    FIFO_LEAF,
    FIRST,
    FLAT_COST,
    FOUND,
    GDSF,
    HEAP_SIZE,
    LAST,
    LENGTH,
    LENGTH_AWARE,
    LFU,
    LFU_PERFECT,
    LRU,
    MISSES,
    NONE,
    PARENT,
    PGDSF,
    POLICY,
    PRIORITY,
    RANDOM,
    RESIDENT,
    RUN,
    RUN_FREE,
    RUN_TOP,
    SEED,
    SLRU_HITS,
    START,
    USED,
    USES,
    VALUE,
)

DEPTH_BITS = 32

# --- ranks ----------------------------------------------------------------------------------


@inner
def _rank(t, edge):
    """Return the rank of the deepest resident block of an edge.

    VALUE of a run says when it was stored: the request, the draw it got or, for policies that
    count, the uses of the edge before, so that counting costs nothing. For pgdsf it is the sum of
    its costs per token over MISSES.
    """
    policy = t.rules[POLICY]
    run = t.edges[edge, RUN]
    if policy == LRU:
        return 0
    if policy == LFU_PERFECT:
        return t.edges[edge, USES]
    value = t.runs[run, VALUE]
    if policy == PGDSF:
        return t.clock[edge] + t.edges[edge, USES] * (value // t.runs[run, MISSES])
    if policy == FIFO_LEAF or policy == RANDOM or policy == PRIORITY:
        return value
    count = t.edges[edge, USES] - value
    if policy == LFU:
        return count
    if policy == SLRU_HITS:
        return count >= 3
    block = t.edges[edge, FIRST] + t.edges[edge, RESIDENT] - 1
    if policy == LENGTH_AWARE:
        return (count << DEPTH_BITS) - block
    return t.clock[edge] + count * _block_cost(t, block)  # GDSF


@inner
def _block_cost(t, block):
    """Return what a token of the block costs to compute again, in 1/1,000 ns, context and all."""
    return t.rules[FLAT_COST] + t.rules[BLOCK_COST] * (2 * block + 1) // 2


@inner
def _first_value(t, request, edge):
    """Return VALUE of a run that is stored now."""
    policy = t.rules[POLICY]
    if policy == FIFO_LEAF:
        return request
    if policy == RANDOM:
        return draw(t.rules[SEED], request, edge)
    if policy == PRIORITY:
        return t.priority[request]
    return t.edges[edge, USES] - 1


@inner
def _raise_priority(t, edge, priority):
    """Let no run of an edge be of lower priority: the deeper, the lower it is."""
    run = t.edges[edge, RUN]
    while run != NONE and t.runs[run, VALUE] < priority:
        t.runs[run, VALUE] = priority
        run = t.runs[run, BELOW]


# --- runs -----------------------------------------------------------------------------------


@inner
def _new_run(t, start, below, value, misses):
    run = t.counters[RUN_FREE]
    if run == NONE:
        run = t.counters[RUN_TOP]
        t.counters[RUN_TOP] += 1
    else:
        t.counters[RUN_FREE] = t.runs[run, BELOW]
    t.runs[run, START] = start
    t.runs[run, BELOW] = below
    t.runs[run, VALUE] = value
    t.runs[run, MISSES] = misses
    return run


@inner
def _free_run(t, run):
    t.runs[run, BELOW] = t.counters[RUN_FREE]
    t.counters[RUN_FREE] = run


@inner
def _same_record(t, run, other):
    return (
        t.runs[run, VALUE] == t.runs[other, VALUE] and t.runs[run, MISSES] == t.runs[other, MISSES]
    )


@inner
def _lose(t, edge, run, start):
    """Move the blocks from `start` of an edge's deepest run to those it lost, record and all."""
    lost = t.lost[edge]
    if lost != NONE and _same_record(t, run, lost):
        t.runs[lost, START] = start
    else:
        t.lost[edge] = _new_run(t, start, lost, t.runs[run, VALUE], t.runs[run, MISSES])


@inner
def _trim(t, edge, resident):
    """Leave `resident` blocks of an edge, none of them above its deepest run's last one."""
    run = t.edges[edge, RUN]
    if t.rules[POLICY] == PGDSF:
        _lose(t, edge, run, max(resident, t.runs[run, START]))
    t.edges[edge, RESIDENT] = resident
    if resident <= t.runs[run, START]:
        t.edges[edge, RUN] = t.runs[run, BELOW]
        _free_run(t, run)


@inner
def _recall(t, edge, kept, cost):
    """Take back the blocks an edge lost, missed once more at `cost` a token; keep `kept`."""
    if t.edges[edge, RUN] == NONE and t.lost[edge] == NONE:
        t.edges[edge, RUN] = _new_run(t, 0, NONE, cost, 1)
    while t.lost[edge] != NONE:
        run = t.lost[edge]
        t.lost[edge] = t.runs[run, BELOW]
        t.runs[run, VALUE] += cost
        t.runs[run, MISSES] += 1
        below = t.edges[edge, RUN]
        if below != NONE and _same_record(t, run, below):
            _free_run(t, run)
        else:
            t.runs[run, BELOW] = below
            t.edges[edge, RUN] = run
    t.edges[edge, RESIDENT] = t.edges[edge, LENGTH]
    while t.edges[edge, RESIDENT] > kept:
        _trim(t, edge, max(kept, t.runs[t.edges[edge, RUN], START]))


# --- eviction -------------------------------------------------------------------------------


@inner
def _enter(t, edge):
    """Enter a leaf in the heap; where it is full, drop the stale entries first."""
    size = t.counters[HEAP_SIZE]
    if size + OFFSET == t.heap.shape[0]:
        fresh = 0
        for at in range(OFFSET, OFFSET + size):
            tag = t.heap[at, TAG]
            if t.edges[edge_of(tag), LAST] == last_of(tag):
                t.heap[OFFSET + fresh, RANK] = t.heap[at, RANK]
                t.heap[OFFSET + fresh, TAG] = tag
                fresh += 1
        restore(t.heap, fresh)
        size = fresh
    tag = tag_of(t.edges[edge, LAST], edge)
    t.counters[HEAP_SIZE] = push(t.heap, size, _rank(t, edge), tag)


@inner
def _blocks_before_rival(t, edge, last):
    """Return how many blocks of the leaf at the root go before another edge's: length_aware only.

    The rank of a leaf rises by one with each block it loses; a stale rival only stops it early.
    """
    size = t.counters[HEAP_SIZE]
    most = t.edges[edge, RESIDENT]
    rank = t.heap[OFFSET, RANK]
    for rival in range(OFFSET + 1, OFFSET + min(5, size)):
        lead = t.heap[rival, RANK] - rank
        if last < last_of(t.heap[rival, TAG]):
            lead += 1
        most = min(most, lead)
    return most


@inner
def _evict(t, wanted, request):
    """Evict `wanted` blocks that `request` does not use; the caller has checked there are enough.

    The root of the heap is trimmed from its deep end for as long as it ranks first.
    """
    t.counters[EVICTED] += wanted
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
        if t.rules[POLICY] == LENGTH_AWARE and taken > 1:
            taken = min(taken, _blocks_before_rival(t, edge, last))
        wanted -= taken
        _trim(t, edge, resident - taken)
        if t.edges[edge, RESIDENT] == 0:
            edge = t.edges[edge, PARENT]
            if edge != NONE:
                t.edges[edge, CHILDREN] -= 1
                if t.edges[edge, CHILDREN] > 0 or t.edges[edge, LAST] == request:
                    edge = NONE
            if edge == NONE:
                t.counters[HEAP_SIZE] = pop(t.heap, t.counters[HEAP_SIZE])
                continue
            last = t.edges[edge, LAST]
        sink(t.heap, t.counters[HEAP_SIZE], 0, _rank(t, edge), tag_of(last, edge))


# --- requests -------------------------------------------------------------------------------


@inner
def _kept(t, edge):
    """Return how many blocks of an edge lie within a cache that keeps nothing else."""
    return min(t.edges[edge, LENGTH], max(0, t.rules[CAPACITY] - t.edges[edge, FIRST]))


@inner
def _look_up(t, request):
    """Return (hit, missing) blocks of a request, and pin its path by making it last used now."""
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
    return min(hit, t.limit[request]), missing


@inner
def _store(t, request, hit):
    """Store what was missing on the path of a request, and enter its end if that is a leaf."""
    policy = t.rules[POLICY]
    leaf = NONE
    cost = 0
    if policy == PGDSF:  # of a missing token: all are computed at once, after the hit ones
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
        if policy == PGDSF:
            if resident < t.edges[edge, LENGTH]:
                _recall(t, edge, kept, cost)
        elif resident < kept:
            value = _first_value(t, request, edge)
            t.edges[edge, RUN] = _new_run(t, resident, t.edges[edge, RUN], value, 0)
            t.edges[edge, RESIDENT] = kept
        if policy == PRIORITY:
            _raise_priority(t, edge, t.priority[request])
        elif policy == GDSF or policy == PGDSF:
            t.clock[edge] = t.counters[CLOCK]
        if kept > 0:
            leaf = edge
    if leaf != NONE and t.edges[leaf, CHILDREN] == 0:
        _enter(t, leaf)


@kernel
def replay_ranked(t, start, stop):
    """Replay requests start..stop."""
    for request in range(start, stop):
        if t.offsets[request] == t.offsets[request + 1]:
            continue
        hit, missing = _look_up(t, request)
        t.hits[request] = hit
        t.counters[FOUND] += hit
        used = t.counters[USED] + missing
        if used > t.rules[CAPACITY]:
            _evict(t, used - t.rules[CAPACITY], request)
            used = t.rules[CAPACITY]
        t.counters[USED] = used
        _store(t, request, hit)
