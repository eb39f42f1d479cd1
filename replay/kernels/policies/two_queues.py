"""2Q on runs of blocks; the protocol and what a run is: run_queues.py.

The full version of Johnson and Shasha (VLDB 1994). A missing block enters a first-in-first-out
queue, A1in, where being found changes nothing; one whose ghost is in A1out enters Am, which is in
order of recency. Where the cache is full, the oldest of A1in becomes a ghost if A1in holds more
than Kin blocks (25 % of the capacity) or Am none, else the oldest of Am is evicted and leaves no
ghost. A1out remembers Kout blocks (50 %). A ghost that is referenced is forgotten first, so there
is room in A1out for the block evicted in its favour.
"""

from __future__ import annotations

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    FIRST_GHOST,
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
    reach,
    remember,
    rows_left,
    trim,
)

_A1IN, _AM, _A1OUT = 0, 1, FIRST_GHOST


@inner
def _steps(t, source, queue):
    """Return for how many insertions into `queue` the queue evicted from stays `source`."""
    over = t.queues[_A1IN, SIZE] - t.sizes[1]
    if source == queue:
        return t.sizes[0]
    if source == _AM:
        return 1 - over  # A1in grows past its size
    return max(over, 1)  # A1in shrinks; Am has blocks from now on


@kernel
def replay_two_queues(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more.

    `t.sizes` is capacity, Kin, Kout.
    """
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0 and t.rows[run, QUEUE] == _A1IN:
                reach(t, run)
                continue
            if wanted == 0 and t.rows[run, QUEUE] == _AM:
                count = length(t, run)
                advance(t, run, count, _AM)
                t.now[FOUND] += count
                continue
            room = t.sizes[0] - t.queues[_A1IN, SIZE] - t.queues[_AM, SIZE]
            if room > 0:
                grow(t, _A1IN, min(wanted, room), 0)
                continue
            queue = _A1IN if wanted > 0 else _AM
            if wanted == 0:
                wanted = length(t, run)
            source = _A1IN
            if t.queues[_AM, SIZE] > 0 and t.queues[_A1IN, SIZE] <= t.sizes[1]:
                source = _AM
            victim = t.queues[source, OLDEST]
            count = exchangeable(t, wanted, queue, 0, victim)
            count = min(count, _steps(t, source, queue))
            if queue == _A1IN:
                grow(t, _A1IN, count, 0)
            else:
                advance(t, run, count, _AM)
            t.now[EVICTED] += count
            if source == _A1IN:
                remember(t, victim, count, _A1OUT, t.sizes[2])
            else:
                trim(t, victim, count)
    return FINISHED
