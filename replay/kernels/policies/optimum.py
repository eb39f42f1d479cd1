"""The offline optimum: evict the block whose next hit is furthest away.

The next hit of a block is the next request on whose path it lies, or none where it lies beyond
what that request may look up (its last block, its response): there it is computed again in any
case, so keeping it until then is worth nothing. Blocks without a next hit go first, those used
longest ago before others; then those of the latest next hit; the deepest first among equals.
Protocol and pins are those of ranked.py. With bypass the blocks of a request may be dropped as
soon as it has ended, whatever else is resident. Why this is optimal: docs/optimum.md.

No heap is needed. All blocks whose next hit is request n lie on the path of n, so they wait in a
queue of their own, the deepest first; the latest queue that is not empty comes from calendar.py.
An edge is used whole, so its blocks wait together, except that the last ones may lie beyond the
next request's limit: its first USEFUL blocks wait for the next hit, the rest are on a list of
blocks to drop. Worked example, 4 blocks, requests AB, C, AD, AB of 2-block edges:

    after 0   queue 2: A    queue 3: B
    request 1 needs 2 blocks: the latest queue is 3, B goes
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.calendar import add, discard, latest

NONE = -1

# An edge: RESIDENT of its LENGTH blocks are resident; FIRST is the index of its first block along
# the prompt. BEHIND is the edge after it in its queue, OLDER and NEWER its neighbours on the list.
RESIDENT, LENGTH, FIRST, USEFUL, BEHIND, OLDER, NEWER = range(7)
EDGE_COLUMNS = 8

FRONT, BACK = 0, 1

USED, FOUND, EVICTED, OLDEST, NEWEST = range(5)
COUNTERS = 5

CAPACITY, BYPASS, LAST = range(3)
RULES = 3


class Future(NamedTuple):
    """Edges (E), a queue for each of R requests, and what else changes; P places on all paths.

    `edges` int32[E, EDGE_COLUMNS], `queues` int32[R, 2], `words` uint64 and `levels` int64 of the
    calendar, `before` int32 as long as the longest path, `counters` int64[COUNTERS], `rules`
    int64[RULES], `offsets` int64[R + 1], `path` int32[P], `next` int32[P], `limit` int64[R],
    `hits` int64[R].
    """

    edges: np.ndarray
    queues: np.ndarray
    words: np.ndarray
    levels: np.ndarray
    before: np.ndarray
    counters: np.ndarray
    rules: np.ndarray
    offsets: np.ndarray
    path: np.ndarray
    next: np.ndarray
    limit: np.ndarray
    hits: np.ndarray


@kernel
def find_next_uses(offsets, path, upcoming, following):
    """Write for every place on a path which request uses its edge next, -1 where none does.

    `upcoming` int32[E] starts as -1 everywhere and is spoilt; `following` int32[P] is written.
    """
    for request in range(offsets.shape[0] - 2, -1, -1):
        for at in range(offsets[request], offsets[request + 1]):
            following[at] = upcoming[path[at]]
            upcoming[path[at]] = request


# --- the list of blocks to drop -------------------------------------------------------------


@inner
def _list_newest(t, edge):
    newest = t.counters[NEWEST]
    t.edges[edge, OLDER] = newest
    t.edges[edge, NEWER] = NONE
    if newest == NONE:
        t.counters[OLDEST] = edge
    else:
        t.edges[newest, NEWER] = edge
    t.counters[NEWEST] = edge


@inner
def _unlist(t, edge):
    older = t.edges[edge, OLDER]
    newer = t.edges[edge, NEWER]
    if older == NONE:
        t.counters[OLDEST] = newer
    else:
        t.edges[older, NEWER] = newer
    if newer == NONE:
        t.counters[NEWEST] = older
    else:
        t.edges[newer, OLDER] = older


# --- queues ---------------------------------------------------------------------------------


@inner
def _wait_for(t, edge, request):
    """Put an edge at the back of a request's queue: what waits there already is deeper."""
    back = t.queues[request, BACK]
    if t.queues[request, FRONT] == NONE:
        t.queues[request, FRONT] = edge
        add(t.words, t.levels, t.rules[LAST], request)
    else:
        t.edges[back, BEHIND] = edge
    t.edges[edge, BEHIND] = NONE
    t.queues[request, BACK] = edge


