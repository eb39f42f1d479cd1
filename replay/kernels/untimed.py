"""Replay requests one after another: each completes before the next, no clock, no GPU.

This is the protocol of the sequential engine measurements: look up, admit the whole prompt and
publish it, then add the response where it fits, then give everything back. Time is that of the
arrivals: it matters only to what a cache keeps for a while.
"""

from __future__ import annotations

from replay.kernels.cache import (
    acquire,
    admitted,
    at_time,
    match,
    publish,
    release,
    rows_left,
    take_blocks,
)
from replay.kernels.causes import attribute, mark_response_seen, mark_seen
from replay.kernels.jit import inner, kernel
from replay.kernels.layout import (
    ARRIVAL_NS,
    BLOCK_SIZE,
    COMPLETED,
    ENABLED,
    EVICTED_BLOCKS,
    EVICTIONS,
    FREE_AFTER,
    HELD,
    INPUT_TOKENS,
    MATCH_BLOCKS,
    NONE,
    OUTPUT_TOKENS,
    PATH_BLOCKS,
    PATH_START,
    PATH_STOP,
    PROMPT_BLOCKS,
    REJECTED,
    RESPONSES,
    STATUS,
)
from replay.kernels.pool import free_blocks

FINISHED, NEEDS_ROWS, PAUSED = 0, 1, 2


@kernel
def replay_untimed(t, start, stop):
    """Replay requests start..stop; return (reason, next request).

    `reason` is FINISHED, or NEEDS_ROWS when the tables of runs and holds must grow before the next
    request; the call can then be repeated from there.
    """
    size = t.rules[BLOCK_SIZE]
    for request in range(start, stop):
        if not rows_left(t, 0):
            return NEEDS_ROWS, request
        at_time(t, t.plan[request, ARRIVAL_NS])
        tokens = t.plan[request, INPUT_TOKENS]
        prompt = (tokens + size - 1) // size
        hit = 0
        idle = 0
        pieces = 0
        if t.rules[ENABLED]:
            limit = t.plan[request, MATCH_BLOCKS]
            hit, idle, pieces = match(t, request, limit)
        path = t.plan[request, PATH_STOP] - t.plan[request, PATH_START]
        if not rows_left(t, 2 * pieces + path):
            return NEEDS_ROWS, request
        if prompt - hit + idle > free_blocks(t):
            t.outcome[request, STATUS] = REJECTED
            attribute(t, request, 0, 0, NONE)
            continue
        session = acquire(t, request, hit)
        attribute(t, request, hit, session, NONE)
        mark_seen(t, request)
        admitted(t, request)
        evictions = t.counters[EVICTIONS]
        take_blocks(t, prompt - hit)
        t.state[request, HELD] = prompt
        t.outcome[request, EVICTED_BLOCKS] = t.counters[EVICTIONS] - evictions
        if t.rules[ENABLED]:
            blocks = t.plan[request, PROMPT_BLOCKS]
            publish(t, request, blocks)
        if t.rules[RESPONSES]:
            _respond(t, request)
        mark_response_seen(t, request)
        release(t, request)
        t.outcome[request, STATUS] = COMPLETED
        t.outcome[request, FREE_AFTER] = free_blocks(t)
    return FINISHED, stop


@inner
def _respond(t, request):
    """Add the response to the cache, all of it or, where it does not fit, nothing."""
    size = t.rules[BLOCK_SIZE]
    last = t.plan[request, INPUT_TOKENS] + t.plan[request, OUTPUT_TOKENS] - 1
    grown = (last + size - 1) // size - t.state[request, HELD]
    if grown > free_blocks(t):
        return
    take_blocks(t, grown)
    t.state[request, HELD] += grown
    if t.rules[ENABLED]:
        blocks = t.plan[request, PATH_BLOCKS]
        publish(t, request, blocks)
