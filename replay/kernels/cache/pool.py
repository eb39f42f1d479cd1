"""One pool of KV blocks over the edges of a prefix tree, with vLLM's rules.

What vLLM 0.33 keeps block by block is kept here run by run. A *run* is a stretch of blocks on one
edge that were computed, held and released together, so one reference count and one place in the
recency order are exact for all of them; it is split when a request uses only part of it. The
rules: a hit is the longest stretch of resident blocks from the root; a look-up changes nothing;
of several copies of a block the oldest is used; blocks without content are taken before anything
is evicted; a request gives its blocks back deepest first, so the least recently used end of the
list always holds the deepest blocks of what was released together, and eviction trims runs from
their end. Duplicates arise where a prompt ends on a block boundary (its last block is computed
again) and where two requests compute the same content at once.

Of an edge that is pinned the oldest copy of each block stays for good once it is computed: what is
published there is pinned from its first block on, and later copies are not. Idle pinned runs are
in no list, so they are not free. With a time to live, the recency list is also the order in which
runs expire. Tables and their columns: layout/.
"""

from __future__ import annotations

from replay.kernels.cache.observe import note_loss
from replay.kernels.jit import inner
from replay.kernels.layout import (
    BELOW,
    BLOCK_SIZE,
    BLOCKS,
    CURSOR,
    EDGE,
    EVICTED,
    EVICTED_AT_NS,
    EVICTED_BY,
    EVICTIONS,
    FIRST,
    FROM,
    HELD,
    HOLD_FREE,
    HOLD_TOP,
    IDLE,
    IN_FLIGHT,
    LAST_HOLD,
    NEWER,
    NONE,
    NOW_NS,
    OLDER,
    OLDEST,
    OLDEST_RUN,
    OWNER,
    PATH_START,
    PATH_STOP,
    PINNED,
    PINNED_IDLE,
    PINS,
    PUBLISHED,
    REFERENCES,
    REUSED,
    RUN,
    RUN_FREE,
    RUN_TOP,
    SESSION,
    SIBLING,
    START,
    STOP,
    TAKEN_BY,
    TAKEN_FROM,
    TAKEN_NS,
    TAKEN_TO,
    TO,
    TTL_NS,
    UNKEYED,
    UPPER,
    YOUNGEST,
    YOUNGEST_RUN,
)

# --- rows of the tables ---------------------------------------------------------------------


@inner
def rows_left(t, wanted):
    """Return whether `wanted` new rows fit in both tables, not counting rows given back."""
    return (
        t.counters[RUN_TOP] + wanted <= t.runs.shape[0]
        and t.counters[HOLD_TOP] + wanted <= t.holds.shape[0]
    )


@inner
def _new_run(t):
    run = t.counters[RUN_FREE]
    if run == NONE:
        run = t.counters[RUN_TOP]
        t.counters[RUN_TOP] += 1
    else:
        t.counters[RUN_FREE] = t.runs[run, NEWER]
    t.runs[run, OLDER] = NONE
    t.runs[run, NEWER] = NONE
    t.runs[run, SIBLING] = NONE
    t.runs[run, UPPER] = NONE
    return run


@inner
def _push_hold(t, request, run, first, last):
    hold = t.counters[HOLD_FREE]
    if hold == NONE:
        hold = t.counters[HOLD_TOP]
        t.counters[HOLD_TOP] += 1
    else:
        t.counters[HOLD_FREE] = t.holds[hold, BELOW]
    t.holds[hold, RUN] = run
    t.holds[hold, FROM] = first
    t.holds[hold, TO] = last
    t.holds[hold, BELOW] = t.holdings[request, LAST_HOLD]
    t.holdings[request, LAST_HOLD] = hold


# --- the recency list: free runs with content -----------------------------------------------


@inner
def _append_youngest(t, run):
    youngest = t.counters[YOUNGEST]
    t.runs[run, OLDER] = youngest
    t.runs[run, NEWER] = NONE
    if youngest == NONE:
        t.counters[OLDEST] = run
    else:
        t.runs[youngest, NEWER] = run
    t.counters[YOUNGEST] = run
    t.counters[IDLE] += t.runs[run, STOP] - t.runs[run, START]
    if t.rules[TTL_NS] > 0:
        t.released[run] = t.counters[NOW_NS]