@inner
def _evict(t, wanted):
    """Evict `wanted` blocks; the caller has checked that so many wait or are to be dropped."""
    t.counters[EVICTED] += wanted
    while wanted > 0:
        edge = t.counters[OLDEST]
        if edge != NONE:
            taken = min(wanted, t.edges[edge, RESIDENT] - t.edges[edge, USEFUL])
            t.edges[edge, RESIDENT] -= taken
            if t.edges[edge, RESIDENT] == t.edges[edge, USEFUL]:
                _unlist(t, edge)
        else:
            request = latest(t.words, t.levels, t.rules[LAST])
            edge = t.queues[request, FRONT]
            taken = min(wanted, t.edges[edge, RESIDENT])
            t.edges[edge, RESIDENT] -= taken
            if t.edges[edge, RESIDENT] == 0:
                t.queues[request, FRONT] = t.edges[edge, BEHIND]
                if t.edges[edge, BEHIND] == NONE:
                    discard(t.words, t.levels, t.rules[LAST], request)
        wanted -= taken


# --- requests -------------------------------------------------------------------------------


@inner
def _look_up(t, request):
    """Return the missing blocks of a request that will be kept, and pin its path.

    Whatever waits for this request is on its path, and what of it is to be dropped is spared.
    """
    start = t.offsets[request]
    limit = t.limit[request]
    hit = 0
    missing = 0
    unbroken = True
    for at in range(start, t.offsets[request + 1]):
        edge = t.path[at]
        first = t.edges[edge, FIRST]
        length = t.edges[edge, LENGTH]
        resident = t.edges[edge, RESIDENT]
        if unbroken:
            hit += resident
            unbroken = resident == length
        t.counters[FOUND] += max(0, min(resident, limit - first))
        if resident > t.edges[edge, USEFUL]:
            _unlist(t, edge)
        t.before[at - start] = resident
        if t.rules[BYPASS]:
            missing += length - resident
        else:
            kept = min(length, max(0, t.rules[CAPACITY] - first))
            missing += kept - resident
            t.counters[EVICTED] += max(0, resident - kept)
    t.hits[request] = min(hit, limit)
    if t.queues[request, FRONT] != NONE:
        t.queues[request, FRONT] = NONE
        discard(t.words, t.levels, t.rules[LAST], request)
    return missing


@inner
def _keep(t, request):
    """Keep the path of a request, deepest first: each block waits, or is listed to be dropped."""
    start = t.offsets[request]
    for at in range(t.offsets[request + 1] - 1, start - 1, -1):
        edge = t.path[at]
        first = t.edges[edge, FIRST]
        kept = t.edges[edge, LENGTH]
        if not t.rules[BYPASS]:
            kept = min(kept, max(0, t.rules[CAPACITY] - first))
        following = t.next[at]
        useful = 0
        if following != NONE:
            useful = min(kept, max(0, t.limit[following] - first))
        t.edges[edge, RESIDENT] = kept
        t.edges[edge, USEFUL] = useful
        if useful > 0:
            _wait_for(t, edge, following)
        if kept > useful:
            _list_newest(t, edge)


@inner
def _passed_over(t, request):
    """Return how many blocks a request computed that were not kept at all: no evictions."""
    start = t.offsets[request]
    passed = 0
    for at in range(start, t.offsets[request + 1]):
        edge = t.path[at]
        kept = max(t.edges[edge, RESIDENT], t.before[at - start])
        passed += t.edges[edge, LENGTH] - kept
    return passed


@kernel
def replay_optimum(t, start, stop):
    """Replay requests start..stop."""
    for request in range(start, stop):
        used = t.counters[USED] + _look_up(t, request)
        excess = used - t.rules[CAPACITY]
        if t.rules[BYPASS]:
            _keep(t, request)
            if excess > 0:
                _evict(t, excess)
                t.counters[EVICTED] -= _passed_over(t, request)
        else:
            if excess > 0:
                _evict(t, excess)
            _keep(t, request)
        t.counters[USED] = min(used, t.rules[CAPACITY])
