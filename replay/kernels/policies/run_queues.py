"""Queues of blocks, kept as runs: what FIFO, CLOCK, SIEVE, S3-FIFO, SLRU, 2Q and ARC share.

Protocol, one for all: a request is looked up, which finds its longest resident prefix and changes
nothing; then the blocks of its whole path, prompt and response, are *referenced* one after another,
deepest first, as engines free them. A reference is one access of a plain cache of `capacity`
blocks: found, and the policy's rule for hits applies, or inserted, and the policy's rule for
evictions applies where the cache is full. Nothing is pinned: a request's own shallower blocks may
be evicted before their turn.

A *run* is a stretch of blocks of one edge that lie next to each other in one queue with the same
mark (visited bit or frequency). **Invariant: the deepest block of a run is its oldest.** References
come deepest first and evictions take the oldest, so what enters or leaves a run does so at its
ends, and a stretch is served in one step up to where the policy would decide otherwise. Ghosts,
which remember blocks that are gone, are runs in further queues. Worked example, FIFO of 6 blocks,
edges a and b of 4 blocks each:

    reference a: a3 a2 a1 a0     oldest  a[0:4]              newest
    reference b: b3 b2           oldest  a[0:4]  b[2:4]              full
                 b1 b0           oldest  a[0:2]  b[0:4]              a3 and a2 are evicted
    reference a: a3 a2           oldest  b[0:4]  a[2:4]              a1 and a0 go before their turn,
                 a1 a0           oldest  b[0:2]  a[0:4]              so all four are inserted again

Runs of an edge are chained from the deepest to the shallowest. Row e of the table holds edge e and
one of its runs, because most edges never have two; the other runs have rows behind the edges'.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.jit import inner
from replay.kernels.policies.prefetch import prefetch_row

NONE = -1

# rows int32[*, ROW_FIELDS]: a run, and in the first E rows the edge of that number too
EDGE = 0
START = 1  # first block, counted from the edge's first block
STOP = 2  # one past the last block
QUEUE = 3  # NONE where the row holds no run
MARK = 4  # visited bit or frequency
OLDER = 5  # neighbours in the queue
NEWER = 6  # chains free rows too
DEEPER = 7  # neighbours on the edge, blocks between them belong to no queue
SHALLOWER = 8
DEEPEST = 9  # of the edge: its deepest run
BLOCKS = 10  # of the edge
ROW_FIELDS = 16  # one cache line

# queues int64[QUEUES, QUEUE_FIELDS]: those of resident blocks first, then the ghosts
OLDEST = 0
NEWEST = 1
SIZE = 2  # blocks
QUEUE_FIELDS = 3
FIRST_GHOST = 2
QUEUES = 4

# now int64[NOW_FIELDS]: how far the replay is, and what it has counted
REQUEST = 0  # the one being referenced
PATH_FIRST = 1  # its edges still to reference: path[PATH_FIRST:AT]
AT = 2
EDGE_NOW = 3  # the edge being referenced: blocks from POSITION on are done
POSITION = 4
ABOVE = 5  # the run of this edge next above POSITION, NONE where there is none
ROWS_USED = 6  # rows ever used, and the chain of those given back
ROWS_FREE = 7
ROWS_CHAINED = 8
FOUND = 9
STRANDED = 10
EVICTED = 11
HAND = 12  # SIEVE: the run at whose deep end the hand is
NOW_FIELDS = 13

FINISHED, NEEDS_ROWS = 0, 1
_AHEAD = 3  # requests
ROWS_A_STEP = 2


class RunQueues(NamedTuple):
    """The tables of one replay; `sizes` int64[4] is the capacity and the policy's limits."""

    rows: np.ndarray
    queues: np.ndarray
    now: np.ndarray
    sizes: np.ndarray
    offsets: np.ndarray  # of References
    path: np.ndarray  # its edges
    limit: np.ndarray
    hits: np.ndarray  # int64[R], written
    target: np.ndarray  # float64[1], ARC's p


# --- rows and chains ------------------------------------------------------------------------


@inner
def rows_left(t):
    """Return whether one more step finds the rows it may need."""
    unused = t.rows.shape[0] - t.now[ROWS_USED]
    return t.now[ROWS_CHAINED] + unused >= ROWS_A_STEP


@inner
def _new_row(t, edge):
    """Return a row for a run of `edge`: the edge's own where it is free."""
    if t.rows[edge, QUEUE] == NONE:
        return np.int64(edge)
    row = t.now[ROWS_FREE]
    if row == NONE:
        row = t.now[ROWS_USED]
        t.now[ROWS_USED] += 1
    else:
        t.now[ROWS_FREE] = t.rows[row, NEWER]
        t.now[ROWS_CHAINED] -= 1
    t.rows[row, EDGE] = edge
    return row


