"""Eviction of length_aware: many leaves of one rank are lowered together.

The rank of a leaf is (uses, -index of its deepest block): with each block it loses it rises by
one, so that all leaves of the fewest uses end up level with one another and lose a block each in
turn, least recently used first. Taken one by one that is a step of the heap for every block. So
leaves that have reached the level form a group, which is lowered as a whole:

    level 7, fewest uses 1            A       B       C        used last by 3, 5, 8
    before                            . 7     . 7     . 7      PIVOT none, 3 waiting
    evict 2: those up to 5 go         . 6     . 6     . 7      PIVOT 5, 1 waiting
    evict 1: the round is over        . 6     . 6     . 6      level 6

Invariant: of a member whose LAST is above PIVOT the deepest resident block is number LEVEL, of the
others LEVEL - 1; their RESIDENT is not kept up to date until they leave. No leaf outside, and all
of those are in the heap, goes before a waiting member unless its rank is smaller than the level's,
or the same and its LAST no greater than PIVOT. Members leave when a request uses them, and when
the round is over in which they lost the first block of their run: till then nothing behind them
can be due. There is one group: leaves of smaller rank, the ends of requests that came after it was
lowered, still take turns in the heap until they reach its level.
"""

from __future__ import annotations

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.leaf_heap import OFFSET, RANK, TAG, edge_of, last_of, pop
from replay.kernels.policies.ordered_counts import count, place_of
from replay.kernels.policies.ranked import look_up, make_room, store
from replay.kernels.policies.ranked_layout import (
    FEWEST,
    FIRST,
    HEAP_SIZE,
    LAST,
    LEVEL,
    MEMBER,
    MEMBERS,
    NEXT,
    NONE,
    PIVOT,
    PREVIOUS,
    RESIDENT,
    RUN,
    START,
    WAITING,
)
from replay.kernels.policies.ranked_runs import DEPTH_BITS, enter, replace_first, successor, trim

# --- members --------------------------------------------------------------------------------


@inner
def _join(t, edge):
    last = t.edges[edge, LAST]
    end = t.edges[edge, FIRST] + t.runs[t.edges[edge, RUN], START]
    after = t.ending[end]
    t.links[edge, MEMBER] = 1
    t.links[edge, PREVIOUS] = NONE
    t.links[edge, NEXT] = after
    if after != NONE:
        t.links[after, PREVIOUS] = edge
    t.ending[end] = edge
    count(t.by_last, last, 1)
    t.counters[MEMBERS] += 1
    if last > t.counters[PIVOT]:
        t.counters[WAITING] += 1


@inner
def _depart(t, edge):
    """Take an edge out of the group, with the blocks it still has."""
    last = t.edges[edge, LAST]
    resident = t.counters[LEVEL] - t.edges[edge, FIRST]
    if last > t.counters[PIVOT]:
        t.counters[WAITING] -= 1
        resident += 1
    t.counters[MEMBERS] -= 1
    count(t.by_last, last, -1)
    before = t.links[edge, PREVIOUS]
    after = t.links[edge, NEXT]
    t.links[edge, MEMBER] = 0
    if after != NONE:
        t.links[after, PREVIOUS] = before
    if before != NONE:
        t.links[before, NEXT] = after
    else:
        t.ending[t.edges[edge, FIRST] + t.runs[t.edges[edge, RUN], START]] = after
    trim(t, edge, resident)


@inner
def _release(t, edge, request):
    """Take an edge out of the group and let it, or what it gives way to, wait in the heap."""
    _depart(t, edge)
    leaf = successor(t, edge, request)
    if leaf != NONE:
        enter(t, leaf)


@inner
def _withdraw(t, request):
    """Take what a request uses out of the group."""
    for at in range(t.offsets[request], t.offsets[request + 1]):
        edge = t.path[at]
        if t.links[edge, MEMBER]:
            _depart(t, edge)
            successor(t, edge, request)  # if nothing is left of it, its parent has a child less


