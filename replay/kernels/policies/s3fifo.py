"""S3-FIFO on runs of blocks; the protocol and what a run is: run_queues.py.

Three first-in-first-out queues: small (a tenth), main (the rest), and ghosts of what small evicted.
A found block's frequency goes up, to 3 at most. A missing block enters main where it is a ghost and
small where not; before the first eviction a full small queue overflows into main. Evictions come
from main while it is over its size or small is empty, else from small. Small: frequency 2 or more
moves to main with frequency 0, else out and among the ghosts. Main: frequency 1 or more becomes the
newest again with one less, else out. Of capacities under 10 blocks small still gets one.
"""

from __future__ import annotations

from replay.kernels.jit import inner, kernel
from replay.kernels.policies.run_queues import (
    EVICTED,
    FINISHED,
    FIRST_GHOST,
    MARK,
    NEEDS_ROWS,
    NONE,
    OLDEST,
    POSITION,
    QUEUE,
    SIZE,
    advance,
    exchangeable,
    grow,
    length,
    merge_above,
    missing,
    next_edge,
    next_run,
    reach,
    remember,
    rows_left,
    transfer,
    trim,
)

_SMALL, _MAIN, _GHOST = 0, 1, FIRST_GHOST
_MOST_FREQUENT = 3
_TO_MAIN = 2


@inner
def _victim(t):
    """Return the run to evict from, after those that move to main or go round instead."""
    while True:
        if t.queues[_MAIN, SIZE] > t.sizes[2] or t.queues[_SMALL, SIZE] == 0:
            victim = t.queues[_MAIN, OLDEST]
            frequency = t.rows[victim, MARK]
            if frequency == 0:
                return victim
            transfer(t, victim, length(t, victim), _MAIN, frequency - 1)
            continue
        victim = t.queues[_SMALL, OLDEST]
        while victim != NONE and t.rows[victim, MARK] >= _TO_MAIN:
            transfer(t, victim, length(t, victim), _MAIN, 0)
            victim = t.queues[_SMALL, OLDEST]
        if victim != NONE:  # main may have grown over its size: then it is next
            return victim


@inner
def _steps(t, victim, queue):
    """Return for how many insertions into `queue` evictions stay in the queue of `victim`."""
    over = t.queues[_MAIN, SIZE] - t.sizes[2]
    if t.rows[victim, QUEUE] == _MAIN:
        if queue == _MAIN:
            return t.sizes[0]
        return max(over, 1)  # main shrinks; small has blocks from now on
    if queue == _SMALL:
        return t.sizes[0] if over <= 0 else 1
    return max(1 - over, 1)  # main grows


@inner
def _evict(t, victim, count):
    """Evict the `count` deepest blocks of a run; those of small become ghosts."""
    t.now[EVICTED] += count
    if t.rows[victim, QUEUE] == _SMALL:
        remember(t, victim, count, _GHOST, t.sizes[3])
    else:
        trim(t, victim, count)


@kernel
def replay_s3fifo(t):
    """Replay from where `t.now` is; return FINISHED, or NEEDS_ROWS to be called again with more.

    `t.sizes` is capacity, small, main, ghosts.
    """
    while next_edge(t):
        while t.now[POSITION] > 0:
            if not rows_left(t):
                return NEEDS_ROWS
            run = next_run(t)
            wanted = missing(t, run)
            if wanted == 0 and t.rows[run, QUEUE] != _GHOST:
                t.rows[run, MARK] = min(t.rows[run, MARK] + 1, _MOST_FREQUENT)
                reach(t, run)
                merge_above(t, run)
                continue
            room = t.sizes[0] - t.queues[_SMALL, SIZE] - t.queues[_MAIN, SIZE]
            if room > 0:
                small_room = t.sizes[1] - t.queues[_SMALL, SIZE]
                if small_room > 0:
                    grow(t, _SMALL, min(wanted, room, small_room), 0)
                else:
                    grow(t, _MAIN, min(wanted, room), 0)
                continue
            victim = _victim(t)
            if wanted > 0:
                count = exchangeable(t, wanted, _SMALL, 0, victim)
                count = min(count, _steps(t, victim, _SMALL))
                grow(t, _SMALL, count, 0)
            else:
                count = exchangeable(t, length(t, run), _MAIN, 0, victim)
                count = min(count, _steps(t, victim, _MAIN))
                advance(t, run, count, _MAIN)
            _evict(t, victim, count)
    return FINISHED