@inner
def _leave_queue(t, row):
    queue = t.rows[row, QUEUE]
    older = t.rows[row, OLDER]
    newer = t.rows[row, NEWER]
    if older == NONE:
        t.queues[queue, OLDEST] = newer
    else:
        t.rows[older, NEWER] = newer
    if newer == NONE:
        t.queues[queue, NEWEST] = older
    else:
        t.rows[newer, OLDER] = older


@inner
def _join_queue(t, row, queue):
    newest = t.queues[queue, NEWEST]
    t.rows[row, QUEUE] = queue
    t.rows[row, OLDER] = newest
    t.rows[row, NEWER] = NONE
    if newest == NONE:
        t.queues[queue, OLDEST] = row
    else:
        t.rows[newest, NEWER] = row
    t.queues[queue, NEWEST] = row


@inner
def _join_edge(t, row, deeper, shallower):
    t.rows[row, DEEPER] = deeper
    t.rows[row, SHALLOWER] = shallower
    if deeper == NONE:
        t.rows[t.rows[row, EDGE], DEEPEST] = row
    else:
        t.rows[deeper, SHALLOWER] = row
    if shallower != NONE:
        t.rows[shallower, DEEPER] = row


@inner
def _forget(t, row):
    """Take an emptied run off its queue and its edge, and give its row back."""
    _leave_queue(t, row)
    edge = t.rows[row, EDGE]
    deeper = t.rows[row, DEEPER]
    shallower = t.rows[row, SHALLOWER]
    if deeper == NONE:
        t.rows[edge, DEEPEST] = shallower
    else:
        t.rows[deeper, SHALLOWER] = shallower
    if shallower != NONE:
        t.rows[shallower, DEEPER] = deeper
    if t.now[ABOVE] == row:
        t.now[ABOVE] = deeper
    t.rows[row, QUEUE] = NONE
    if row != edge:
        t.rows[row, NEWER] = t.now[ROWS_FREE]
        t.now[ROWS_FREE] = row
        t.now[ROWS_CHAINED] += 1


# --- stretches of blocks --------------------------------------------------------------------


@inner
def length(t, row):
    """Return the blocks of a run."""
    return np.int64(t.rows[row, STOP] - t.rows[row, START])


@inner
def continues(t, queue, edge, stop, mark):
    """Return whether blocks of `edge` up to `stop` would lengthen the newest run of `queue`."""
    newest = t.queues[queue, NEWEST]
    return (
        newest != NONE
        and t.rows[newest, START] == stop
        and t.rows[newest, EDGE] == edge
        and t.rows[newest, MARK] == mark
    )


@inner
def grow(t, queue, count, mark):
    """Make the `count` blocks before POSITION, which are in no queue, the newest of `queue`."""
    edge = t.now[EDGE_NOW]
    position = t.now[POSITION]
    if continues(t, queue, edge, position, mark):
        t.rows[t.queues[queue, NEWEST], START] = position - count
    else:
        above = t.now[ABOVE]
        shallower = t.rows[edge, DEEPEST] if above == NONE else t.rows[above, SHALLOWER]
        row = _new_row(t, edge)
        t.rows[row, START] = position - count
        t.rows[row, STOP] = position
        t.rows[row, MARK] = mark
        _join_queue(t, row, queue)
        _join_edge(t, row, above, shallower)
        t.now[ABOVE] = row
    t.queues[queue, SIZE] += count
    t.now[POSITION] = position - count


@inner
def trim(t, row, count):
    """Remove the `count` deepest blocks of a run."""
    t.queues[t.rows[row, QUEUE], SIZE] -= count
    t.rows[row, STOP] -= count
    if t.rows[row, START] == t.rows[row, STOP]:
        _forget(t, row)


@inner
def transfer(t, row, count, queue, mark):
    """Make the `count` deepest blocks of a run the newest of `queue`; return the run they are in.

    Moving blocks one by one, deepest first, gives the same order.
    """
    edge = t.rows[row, EDGE]
    stop = t.rows[row, STOP]
    rest = stop - count
    t.queues[t.rows[row, QUEUE], SIZE] -= count
    t.queues[queue, SIZE] += count
    if continues(t, queue, edge, stop, mark):
        moved = t.queues[queue, NEWEST]
        t.rows[moved, START] = rest
        t.rows[row, STOP] = rest
        if t.rows[row, START] == rest:
            _forget(t, row)
        return moved
    if t.rows[row, START] == rest:
        _leave_queue(t, row)
        _join_queue(t, row, queue)
        t.rows[row, MARK] = mark
        return np.int64(row)
    moved = _new_row(t, edge)
    t.rows[moved, START] = rest
    t.rows[moved, STOP] = stop
    t.rows[moved, MARK] = mark
    t.rows[row, STOP] = rest
    _join_queue(t, moved, queue)
    _join_edge(t, moved, t.rows[row, DEEPER], row)
    return moved


@inner
def _fetch_newer(t, row):
    """Ask for the row of the run that goes after this one."""
    newer = t.rows[row, NEWER]
    if newer != NONE:
        prefetch_row(t.rows, newer)