@inner
def _start_group(t):
    """Start a group with the first leaf of the heap."""
    rank = t.heap[OFFSET, RANK]
    uses = (rank + (1 << DEPTH_BITS) - 1) >> DEPTH_BITS
    t.counters[FEWEST] = uses
    t.counters[LEVEL] = (uses << DEPTH_BITS) - rank
    t.counters[PIVOT] = NONE


# --- eviction -------------------------------------------------------------------------------


@inner
def _trim_first(t, wanted, level, request):
    """Trim the first leaf of the heap, at or below the level; return how many blocks it lost."""
    rank = t.heap[OFFSET, RANK]
    tag = t.heap[OFFSET, TAG]
    edge = edge_of(tag)
    resident = t.edges[edge, RESIDENT]
    taken = min(wanted, resident - t.runs[t.edges[edge, RUN], START], max(level - rank, 1))
    for rival in range(OFFSET + 1, OFFSET + min(5, t.counters[HEAP_SIZE])):
        lead = t.heap[rival, RANK] - rank
        if last_of(tag) < last_of(t.heap[rival, TAG]):
            lead += 1
        taken = min(taken, lead)
    trim(t, edge, resident - taken)
    replace_first(t, successor(t, edge, request))
    return taken


@inner
def _end_round(t, request):
    """Go on to the next level: members that lost the first block of their run leave."""
    while t.ending[t.counters[LEVEL]] != NONE:
        _release(t, t.ending[t.counters[LEVEL]], request)
    t.counters[LEVEL] -= 1
    t.counters[PIVOT] = NONE
    t.counters[WAITING] = t.counters[MEMBERS]


@inner
def _lower(t, wanted, level):
    """Lower the group, as far as nothing happens meanwhile; return how many blocks it lost."""
    members = t.counters[MEMBERS]
    waiting = t.counters[WAITING]
    if wanted < waiting:
        t.counters[PIVOT] = place_of(t.by_last, members - waiting + wanted)
        t.counters[WAITING] -= wanted
        return wanted
    rounds = 1
    if waiting == members:
        most = wanted // members
        if t.counters[HEAP_SIZE] > 0:
            most = min(most, t.heap[OFFSET, RANK] - level)
        while rounds < most and t.ending[t.counters[LEVEL] - rounds + 1] == NONE:
            rounds += 1
    t.counters[LEVEL] -= rounds - 1
    t.counters[PIVOT] = t.offsets.shape[0]
    t.counters[WAITING] = 0
    return waiting + (rounds - 1) * members


@inner
def _evict_by_level(t, wanted, request):
    """Evict `wanted` blocks that `request` does not use; the caller knows there are enough."""
    while wanted > 0:
        size = t.counters[HEAP_SIZE]
        rank = t.heap[OFFSET, RANK]
        tag = t.heap[OFFSET, TAG]
        if size > 0 and t.edges[edge_of(tag), LAST] != last_of(tag):
            t.counters[HEAP_SIZE] = pop(t.heap, size)
            continue
        if t.counters[MEMBERS] == 0:
            _start_group(t)
        level = (t.counters[FEWEST] << DEPTH_BITS) - t.counters[LEVEL]
        if size > 0 and rank <= level:
            if rank == level and last_of(tag) > t.counters[PIVOT]:
                t.counters[HEAP_SIZE] = pop(t.heap, size)
                _join(t, edge_of(tag))
            else:
                wanted -= _trim_first(t, wanted, level, request)
        elif t.counters[WAITING] == 0:
            _end_round(t, request)
        else:
            wanted -= _lower(t, wanted, level)


@kernel
def replay_levelled(t, start, stop):
    """Replay requests start..stop under length_aware."""
    for request in range(start, stop):
        _withdraw(t, request)
        hit, missing = look_up(t, request)
        _evict_by_level(t, make_room(t, missing), request)
        store(t, request, hit)