@inner
def _unlink(t, run):
    older = t.runs[run, OLDER]
    newer = t.runs[run, NEWER]
    if older == NONE:
        t.counters[OLDEST] = newer
    else:
        t.runs[older, NEWER] = newer
    if newer == NONE:
        t.counters[YOUNGEST] = older
    else:
        t.runs[newer, OLDER] = older
    t.counters[IDLE] -= t.runs[run, STOP] - t.runs[run, START]


@inner
def _forget(t, run):
    """Take an emptied run off its edge and give its row back."""
    edge = t.runs[run, EDGE]
    after = t.runs[run, SIBLING]
    before = t.heads[edge, OLDEST_RUN]
    if before == run:
        t.heads[edge, OLDEST_RUN] = after
        before = NONE
    else:
        while t.runs[before, SIBLING] != run:
            before = t.runs[before, SIBLING]
        t.runs[before, SIBLING] = after
    if t.heads[edge, YOUNGEST_RUN] == run:
        t.heads[edge, YOUNGEST_RUN] = before
    t.runs[run, NEWER] = t.counters[RUN_FREE]
    t.counters[RUN_FREE] = run


@inner
def free_blocks(t):
    """Return how many blocks could be taken now."""
    return t.counters[UNKEYED] + t.counters[IDLE]


@inner
def _note_eviction(t, run, first, request, now_ns):
    """Note on its edge that a run lost its blocks from `first` on, to whom and when.

    Whoever holds a block holds one of each before it and lets go of those later, so no block goes
    while one behind it stays, and the last note is of the first missing block. Only where several
    copies were computed at once may it be of another one; `name_evictor` then stays silent.
    """
    edge = t.runs[run, EDGE]
    note_loss(t, edge, first, t.runs[run, STOP], t.runs[run, OWNER], request, now_ns)
    t.taken[edge, TAKEN_BY] = request
    t.taken[edge, TAKEN_NS] = now_ns
    t.taken[edge, TAKEN_FROM] = first
    t.taken[edge, TAKEN_TO] = t.runs[run, STOP]


@inner
def take_blocks(t, wanted, request):
    """Take `wanted` free blocks: those without content first, then the least recently used.

    `request` is whose they become, NONE for several at once. The caller has checked that there
    are enough.
    """
    unkeyed = min(wanted, t.counters[UNKEYED])
    t.counters[UNKEYED] -= unkeyed
    wanted -= unkeyed
    while wanted > 0:
        run = t.counters[OLDEST]
        length = t.runs[run, STOP] - t.runs[run, START]
        trimmed = min(wanted, length)
        t.totals[t.runs[run, EDGE], EVICTED] += trimmed
        t.counters[EVICTIONS] += trimmed
        wanted -= trimmed
        _note_eviction(t, run, t.runs[run, STOP] - trimmed, request, t.counters[NOW_NS])
        if trimmed == length:
            _unlink(t, run)
            _forget(t, run)
        else:
            t.runs[run, STOP] -= trimmed
            t.counters[IDLE] -= trimmed


@inner
def expire(t):
    """Drop what has been idle for longer than TTL_NS; its blocks are free and without content."""
    run = t.counters[OLDEST]
    while run != NONE and t.counters[NOW_NS] - t.released[run] > t.rules[TTL_NS]:
        length = t.runs[run, STOP] - t.runs[run, START]
        t.totals[t.runs[run, EDGE], EVICTED] += length
        t.counters[EVICTIONS] += length
        t.counters[UNKEYED] += length
        _note_eviction(t, run, t.runs[run, START], NONE, t.released[run] + t.rules[TTL_NS])
        _unlink(t, run)
        _forget(t, run)
        run = t.counters[OLDEST]


# --- look-up --------------------------------------------------------------------------------


@inner
def _covering(t, edge, block):
    """Return (run, stop): the oldest run that holds `block`, and where an older one takes over."""
    run = t.heads[edge, OLDEST_RUN]
    stop = 2147483647
    while run != NONE:
        start = t.runs[run, START]
        if start <= block < t.runs[run, STOP]:
            return run, min(t.runs[run, STOP], stop)
        if block < start < stop:
            stop = start
        run = t.runs[run, SIBLING]
    return run, stop