@inner
def forget(t, ghost, count):
    """Drop the `count` oldest blocks of a queue of ghosts; none where it is negative."""
    while count > 0:
        oldest = t.queues[ghost, OLDEST]
        _fetch_newer(t, oldest)
        dropped = min(count, length(t, oldest))
        trim(t, oldest, dropped)
        count -= dropped


@inner
def remember(t, row, count, ghost, most):
    """Evict the `count` deepest blocks of a run into a ghost queue that holds at most `most`."""
    kept = min(count, most)
    if count > kept:  # pushed out again by those that follow
        trim(t, row, count - kept)
    forget(t, ghost, t.queues[ghost, SIZE] + kept - most)
    if kept > 0:
        transfer(t, row, kept, ghost, 0)


@inner
def reach(t, row):
    """Move POSITION over a run that was found whole and stays where it is."""
    t.now[FOUND] += t.rows[row, STOP] - t.rows[row, START]
    t.now[POSITION] = t.rows[row, START]
    t.now[ABOVE] = row


@inner
def merge_above(t, row):
    """Join a run with the one right above it in queue, edge and mark; ABOVE is that run or it."""
    above = t.rows[row, DEEPER]
    if (
        above != NONE
        and t.rows[above, NEWER] == row
        and t.rows[above, QUEUE] == t.rows[row, QUEUE]
        and t.rows[above, START] == t.rows[row, STOP]
        and t.rows[above, MARK] == t.rows[row, MARK]
    ):
        t.rows[above, START] = t.rows[row, START]
        _forget(t, row)


# --- the walk over requests -----------------------------------------------------------------


@inner
def _look_up(t, request):
    """Count the resident prefix of a request, and what is resident behind it."""
    limit = t.limit[request]
    depth = 0
    hit = 0
    resident = 0
    at = t.offsets[request]
    while depth < limit and at < t.offsets[request + 1]:
        edge = t.path[at]
        blocks = np.int64(t.rows[edge, BLOCKS])
        seen = min(blocks, limit - depth)
        prefix_stop = 0
        lowest = blocks + 1
        row = t.rows[edge, DEEPEST]
        while row != NONE:
            if t.rows[row, QUEUE] < FIRST_GHOST:
                start = np.int64(t.rows[row, START])
                stop = min(np.int64(t.rows[row, STOP]), seen)
                if start < stop:
                    resident += stop - start
                    if stop != lowest:
                        prefix_stop = stop
                    lowest = start
            row = t.rows[row, SHALLOWER]
        if hit == depth and lowest == 0:
            hit += prefix_stop
        depth += blocks
        at += 1
    t.hits[request] = hit
    t.now[STRANDED] += resident - hit


@inner
def _fetch(t, request):
    """Ask for the rows of a request to come."""
    if request < t.hits.size:
        for at in range(t.offsets[request], t.offsets[request + 1]):
            prefetch_row(t.rows, t.path[at])


@inner
def next_edge(t):
    """Return whether there is an edge to reference, and open it; requests are looked up first."""
    now = t.now
    if now[POSITION] > 0:  # resumed
        return True
    while now[AT] == now[PATH_FIRST]:
        now[REQUEST] += 1
        request = now[REQUEST]
        if request >= t.hits.size:
            return False
        _fetch(t, request + _AHEAD)
        _look_up(t, request)
        now[PATH_FIRST] = t.offsets[request]
        now[AT] = t.offsets[request + 1]
    now[AT] -= 1
    edge = t.path[now[AT]]
    now[EDGE_NOW] = edge
    now[POSITION] = t.rows[edge, BLOCKS]
    now[ABOVE] = NONE
    return True


@inner
def next_run(t):
    """Return the deepest run among the blocks before POSITION, or NONE."""
    above = t.now[ABOVE]
    if above == NONE:
        return t.rows[t.now[EDGE_NOW], DEEPEST]
    return t.rows[above, SHALLOWER]


@inner
def missing(t, row):
    """Return how many blocks before POSITION, above `row` from `next_run`, are in no queue."""
    if row == NONE:
        return t.now[POSITION]
    return t.now[POSITION] - t.rows[row, STOP]


@inner
def advance(t, row, count, queue):
    """Move POSITION over the `count` deepest blocks of the run before it: the newest of `queue`."""
    t.now[ABOVE] = transfer(t, row, count, queue, 0)
    t.now[POSITION] -= count


@inner
def exchangeable(t, wanted, queue, mark, victim):
    """Return how many of `wanted` blocks can enter `queue` while as many leave `victim`.

    Where the run that grows is itself the victim it never runs out: it passes through the queue.
    """
    _fetch_newer(t, victim)
    if victim == t.queues[queue, NEWEST] and continues(
        t, queue, t.now[EDGE_NOW], t.now[POSITION], mark
    ):
        return wanted
    return min(wanted, length(t, victim))
