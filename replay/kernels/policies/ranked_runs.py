"""Runs of blocks of one rank, and the heap of leaves: what ranked eviction is made of.

The blocks of an edge are used together but may have been stored apart. A run is a stretch of them
that was stored at once; the runs of an edge are a stack, the deepest on top, and eviction trims
the top. Only pgdsf remembers blocks that were evicted: their runs are kept on a second stack of
the edge, the shallowest on top, and come back when the edge is used again. How it all goes
together, and the invariant: ranked.py.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.policies.draws import draw
from replay.kernels.policies.leaf_heap import (
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
from replay.kernels.policies.ranked_layout import (
    BELOW,
    BLOCK_COST,
    CHILDREN,
    FIFO_LEAF,
    FIRST,
    FLAT_COST,
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
    USES,
    VALUE,
)

DEPTH_BITS = 32

# --- ranks ----------------------------------------------------------------------------------


@inner
def rank_of(t, edge):
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
def first_value(t, request, edge):
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
def raise_priority(t, edge, priority):
    """Let no run of an edge be of lower priority: the deeper, the lower it is."""
    run = t.edges[edge, RUN]
    while run != NONE and t.runs[run, VALUE] < priority:
        t.runs[run, VALUE] = priority
        run = t.runs[run, BELOW]


# --- runs -----------------------------------------------------------------------------------


@inner
def new_run(t, start, below, value, misses):
    """Return a run of the blocks from `start`, on top of the run `below`."""
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
        t.lost[edge] = new_run(t, start, lost, t.runs[run, VALUE], t.runs[run, MISSES])


@inner
def trim(t, edge, resident):
    """Leave `resident` blocks of an edge, none of them above its deepest run's last one."""
    run = t.edges[edge, RUN]
    if t.rules[POLICY] == PGDSF:
        _lose(t, edge, run, max(resident, t.runs[run, START]))
    t.edges[edge, RESIDENT] = resident
    if resident <= t.runs[run, START]:
        t.edges[edge, RUN] = t.runs[run, BELOW]
        _free_run(t, run)


@inner
def recall(t, edge, kept, cost):
    """Take back the blocks an edge lost, missed once more at `cost` a token; keep `kept`."""
    if t.edges[edge, RUN] == NONE and t.lost[edge] == NONE:
        t.edges[edge, RUN] = new_run(t, 0, NONE, cost, 1)
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
        trim(t, edge, max(kept, t.runs[t.edges[edge, RUN], START]))


# --- leaves ---------------------------------------------------------------------------------


@inner
def enter(t, edge):
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
    t.counters[HEAP_SIZE] = push(t.heap, size, rank_of(t, edge), tag)


@inner
def successor(t, edge, request):
    """Return the leaf that takes the place of a trimmed one: itself, its parent, or NONE.

    A parent that other edges hang from, or that `request` uses, is not to be evicted yet.
    """
    if t.edges[edge, RESIDENT] > 0:
        return edge
    parent = t.edges[edge, PARENT]
    if parent == NONE:
        return NONE
    t.edges[parent, CHILDREN] -= 1
    if t.edges[parent, CHILDREN] > 0 or t.edges[parent, LAST] == request:
        return NONE
    return parent


@inner
def replace_first(t, edge):
    """Put an edge in the place of the first entry of the heap, or nothing where it is NONE."""
    size = t.counters[HEAP_SIZE]
    if edge == NONE:
        t.counters[HEAP_SIZE] = pop(t.heap, size)
    else:
        sink(t.heap, size, 0, rank_of(t, edge), tag_of(t.edges[edge, LAST], edge))