@inner
def match(t, request, limit):
    """Return (blocks, idle, pieces): the resident prefix, at most `limit` blocks; changes nothing.

    `idle` of its blocks are free and would leave the free list; it lies on `pieces` runs.
    """
    blocks = 0
    idle = 0
    pieces = 0
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_STOP]):
        edge = t.path_edges[at]
        wanted = min(t.edges[edge, FIRST] + t.edges[edge, BLOCKS], limit)
        while blocks < wanted:
            first = t.edges[edge, FIRST]
            run, stop = _covering(t, edge, blocks - first)
            if run == NONE:
                return blocks, idle, pieces
            reached = min(first + stop, wanted)
            if t.runs[run, REFERENCES] == 0 and t.runs[run, PINNED] == 0:
                idle += reached - blocks
            pieces += 1
            blocks = reached
        if blocks >= limit:
            break
    return blocks, idle, pieces


@inner
def _split(t, run, block):
    """Cut a run in two at `block`; return the upper part, next to it in every order."""
    upper = _new_run(t)
    edge = t.runs[run, EDGE]
    if t.heads[edge, YOUNGEST_RUN] == run:
        t.heads[edge, YOUNGEST_RUN] = upper
    t.runs[upper, EDGE] = edge
    t.runs[upper, START] = block
    t.runs[upper, STOP] = t.runs[run, STOP]
    t.runs[upper, REFERENCES] = t.runs[run, REFERENCES]
    t.runs[upper, PINNED] = t.runs[run, PINNED]
    t.runs[upper, OWNER] = t.runs[run, OWNER]
    t.runs[upper, SIBLING] = t.runs[run, SIBLING]
    t.runs[upper, UPPER] = t.runs[run, UPPER]
    t.runs[run, SIBLING] = upper
    t.runs[run, UPPER] = upper
    t.runs[run, STOP] = block
    if t.rules[TTL_NS] > 0:
        t.released[upper] = t.released[run]
    if t.runs[run, REFERENCES] == 0 and t.runs[run, PINNED] == 0:
        # the deeper part is evicted first: it goes on the older side
        older = t.runs[run, OLDER]
        t.runs[upper, OLDER] = older
        t.runs[upper, NEWER] = run
        t.runs[run, OLDER] = upper
        if older == NONE:
            t.counters[OLDEST] = upper
        else:
            t.runs[older, NEWER] = upper
    return upper


@inner
def acquire(t, request, blocks):
    """Hold the first `blocks` blocks of a request's path, which `match` found resident.

    Returns how many of them an earlier request of the same session computed. Sets the request's
    CURSOR, PUBLISHED and HELD.
    """
    at = t.plan[request, PATH_START]
    done = 0
    session_blocks = 0
    session = t.plan[request, SESSION]
    while done < blocks:
        edge = t.path_edges[at]
        first = t.edges[edge, FIRST]
        wanted = min(first + t.edges[edge, BLOCKS], blocks)
        if done >= wanted:
            at += 1
            continue
        run, stop = _covering(t, edge, done - first)
        stop = min(stop, wanted - first)
        if t.runs[run, START] < done - first:
            run = _split(t, run, done - first)
        if stop < t.runs[run, STOP]:
            _split(t, run, stop)
        if t.runs[run, REFERENCES] == 0:
            if t.runs[run, PINNED]:
                t.counters[PINNED_IDLE] -= t.runs[run, STOP] - t.runs[run, START]
            else:
                _unlink(t, run)
        t.runs[run, REFERENCES] += 1
        _push_hold(t, request, run, done - first, stop)
        count = first + stop - done
        t.totals[edge, REUSED] += count
        if session != NONE and t.plan[t.runs[run, OWNER], SESSION] == session:
            session_blocks += count
        done = first + stop
    t.holdings[request, CURSOR] = at
    t.holdings[request, PUBLISHED] = blocks
    t.holdings[request, HELD] = blocks
    return session_blocks


