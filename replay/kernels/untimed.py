"""Replay requests one after another: each completes before the next, no clock, no GPU.

This is the protocol of the sequential engine measurements: look up, admit the whole prompt and
publish it, then add the response where it fits, then give everything back.
"""

from __future__ import annotations

from replay.kernels.causes import attribute, mark_seen
from replay.kernels.jit import jit
from replay.kernels.layout import (
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
from replay.kernels.pool import (
    acquire,
    free_blocks,
    match,
    publish,
    release,
    rows_left,
    take_blocks,
)

FINISHED, NEEDS_ROWS, PAUSED = 0, 1, 2


@jit
def replay_untimed(
    counters, runs, holds, edges, plan, state, outcome, path_edges, rules, start, stop
):
    """Replay requests start..stop; return (reason, next request).

    `reason` is FINISHED, or NEEDS_ROWS when the tables of runs and holds must grow before the next
    request; the call can then be repeated from there.
    """
    size = rules[BLOCK_SIZE]
    for request in range(start, stop):
        if not rows_left(counters, runs, holds, 0):
            return NEEDS_ROWS, request
        tokens = plan[request, INPUT_TOKENS]
        prompt = (tokens + size - 1) // size
        hit = 0
        idle = 0
        pieces = 0
        if rules[ENABLED]:
            limit = plan[request, MATCH_BLOCKS]
            hit, idle, pieces = match(runs, edges, plan, path_edges, request, limit)
        path = plan[request, PATH_STOP] - plan[request, PATH_START]
        if not rows_left(counters, runs, holds, 2 * pieces + path):
            return NEEDS_ROWS, request
        if prompt - hit + idle > free_blocks(counters):
            outcome[request, STATUS] = REJECTED
            attribute(edges, plan, state, outcome, path_edges, rules, request, 0, 0, NONE)
            continue
        session = acquire(counters, runs, holds, edges, plan, state, path_edges, request, hit)
        attribute(edges, plan, state, outcome, path_edges, rules, request, hit, session, NONE)
        mark_seen(edges, plan, path_edges, request)
        evictions = counters[EVICTIONS]
        take_blocks(counters, runs, edges, prompt - hit)
        state[request, HELD] = prompt
        outcome[request, EVICTED_BLOCKS] = counters[EVICTIONS] - evictions
        if rules[ENABLED]:
            blocks = plan[request, PROMPT_BLOCKS]
            publish(counters, runs, holds, edges, plan, state, path_edges, request, blocks)
        if rules[RESPONSES]:
            _respond(counters, runs, holds, edges, plan, state, path_edges, rules, request)
        release(counters, runs, holds, state, request)
        outcome[request, STATUS] = COMPLETED
        outcome[request, FREE_AFTER] = free_blocks(counters)
    return FINISHED, stop


@jit
def _respond(counters, runs, holds, edges, plan, state, path_edges, rules, request):
    """Add the response to the cache, all of it or, where it does not fit, nothing."""
    size = rules[BLOCK_SIZE]
    last = plan[request, INPUT_TOKENS] + plan[request, OUTPUT_TOKENS] - 1
    grown = (last + size - 1) // size - state[request, HELD]
    if grown > free_blocks(counters):
        return
    take_blocks(counters, runs, edges, grown)
    state[request, HELD] += grown
    if rules[ENABLED]:
        blocks = plan[request, PATH_BLOCKS]
        publish(counters, runs, holds, edges, plan, state, path_edges, request, blocks)
