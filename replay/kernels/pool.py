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

Tables and their columns: layout.py. Nothing here knows time.
"""

from __future__ import annotations

from replay.kernels.jit import jit
from replay.kernels.layout import (
    BELOW,
    BLOCKS,
    CURSOR,
    EDGE,
    EVICTED,
    EVICTIONS,
    FIRST,
    FROM,
    HELD,
    HOLD_FREE,
    HOLD_TOP,
    IDLE,
    LAST_HOLD,
    NEWER,
    NONE,
    OLDER,
    OLDEST,
    OLDEST_RUN,
    OWNER,
    PATH_START,
    PATH_STOP,
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
    TO,
    UNKEYED,
    UPPER,
    YOUNGEST,
    YOUNGEST_RUN,
)

# --- rows of the tables ---------------------------------------------------------------------


@jit
def rows_left(counters, runs, holds, wanted):
    """Return whether `wanted` new rows fit in both tables, not counting rows given back."""
    return (
        counters[RUN_TOP] + wanted <= runs.shape[0] and counters[HOLD_TOP] + wanted <= holds.shape[0]
    )


@jit
def _new_run(counters, runs):
    run = counters[RUN_FREE]
    if run == NONE:
        run = counters[RUN_TOP]
        counters[RUN_TOP] += 1
    else:
        counters[RUN_FREE] = runs[run, NEWER]
    runs[run, OLDER] = NONE
    runs[run, NEWER] = NONE
    runs[run, SIBLING] = NONE
    runs[run, UPPER] = NONE
    return run


@jit
def _push_hold(counters, holds, state, request, run, first, last):
    hold = counters[HOLD_FREE]
    if hold == NONE:
        hold = counters[HOLD_TOP]
        counters[HOLD_TOP] += 1
    else:
        counters[HOLD_FREE] = holds[hold, BELOW]
    holds[hold, RUN] = run
    holds[hold, FROM] = first
    holds[hold, TO] = last
    holds[hold, BELOW] = state[request, LAST_HOLD]
    state[request, LAST_HOLD] = hold


# --- the recency list: free runs with content -----------------------------------------------


@jit
def _append_youngest(counters, runs, run):
    youngest = counters[YOUNGEST]
    runs[run, OLDER] = youngest
    runs[run, NEWER] = NONE
    if youngest == NONE:
        counters[OLDEST] = run
    else:
        runs[youngest, NEWER] = run
    counters[YOUNGEST] = run
    counters[IDLE] += runs[run, STOP] - runs[run, START]


@jit
def _unlink(counters, runs, run):
    older = runs[run, OLDER]
    newer = runs[run, NEWER]
    if older == NONE:
        counters[OLDEST] = newer
    else:
        runs[older, NEWER] = newer
    if newer == NONE:
        counters[YOUNGEST] = older
    else:
        runs[newer, OLDER] = older
    counters[IDLE] -= runs[run, STOP] - runs[run, START]


@jit
def _forget(counters, runs, edges, run):
    """Take an emptied run off its edge and give its row back."""
    edge = runs[run, EDGE]
    after = runs[run, SIBLING]
    before = edges[edge, OLDEST_RUN]
    if before == run:
        edges[edge, OLDEST_RUN] = after
        before = NONE
    else:
        while runs[before, SIBLING] != run:
            before = runs[before, SIBLING]
        runs[before, SIBLING] = after
    if edges[edge, YOUNGEST_RUN] == run:
        edges[edge, YOUNGEST_RUN] = before
    runs[run, NEWER] = counters[RUN_FREE]
    counters[RUN_FREE] = run


@jit
def free_blocks(counters):
    """Return how many blocks could be taken now."""
    return counters[UNKEYED] + counters[IDLE]


@jit
def take_blocks(counters, runs, edges, wanted):
    """Take `wanted` free blocks: those without content first, then the least recently used.

    The caller has checked that there are enough.
    """
    unkeyed = min(wanted, counters[UNKEYED])
    counters[UNKEYED] -= unkeyed
    wanted -= unkeyed
    while wanted > 0:
        run = counters[OLDEST]
        length = runs[run, STOP] - runs[run, START]
        trimmed = min(wanted, length)
        edges[runs[run, EDGE], EVICTED] += trimmed
        counters[EVICTIONS] += trimmed
        wanted -= trimmed
        if trimmed == length:
            _unlink(counters, runs, run)
            _forget(counters, runs, edges, run)
        else:
            runs[run, STOP] -= trimmed
            counters[IDLE] -= trimmed


# --- look-up --------------------------------------------------------------------------------


@jit
def _covering(runs, edges, edge, block):
    """Return (run, stop): the oldest run that holds `block`, and where an older one takes over."""
    run = edges[edge, OLDEST_RUN]
    stop = 2147483647
    while run != NONE:
        start = runs[run, START]
        if start <= block < runs[run, STOP]:
            return run, min(runs[run, STOP], stop)
        if block < start < stop:
            stop = start
        run = runs[run, SIBLING]
    return run, stop


@jit
def match(runs, edges, plan, path_edges, request, limit):
    """Return (blocks, idle, pieces): the resident prefix, at most `limit` blocks; changes nothing.

    `idle` of its blocks are free and would leave the free list; it lies on `pieces` runs.
    """
    blocks = 0
    idle = 0
    pieces = 0
    for at in range(plan[request, PATH_START], plan[request, PATH_STOP]):
        edge = path_edges[at]
        wanted = min(edges[edge, FIRST] + edges[edge, BLOCKS], limit)
        while blocks < wanted:
            first = edges[edge, FIRST]
            run, stop = _covering(runs, edges, edge, blocks - first)
            if run == NONE:
                return blocks, idle, pieces
            reached = min(first + stop, wanted)
            if runs[run, REFERENCES] == 0:
                idle += reached - blocks
            pieces += 1
            blocks = reached
        if blocks >= limit:
            break
    return blocks, idle, pieces


@jit
def _split(counters, runs, edges, run, block):
    """Cut a run in two at `block`; return the upper part, next to it in every order."""
    upper = _new_run(counters, runs)
    edge = runs[run, EDGE]
    if edges[edge, YOUNGEST_RUN] == run:
        edges[edge, YOUNGEST_RUN] = upper
    runs[upper, EDGE] = edge
    runs[upper, START] = block
    runs[upper, STOP] = runs[run, STOP]
    runs[upper, REFERENCES] = runs[run, REFERENCES]
    runs[upper, OWNER] = runs[run, OWNER]
    runs[upper, SIBLING] = runs[run, SIBLING]
    runs[upper, UPPER] = runs[run, UPPER]
    runs[run, SIBLING] = upper
    runs[run, UPPER] = upper
    runs[run, STOP] = block
    if runs[run, REFERENCES] == 0:  # the deeper part is evicted first: it goes on the older side
        older = runs[run, OLDER]
        runs[upper, OLDER] = older
        runs[upper, NEWER] = run
        runs[run, OLDER] = upper
        if older == NONE:
            counters[OLDEST] = upper
        else:
            runs[older, NEWER] = upper
    return upper


@jit
def acquire(counters, runs, holds, edges, plan, state, path_edges, request, blocks):
    """Hold the first `blocks` blocks of a request's path, which `match` found resident.

    Returns how many of them an earlier request of the same session computed. Sets the request's
    CURSOR, PUBLISHED and HELD.
    """
    at = plan[request, PATH_START]
    done = 0
    session_blocks = 0
    session = plan[request, SESSION]
    while done < blocks:
        edge = path_edges[at]
        first = edges[edge, FIRST]
        wanted = min(first + edges[edge, BLOCKS], blocks)
        if done >= wanted:
            at += 1
            continue
        run, stop = _covering(runs, edges, edge, done - first)
        stop = min(stop, wanted - first)
        if runs[run, START] < done - first:
            run = _split(counters, runs, edges, run, done - first)
        if stop < runs[run, STOP]:
            _split(counters, runs, edges, run, stop)
        if runs[run, REFERENCES] == 0:
            _unlink(counters, runs, run)
        runs[run, REFERENCES] += 1
        _push_hold(counters, holds, state, request, run, done - first, stop)
        count = first + stop - done
        edges[edge, REUSED] += count
        if session != NONE and plan[runs[run, OWNER], SESSION] == session:
            session_blocks += count
        done = first + stop
    state[request, CURSOR] = at
    state[request, PUBLISHED] = blocks
    state[request, HELD] = blocks
    return session_blocks


# --- publishing and giving back -------------------------------------------------------------


@jit
def publish(counters, runs, holds, edges, plan, state, path_edges, request, upto):
    """Make the request's held blocks below index `upto` visible to later look-ups."""
    at = state[request, CURSOR]
    done = state[request, PUBLISHED]
    while done < upto:
        edge = path_edges[at]
        first = edges[edge, FIRST]
        stop = min(edges[edge, BLOCKS], upto - first)
        if done >= first + stop:
            at += 1
            continue
        last = state[request, LAST_HOLD]
        run = edges[edge, YOUNGEST_RUN]
        if (
            run != NONE
            and last != NONE
            and holds[last, RUN] == run
            and runs[run, REFERENCES] == 1
            and runs[run, OWNER] == request
            and runs[run, STOP] == done - first
            and holds[last, TO] == done - first
        ):
            runs[run, STOP] = stop
            holds[last, TO] = stop
        else:
            run = _new_run(counters, runs)
            runs[run, EDGE] = edge
            runs[run, START] = done - first
            runs[run, STOP] = stop
            runs[run, REFERENCES] = 1
            runs[run, OWNER] = request
            youngest = edges[edge, YOUNGEST_RUN]
            if youngest == NONE:
                edges[edge, OLDEST_RUN] = run
            else:
                runs[youngest, SIBLING] = run
            edges[edge, YOUNGEST_RUN] = run
            _push_hold(counters, holds, state, request, run, done - first, stop)
        done = first + stop
    state[request, CURSOR] = at
    state[request, PUBLISHED] = done


@jit
def _drop(counters, runs, run):
    runs[run, REFERENCES] -= 1
    if runs[run, REFERENCES] == 0:
        _append_youngest(counters, runs, run)


@jit
def release(counters, runs, holds, state, request):
    """Give back every block of a request, deepest first; blocks without content go to the front."""
    counters[UNKEYED] += state[request, HELD] - state[request, PUBLISHED]
    hold = state[request, LAST_HOLD]
    while hold != NONE:
        run = holds[hold, RUN]
        parts = 1
        upper = run
        while runs[upper, STOP] < holds[hold, TO]:
            upper = runs[upper, UPPER]
            parts += 1
        _drop(counters, runs, upper)
        for part in range(parts - 1, 0, -1):  # split since: walk up to each part, deepest first
            upper = run
            for _ in range(part - 1):
                upper = runs[upper, UPPER]
            _drop(counters, runs, upper)
        below = holds[hold, BELOW]
        holds[hold, BELOW] = counters[HOLD_FREE]
        counters[HOLD_FREE] = hold
        hold = below
    state[request, LAST_HOLD] = NONE
    state[request, HELD] = 0
    state[request, PUBLISHED] = 0
    state[request, CURSOR] = 0
