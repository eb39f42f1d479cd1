"""SIEVE on runs of blocks; the protocol and what a run is: run_queues.py.

A found block is marked and stays where it is. The hand moves from the oldest block to the newest:
it clears the marks it meets, evicts the first block without one and rests on the next newer block;
past the newest it starts over at the oldest, also when the block it evicted was the newest. Marks
are those of whole runs, so the hand is always at the deep end of a run. Worked example, 4 blocks,
edges a (2 blocks), b (2), c (3), * is the mark:

    reference a, b, a     oldest  a[0:2]*  b[0:2]            newest
    reference c2, c1      oldest  a[0:2]  c[1:3]             b1 and b0 went; the hand is at c2
    reference c0          oldest  a[0:2]  c[0:2]             c2 went; the hand is at c1
"""

from __future__ import annotations

from replay.kernels.jit import kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    HAND,
    MARK,
    NEEDS_ROWS,
    NEWER,
    NEWEST,
    NONE,
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
    trim,
)

_QUEUE = 0


@kernel
def replay_sieve(t):
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
                if t.now[HAND] != run:  # the hand stays at the deep end of a run
                    merge_above(t, run)
                continue
            room = capacity - t.queues[_QUEUE, SIZE]
            if room > 0:
                grow(t, _QUEUE, min(wanted, room), 0)
                continue
            hand = t.now[HAND]
            if hand == NONE:
                hand = t.queues[_QUEUE, OLDEST]
            while t.rows[hand, MARK] > 0:
                t.rows[hand, MARK] = 0
                hand = t.rows[hand, NEWER]
                if hand == NONE:
                    hand = t.queues[_QUEUE, OLDEST]
            if hand == t.queues[_QUEUE, NEWEST] and length(t, hand) == 1:
                grow(t, _QUEUE, 1, 0)
                trim(t, hand, 1)
                t.now[HAND] = NONE
                t.now[EVICTED] += 1
                continue
            count = exchangeable(t, wanted, _QUEUE, 0, hand)
            grow(t, _QUEUE, count, 0)
            t.now[HAND] = t.rows[hand, NEWER] if length(t, hand) == count else hand
            trim(t, hand, count)
            t.now[EVICTED] += count
    return FINISHED
