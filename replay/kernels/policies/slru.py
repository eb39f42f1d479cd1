"""Segmented LRU on runs of blocks; the protocol and what a run is: run_queues.py.

Two segments, each in order of recency (Karedla, Love, Wherry 1994). A missing block becomes the
newest on probation; a found one, whatever its segment, the newest of the protected. Where these
exceed their size (80 % of the capacity, rounded down) the oldest of them goes back to be the newest
on probation. Evicted is the oldest on probation, when the two hold `capacity` blocks together: a
probation longer than a fifth is cut only then. Worked example, 5 blocks, 4 of them protected, edges
a (3 blocks) and b (2):

    reference a, b, a     probation  b[0:2]            protected  a[0:3]
    reference b           probation  a[2:3]            protected  a[0:2]  b[0:2]
"""

from __future__ import annotations

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    FOUND,
    NEEDS_ROWS,
    OLDEST,
    POSITION,
    QUEUE,
    SIZE,
    advance,
    exchangeable,
    grow,
    length,
    missing,
    next_edge,
    next_run,
    rows_left,
    transfer,
    trim,
)

_PROBATION, _PROTECTED = 0, 1


@inner
def _protect(t, run):
    """Serve the deepest blocks of a run found on probation, as many as one step can."""
    wanted = length(t, run)
    if t.sizes[1] == 0:  # nothing is protected: what is promoted falls back at once
        advance(t, run, wanted, _PROBATION)
        return wanted
    room = t.sizes[1] - t.queues[_PROTECTED, SIZE]
    if room > 0:
        count = min(wanted, room)
        advance(t, run, count, _PROTECTED)
        return count
    demoted = t.queues[_PROTECTED, OLDEST]
    count = exchangeable(t, wanted, _PROTECTED, 0, demoted)
    advance(t, run, count, _PROTECTED)
    transfer(t, demoted, count, _PROBATION, 0)
    return count


@kernel
def replay_slru(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more.

    `t.sizes` is capacity, protected.
    """
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0:
                if t.rows[run, QUEUE] == _PROTECTED:
                    count = length(t, run)
                    advance(t, run, count, _PROTECTED)
                else:
                    count = _protect(t, run)
                t.now[FOUND] += count
                continue
            room = t.sizes[0] - t.queues[_PROBATION, SIZE] - t.queues[_PROTECTED, SIZE]
            if room > 0:
                grow(t, _PROBATION, min(wanted, room), 0)
                continue
            victim = t.queues[_PROBATION, OLDEST]
            count = exchangeable(t, wanted, _PROBATION, 0, victim)
            grow(t, _PROBATION, count, 0)
            trim(t, victim, count)
            t.now[EVICTED] += count
    return FINISHED