@inner
def name_evictor(t, request, blocks):
    """Say who evicted the first block that a prompt misses and nobody is computing.

    What is in flight follows on the `blocks` that `match` found: whoever computes it holds, and so
    has in the cache, all that comes before it.
    """
    blocks += t.outcome[request, IN_FLIGHT] // t.rules[BLOCK_SIZE]
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_STOP]):
        edge = t.path_edges[at]
        place = blocks - t.edges[edge, FIRST]
        if place < t.edges[edge, BLOCKS]:
            if t.taken[edge, TAKEN_FROM] <= place < t.taken[edge, TAKEN_TO]:
                by = t.taken[edge, TAKEN_BY]
                t.outcome[request, EVICTED_BY] = NONE if by == NONE else by + 1
                t.outcome[request, EVICTED_AT_NS] = t.taken[edge, TAKEN_NS]
            return


# --- publishing and giving back -------------------------------------------------------------


@inner
def publish(t, request, upto):
    """Make the request's held blocks below index `upto` visible to later look-ups."""
    at = t.holdings[request, CURSOR]
    done = t.holdings[request, PUBLISHED]
    while done < upto:
        edge = t.path_edges[at]
        first = t.edges[edge, FIRST]
        stop = min(t.edges[edge, BLOCKS], upto - first)
        if done >= first + stop:
            at += 1
            continue
        pinned = 0
        if t.rules[PINS]:
            stays = t.pinned[edge]
            if stays > done - first:
                stop = min(stop, stays)  # copies of what is pinned already
            elif stays != NONE:
                pinned = 1
                t.pinned[edge] = stop
        last = t.holdings[request, LAST_HOLD]
        run = t.heads[edge, YOUNGEST_RUN]
        if (
            run != NONE
            and last != NONE
            and t.holds[last, RUN] == run
            and t.runs[run, REFERENCES] == 1
            and t.runs[run, OWNER] == request
            and t.runs[run, PINNED] == pinned
            and t.runs[run, STOP] == done - first
            and t.holds[last, TO] == done - first
        ):
            t.runs[run, STOP] = stop
            t.holds[last, TO] = stop
        else:
            run = _new_run(t)
            t.runs[run, EDGE] = edge
            t.runs[run, START] = done - first
            t.runs[run, STOP] = stop
            t.runs[run, REFERENCES] = 1
            t.runs[run, OWNER] = request
            t.runs[run, PINNED] = pinned
            youngest = t.heads[edge, YOUNGEST_RUN]
            if youngest == NONE:
                t.heads[edge, OLDEST_RUN] = run
            else:
                t.runs[youngest, SIBLING] = run
            t.heads[edge, YOUNGEST_RUN] = run
            _push_hold(t, request, run, done - first, stop)
        done = first + stop
    t.holdings[request, CURSOR] = at
    t.holdings[request, PUBLISHED] = done


@inner
def _drop(t, run):
    t.runs[run, REFERENCES] -= 1
    if t.runs[run, REFERENCES] == 0:
        if t.runs[run, PINNED]:
            t.counters[PINNED_IDLE] += t.runs[run, STOP] - t.runs[run, START]
        else:
            _append_youngest(t, run)


@inner
def release(t, request):
    """Give back every block of a request, deepest first; blocks without content go to the front."""
    t.counters[UNKEYED] += t.holdings[request, HELD] - t.holdings[request, PUBLISHED]
    hold = t.holdings[request, LAST_HOLD]
    while hold != NONE:
        run = t.holds[hold, RUN]
        parts = 1
        upper = run
        while t.runs[upper, STOP] < t.holds[hold, TO]:
            upper = t.runs[upper, UPPER]
            parts += 1
        _drop(t, upper)
        for part in range(parts - 1, 0, -1):  # split since: walk up to each part, deepest first
            upper = run
            for _ in range(part - 1):
                upper = t.runs[upper, UPPER]
            _drop(t, upper)
        below = t.holds[hold, BELOW]
        t.holds[hold, BELOW] = t.counters[HOLD_FREE]
        t.counters[HOLD_FREE] = hold
        hold = below
    t.holdings[request, LAST_HOLD] = NONE
    t.holdings[request, HELD] = 0
    t.holdings[request, PUBLISHED] = 0
    t.holdings[request, CURSOR] = 0
