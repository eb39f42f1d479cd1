"""Eviction by idle age: one recency queue for all blocks, or one for each category of requests.

Protocol and pins are those of ranked.py. All blocks of an edge were used last by the same request,
so a queue holds edges, used longest ago first and, of one request, the deepest first; eviction
trims the first edge of a queue from its deep end. Two policies:

- ttl: one queue, least recently used first; before each look-up, whatever was idle for longer than
  the time to live is dropped.
- workload_aware: the queue of a block is that of the request that used it last. Only the first
  block of each queue may go: the one of the least probability to be used again within the time
  that blocks live, among equals the deepest, then the least recently used. Reuse times of category
  w are taken to be exponential with mean m; a block idle for t is used again in (t, t + life] with

      P = exp(-t / m) - exp(-(t + life) / m),   log P = -t / m + log(1 - exp(-life / m))

  m is the mean of the reuse times seen so far of blocks last used by category w, each block once,
  together with one such time of the mean of all categories (`life` before any reuse). `life` is
  the mean idle age at which blocks were evicted so far, the time passed before any were, at least
  1 ns. Both stay as they are while a request evicts. Rule: KVCache Cache in the Wild (USENIX ATC
  2025), section 5; how the fit is kept up to date is ours.

A parent may be used last by a category that seldom returns, so workload_aware leaves holes: blocks
found behind a missing one are counted as stranded. Probabilities are the one place where a policy
computes in floating point; it compares log P, which does not underflow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from replay.kernels.jit import inner, kernel

NONE = -1

# An edge: RESIDENT of its LENGTH blocks are resident; FIRST is the index of its first block along
# the prompt. QUEUE is the category of the request that used it LAST.
RESIDENT, LENGTH, FIRST, OLDER, NEWER, LAST, QUEUE = range(7)
EDGE_COLUMNS = 8

OLDEST, NEWEST = 0, 1

# Of a category: summed reuse times in ns and how many, mean reuse time in ns, log(1 - exp(-l/m)),
# log P of the first block of its queue.
REUSE_NS, REUSES, MEAN_NS, LOG_WITHIN, LOG_REUSE = range(5)
FIT_COLUMNS = 5

USED, FOUND, EVICTED = range(3)
COUNTERS = 3

# Of all blocks: reuse times in ns and how many; idle ages at eviction in ns and how many.
ALL_REUSE_NS, ALL_REUSES, IDLE_NS, IDLES = range(4)
SUMS = 4

CAPACITY, TTL_NS, BY_CATEGORY = range(3)
RULES = 3
FOREVER = -1


class Recency(NamedTuple):
    """Edges (E), K queues and what else changes; R requests, P places on all paths.

    `edges` int32[E, EDGE_COLUMNS], `queues` int32[K, 2], `fits` float64[K, FIT_COLUMNS], `sums`
    float64[SUMS], `counters` int64[COUNTERS], `rules` int64[RULES], `offsets` int64[R + 1],
    `path` int32[P], `limit` int64[R], `category` int32[R], `arrival_ns` int64[R], which never
    falls, `hits` int64[R].
    """

    edges: np.ndarray
    queues: np.ndarray
    fits: np.ndarray
    sums: np.ndarray
    counters: np.ndarray
    rules: np.ndarray
    offsets: np.ndarray
    path: np.ndarray
    limit: np.ndarray
    category: np.ndarray
    arrival_ns: np.ndarray
    hits: np.ndarray


# --- queues ---------------------------------------------------------------------------------


@inner
def _append(t, edge, queue):
    newest = t.queues[queue, NEWEST]
    t.edges[edge, QUEUE] = queue
    t.edges[edge, OLDER] = newest
    t.edges[edge, NEWER] = NONE
    if newest == NONE:
        t.queues[queue, OLDEST] = edge
    else:
        t.edges[newest, NEWER] = edge
    t.queues[queue, NEWEST] = edge


@inner
def _unlink(t, edge):
    queue = t.edges[edge, QUEUE]
    older = t.edges[edge, OLDER]
    newer = t.edges[edge, NEWER]
    if older == NONE:
        t.queues[queue, OLDEST] = newer
    else:
        t.edges[older, NEWER] = newer
    if newer == NONE:
        t.queues[queue, NEWEST] = older
    else:
        t.edges[newer, OLDER] = older


@inner
def _trim(t, edge, blocks):
    t.edges[edge, RESIDENT] -= blocks
    t.counters[EVICTED] += blocks
    if t.edges[edge, RESIDENT] == 0:
        _unlink(t, edge)


@inner
def _expire(t, now_ns):
    edge = t.queues[0, OLDEST]
    while edge != NONE and now_ns - t.arrival_ns[t.edges[edge, LAST]] > t.rules[TTL_NS]:
        newer = t.edges[edge, NEWER]
        t.counters[USED] -= t.edges[edge, RESIDENT]
        _trim(t, edge, t.edges[edge, RESIDENT])
        edge = newer


# --- which block goes -----------------------------------------------------------------------


@inner
def _fit(t, now_ns):
    """Bring the distributions of all categories up to date."""
    life = now_ns - t.arrival_ns[0]
    if t.sums[IDLES] > 0:
        life = t.sums[IDLE_NS] / t.sums[IDLES]
    life = max(life, 1.0)
    overall = life
    if t.sums[ALL_REUSES] > 0:
        overall = max(t.sums[ALL_REUSE_NS] / t.sums[ALL_REUSES], 1.0)
    for queue in range(t.queues.shape[0]):
        if t.queues[queue, OLDEST] != NONE:
            mean = (t.fits[queue, REUSE_NS] + overall) / (t.fits[queue, REUSES] + 1.0)
            t.fits[queue, MEAN_NS] = mean
            t.fits[queue, LOG_WITHIN] = math.log1p(-math.exp(-life / mean))
            _weigh_first(t, queue, now_ns)


@inner
def _weigh_first(t, queue, now_ns):
    """Compute log P of the first block of a queue."""
    edge = t.queues[queue, OLDEST]
    if edge != NONE:
        idle = now_ns - t.arrival_ns[t.edges[edge, LAST]]
        t.fits[queue, LOG_REUSE] = -idle / t.fits[queue, MEAN_NS] + t.fits[queue, LOG_WITHIN]


@inner
def _goes_before(t, queue, other):
    """Return whether the first block of a queue goes before that of another one."""
    if t.fits[queue, LOG_REUSE] != t.fits[other, LOG_REUSE]:
        return t.fits[queue, LOG_REUSE] < t.fits[other, LOG_REUSE]
    edge = t.queues[queue, OLDEST]
    rival = t.queues[other, OLDEST]
    deep = t.edges[edge, FIRST] + t.edges[edge, RESIDENT]
    rival_deep = t.edges[rival, FIRST] + t.edges[rival, RESIDENT]
    if deep != rival_deep:
        return deep > rival_deep
    return t.edges[edge, LAST] < t.edges[rival, LAST]


@inner
def _first_queue(t):
    """Return (queue, tied): where the next block goes from, and whether depth had to decide."""
    best = NONE
    tied = False
    for queue in range(t.queues.shape[0]):
        if t.queues[queue, OLDEST] != NONE:
            if best == NONE:
                best = queue
            else:
                same = t.fits[queue, LOG_REUSE] == t.fits[best, LOG_REUSE]
                if _goes_before(t, queue, best):
                    best = queue
                    tied = same
                else:
                    tied = tied or same
    return best, tied


@inner
def _evict(t, wanted, now_ns):
    """Evict `wanted` blocks that no queue has lost to the running request."""
    by_category = t.rules[BY_CATEGORY]
    idle_ns = 0.0
    idles = wanted
    if by_category:
        _fit(t, now_ns)
    while wanted > 0:
        queue = 0
        tied = False
        if by_category:
            queue, tied = _first_queue(t)
        edge = t.queues[queue, OLDEST]
        taken = min(wanted, t.edges[edge, RESIDENT])
        if tied:
            taken = 1
        if by_category:
            idle_ns += float(taken * (now_ns - t.arrival_ns[t.edges[edge, LAST]]))
        _trim(t, edge, taken)
        if by_category and t.queues[queue, OLDEST] != edge:
            _weigh_first(t, queue, now_ns)
        wanted -= taken
    t.sums[IDLE_NS] += idle_ns
    t.sums[IDLES] += idles


# --- requests -------------------------------------------------------------------------------


@inner
def _look_up(t, request):
    """Return the missing blocks of a request that will be kept, and pin its path."""
    limit = t.limit[request]
    hit = 0
    missing = 0
    unbroken = True
    for at in range(t.offsets[request], t.offsets[request + 1]):
        edge = t.path[at]
        first = t.edges[edge, FIRST]
        length = t.edges[edge, LENGTH]
        resident = t.edges[edge, RESIDENT]
        if unbroken:
            hit += resident
            unbroken = resident == length
        t.counters[FOUND] += max(0, min(resident, limit - first))
        if resident > 0:
            _unlink(t, edge)
        kept = min(length, max(0, t.rules[CAPACITY] - first))
        missing += kept - resident
        t.counters[EVICTED] += max(0, resident - kept)
    t.hits[request] = min(hit, limit)
    return missing


@inner
def _learn(t, edge, now_ns):
    """Take note of how long the blocks of an edge were not used, if they were used before."""
    if t.edges[edge, LAST] != NONE:
        length = t.edges[edge, LENGTH]
        idle_ns = float(length * (now_ns - t.arrival_ns[t.edges[edge, LAST]]))
        t.fits[t.edges[edge, QUEUE], REUSE_NS] += idle_ns
        t.fits[t.edges[edge, QUEUE], REUSES] += length
        t.sums[ALL_REUSE_NS] += idle_ns
        t.sums[ALL_REUSES] += length


@inner
def _keep(t, request, now_ns):
    """Keep the path of a request at the recent end of its queue, deepest first."""
    queue = t.category[request] if t.rules[BY_CATEGORY] else 0
    for at in range(t.offsets[request + 1] - 1, t.offsets[request] - 1, -1):
        edge = t.path[at]
        if t.rules[BY_CATEGORY]:
            _learn(t, edge, now_ns)
        kept = min(t.edges[edge, LENGTH], max(0, t.rules[CAPACITY] - t.edges[edge, FIRST]))
        t.edges[edge, LAST] = request
        t.edges[edge, RESIDENT] = kept
        t.edges[edge, QUEUE] = queue
        if kept > 0:
            _append(t, edge, queue)


@kernel
def replay_recency(t, start, stop):
    """Replay requests start..stop."""
    for request in range(start, stop):
        now_ns = t.arrival_ns[request]
        if t.rules[TTL_NS] != FOREVER:
            _expire(t, now_ns)
        used = t.counters[USED] + _look_up(t, request)
        if used > t.rules[CAPACITY]:
            _evict(t, used - t.rules[CAPACITY], now_ns)
            used = t.rules[CAPACITY]
        t.counters[USED] = used
        _keep(t, request, now_ns)
