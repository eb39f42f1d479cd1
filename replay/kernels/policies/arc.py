"""ARC on runs of blocks; the protocol and what a run is: run_queues.py.

Megiddo and Modha (FAST 2003). T1 holds blocks referenced once of late, T2 those referenced again,
both in order of recency; B1 and B2 are the ghosts of what either lost. A found block becomes the
newest of T2. A ghost in B1 raises the size p that T1 is meant to have by max(1, |B2| / |B1|), one
in B2 lowers it by max(1, |B1| / |B2|), sizes taken before it is forgotten; the block then enters
T2. Any other missing block enters T1. To make room, the oldest of T1 becomes a ghost in B1 if T1
holds more than p blocks, or exactly p and the ghost was in B2, or T2 is empty; else the oldest of
T2 one in B2. Before that, for a block in neither ghost list: where T1 and B1 hold `capacity`
together the oldest of B1 is forgotten, or, B1 being empty, the oldest of T1 is evicted and that is
all; else, where the four hold twice the capacity, the oldest of B2 is forgotten.

As in libCacheSim, p is a float64 and moves by fractions. While the same queue is evicted from, the
sizes change by one a block or not at all, so a whole stretch is served at once; p alone is counted
up block by block.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    FIRST_GHOST,
    FOUND,
    NEEDS_ROWS,
    NONE,
    OLDEST,
    POSITION,
    QUEUE,
    SIZE,
    advance,
    exchangeable,
    forget,
    grow,
    length,
    missing,
    next_edge,
    next_run,
    remember,
    rows_left,
)

_T1, _T2, _B1, _B2 = 0, 1, FIRST_GHOST, FIRST_GHOST + 1


@inner
def _raised(t, source, most):
    """Move p for up to `most` ghosts of B1 found one after another; return for how many.

    It ends before the ghost in whose favour a block of the queue other than `source` is evicted;
    the first ghost is served if `source`, which holds `most` blocks at least where it is T1, is
    right for it. An empty T2 needs no thought: T1 is then full and B1 empty. Sizes are float64,
    exact below 2^53.
    """
    capacity = np.float64(t.sizes[0])
    t1 = np.float64(t.queues[_T1, SIZE])
    b1 = np.float64(t.queues[_B1, SIZE])
    b2 = np.float64(t.queues[_B2, SIZE])
    p = t.target[0]
    count = 0
    if source == _T1:
        step = max(b2 / b1, 1.0)  # one ghost less, one more: the sizes stay
        while count < most:
            moved = min(p + step, capacity)
            if t1 <= moved:
                break
            p = moved
            t1 -= 1.0
            count += 1
    else:
        while count < most and p < capacity:
            moved = min(p + (b2 / b1 if b2 > b1 else 1.0), capacity)
            if t1 > moved:
                break
            p = moved
            b1 -= 1.0
            b2 += 1.0
            count += 1
        if p == capacity:  # as high as it goes: T1 is never above it
            count = most
    t.target[0] = p
    return count


@inner
def _lowered(t, source, most):
    """Move p for up to `most` ghosts of B2 found one after another; return for how many.

    As `_raised`.
    """
    t1 = np.float64(t.queues[_T1, SIZE])
    b1 = np.float64(t.queues[_B1, SIZE])
    b2 = np.float64(t.queues[_B2, SIZE])
    p = t.target[0]
    count = 0
    if source == _T1:
        while count < most:
            moved = max(p - (b1 / b2 if b1 > b2 else 1.0), 0.0)
            if t1 < moved:
                break
            p = moved
            t1 -= 1.0
            b1 += 1.0
            b2 -= 1.0
            count += 1
    else:
        step = max(b1 / b2, 1.0)
        while count < most:
            moved = max(p - step, 0.0)
            if t1 > 0.0 and t1 >= moved:
                break
            p = moved
            count += 1
    t.target[0] = p
    return count


@inner
def _from_ghosts(t, run):
    """Bring ghosts back to T2; return (victim, blocks to evict from it, its ghosts)."""
    raised = t.rows[run, QUEUE] == _B1
    count = 0
    for source in range(_T1, _T2 + 1):
        victim = t.queues[source, OLDEST]
        if victim == NONE:
            continue
        most = exchangeable(t, length(t, run), _T2, 0, victim)
        count = _raised(t, source, most) if raised else _lowered(t, source, most)
        if count > 0:
            break
    into = _B1 if source == _T1 else _B2
    advance(t, run, count, _T2)
    return victim, count, into


@inner
def _from_nowhere(t, wanted):
    """Insert missing blocks into T1; return (victim, blocks to evict, its ghosts, most of them)."""
    capacity = t.sizes[0]
    t1 = t.queues[_T1, SIZE]
    t2 = t.queues[_T2, SIZE]
    b1 = t.queues[_B1, SIZE]
    b2 = t.queues[_B2, SIZE]
    from_t1 = t2 == 0 or (t1 > 0 and t1 > t.target[0])
    victim = t.queues[_T1 if from_t1 else _T2, OLDEST]
    count = exchangeable(t, wanted, _T1, 0, victim)
    if not from_t1:
        count = min(count, np.int64(t.target[0]) - t1 + 1)  # T1 outgrows p
    into = _B1 if from_t1 else _B2
    most = 2 * capacity
    if t1 + b1 >= capacity:  # both stay at that: T1 is all, or B1 loses one for each
        if from_t1:
            most = b1
        else:
            count = min(count, b1)
            forget(t, _B1, count)
    else:
        count = min(count, capacity - t1 - b1)
        spare = capacity - b1 - b2
        if spare > 0:
            count = min(count, spare)
        elif from_t1:
            count = min(count, b2)
            forget(t, _B2, count)
        else:
            most = b2
    grow(t, _T1, count, 0)
    return victim, count, into, most


@kernel
def replay_arc(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more.

    `t.sizes` is capacity; `t.target` is p.
    """
    capacity = t.sizes[0]
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0 and t.rows[run, QUEUE] < FIRST_GHOST:
                count = length(t, run)
                advance(t, run, count, _T2)
                t.now[FOUND] += count
                continue
            room = capacity - t.queues[_T1, SIZE] - t.queues[_T2, SIZE]
            if room > 0:
                grow(t, _T1, min(wanted, room), 0)
                continue
            if wanted > 0:
                victim, count, into, most = _from_nowhere(t, wanted)
            else:
                victim, count, into = _from_ghosts(t, run)
                most = 2 * capacity
            t.now[EVICTED] += count
            remember(t, victim, count, into, most)
    return FINISHED
