"""What becomes of one request in a replay without time: admitted, then completed.

`untimed.py` says when; here is what each kind of cache does then. Admission looks up, takes the
whole prompt and publishes it at once; completion adds the response where it fits, all of it or
nothing, and gives everything back.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_response_seen, mark_seen
from replay.kernels.cache.pool import free_blocks
from replay.kernels.cache.radix_life import admit_radix, complete_radix, rows_for_radix
from replay.kernels.cache.verbs import (
    acquire,
    admitted,
    match,
    name_evictor,
    publish,
    release,
    rows_left,
    take_blocks,
)
from replay.kernels.jit import by_tables, inner
from replay.kernels.layout import (
    ADMITTED_NS,
    ATTEMPTS,
    BLOCK_SIZE,
    CAPACITY_MISS,
    COMPLETED,
    ENABLED,
    EVICTABLE_AFTER,
    EVICTED_BLOCKS,
    EVICTED_LATER,
    EVICTIONS,
    FIRST_HELD,
    FOUND,
    FREE_AFTER,
    HELD,
    HOLD_NS,
    IDLE,
    INPUT_TOKENS,
    LAST_HOLD,
    MATCH_BLOCKS,
    NONE,
    NOW_NS,
    OUTPUT_TOKENS,
    PATH_BLOCKS,
    PATH_START,
    PATH_STOP,
    PROMPT_BLOCKS,
    REJECTED,
    RESPONSE,
    RESPONSE_CACHED,
    RESPONSE_SKIPPED,
    RESPONSES,
    STATUS,
    RadixTables,
)

REFUSED, ADMITTED, OUT_OF_ROWS = 0, 1, 2


@inner
def admit(t, request):
    """Try once to admit a request; return ADMITTED, REFUSED, or OUT_OF_ROWS.

    With OUT_OF_ROWS nothing has changed: the tables must grow first. Rows are left for completing
    the request right after its admission.
    """
    t.holdings[request, LAST_HOLD] = NONE
    came_to = _admit_to(t, request)
    if came_to == ADMITTED:
        t.outcome[request, ADMITTED_NS] = t.counters[NOW_NS]
        if t.rules[HOLD_NS] > 0:
            t.outcome[request, FREE_AFTER] = free_blocks(t)
            t.outcome[request, EVICTABLE_AFTER] = t.counters[IDLE]
    return came_to


@by_tables
def may_complete(kind):
    """Return whether the tables have the rows that completing a request can need."""
    return _radix_may_complete if kind is RadixTables else _may_complete


@inner
def complete(t, request):
    """Add the response of an admitted request where it fits, then give everything back."""
    _complete_in(t, request)
    t.outcome[request, STATUS] = COMPLETED
    if t.rules[HOLD_NS] == 0:
        t.outcome[request, FREE_AFTER] = free_blocks(t)
        t.outcome[request, EVICTABLE_AFTER] = t.counters[IDLE]


@inner
def reject(t, request):
    """Give up on a request that does not fit although nothing else is running."""
    t.outcome[request, STATUS] = REJECTED
    t.outcome[request, ADMITTED_NS] = t.counters[NOW_NS]
    t.outcome[request, FREE_AFTER] = free_blocks(t)
    t.outcome[request, EVICTABLE_AFTER] = t.counters[IDLE]
    attribute(t, request, 0, 0, NONE)


@by_tables
def _admit_to(kind):
    return _admit_nodes if kind is RadixTables else _admit_blocks


@by_tables
def _complete_in(kind):
    return complete_radix if kind is RadixTables else _complete_blocks


# --- radix cache ----------------------------------------------------------------------------


@inner
def _admit_nodes(t, request):
    if not rows_for_radix(t):
        return OUT_OF_ROWS
    return ADMITTED if admit_radix(t, request) else REFUSED


@inner
def _radix_may_complete(t, request):
    return rows_for_radix(t)


# --- block pool and session store -----------------------------------------------------------


@inner
def _may_complete(t, request):
    return rows_left(t, 2 * (t.plan[request, PATH_STOP] - t.plan[request, PATH_START]))


@inner
def _admit_blocks(t, request):
    size = t.rules[BLOCK_SIZE]
    tokens = t.plan[request, INPUT_TOKENS]
    prompt = (tokens + size - 1) // size
    hit = 0
    idle = 0
    pieces = 0
    if t.rules[ENABLED]:
        limit = t.plan[request, MATCH_BLOCKS]
        hit, idle, pieces = match(t, request, limit)
    path = t.plan[request, PATH_STOP] - t.plan[request, PATH_START]
    if not rows_left(t, 2 * (pieces + path)):
        return OUT_OF_ROWS
    t.outcome[request, ATTEMPTS] += 1
    t.outcome[request, FOUND] = hit
    if prompt - hit + idle > free_blocks(t):
        return REFUSED
    session = acquire(t, request, hit)
    attribute(t, request, hit, session, t.untimed[FIRST_HELD])
    if t.outcome[request, CAPACITY_MISS] > 0:
        name_evictor(t, request, hit)
    mark_seen(t, request)
    admitted(t, request)
    evictions = t.counters[EVICTIONS]
    take_blocks(t, prompt - hit, request)
    t.holdings[request, HELD] = prompt
    t.outcome[request, EVICTED_BLOCKS] = t.counters[EVICTIONS] - evictions
    if t.rules[ENABLED]:
        blocks = t.plan[request, PROMPT_BLOCKS]
        publish(t, request, blocks)
    return ADMITTED


@inner
def _complete_blocks(t, request):
    if t.rules[RESPONSES]:
        _respond(t, request)
    mark_response_seen(t, request)
    release(t, request)


@inner
def _respond(t, request):
    """Add the response to the cache, all of it or, where it does not fit, nothing."""
    size = t.rules[BLOCK_SIZE]
    last = t.plan[request, INPUT_TOKENS] + t.plan[request, OUTPUT_TOKENS] - 1
    grown = (last + size - 1) // size - t.holdings[request, HELD]
    if grown > free_blocks(t):
        t.outcome[request, RESPONSE] = RESPONSE_SKIPPED
        return
    evictions = t.counters[EVICTIONS]
    take_blocks(t, grown, request)
    t.outcome[request, EVICTED_LATER] = t.counters[EVICTIONS] - evictions
    t.outcome[request, RESPONSE] = RESPONSE_CACHED
    t.holdings[request, HELD] += grown
    if t.rules[ENABLED]:
        blocks = t.plan[request, PATH_BLOCKS]
        publish(t, request, blocks)
