"""FIFO and CLOCK on runs of blocks; the protocol and what a run is: run_queues.py.

FIFO evicts the block inserted first. CLOCK, or second chance (one bit): a found block is marked;
a marked block at the oldest end loses its mark and becomes the newest instead of being evicted.
Worked example, CLOCK of 4 blocks, edges a (2 blocks), b (2), c (1), * is the mark:

    reference a, b, a     oldest  a[0:2]*  b[0:2]            newest
    reference c           oldest  b[0:1]  a[0:2]  c[0:1]     a goes round whole, b1 is evicted
"""

from __future__ import annotations

from replay.kernels.jit import kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    MARK,
    NEEDS_ROWS,
    OLDEST,
    POSITION,
    SIZE,
    exchangeable,
    grow,
    length,
    merge_above,
    missing,
    next_edge,
    next_run,
    reach,
    rows_left,
    transfer,
    trim,
)

_QUEUE = 0


@kernel
def replay_fifo(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more."""
    capacity = t.sizes[0]
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0:
                reach(t, run)
                continue
            room = capacity - t.queues[_QUEUE, SIZE]
            if room > 0:
                grow(t, _QUEUE, min(wanted, room), 0)
                continue
            victim = t.queues[_QUEUE, OLDEST]
            count = exchangeable(t, wanted, _QUEUE, 0, victim)
            grow(t, _QUEUE, count, 0)
            trim(t, victim, count)
            t.now[EVICTED] += count
    return FINISHED


@kernel
def replay_clock(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more."""
    capacity = t.sizes[0]
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0:
                t.rows[run, MARK] = 1
                reach(t, run)
                merge_above(t, run)
                continue
            room = capacity - t.queues[_QUEUE, SIZE]
            if room > 0:
                grow(t, _QUEUE, min(wanted, room), 0)
                continue
            victim = t.queues[_QUEUE, OLDEST]
            if t.rows[victim, MARK] > 0:
                transfer(t, victim, length(t, victim), _QUEUE, 0)
                continue
            count = exchangeable(t, wanted, _QUEUE, 0, victim)
            grow(t, _QUEUE, count, 0)
            trim(t, victim, count)
            t.now[EVICTED] += count
    return FINISHED
