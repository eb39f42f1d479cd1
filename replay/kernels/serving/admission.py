"""Who joins the running requests: the head of the queue, for as long as it fits.

Nobody overtakes it. A prefix is looked up at that moment, and changes nothing unless the request
is admitted.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_seen
from replay.kernels.cache.pool import free_blocks
from replay.kernels.cache.verbs import acquire, admitted, match, name_evictor, rows_left
from replay.kernels.jit import inner
from replay.kernels.layout import (
    ADMISSION,
    ADMISSIONS,
    BLOCK_SIZE,
    BLOCKED,
    BUDGET,
    CALL_ADMITTED,
    CAP,
    CAPACITY_MISS,
    CHUNKED_PREFILL,
    CLOCK_NS,
    COMPUTED,
    ENABLED,
    FCFS,
    FIRST_RUNNING,
    INPUT_TOKENS,
    IS_HELD,
    KIND,
    LAST_HIT,
    LAST_HOLD,
    LAST_SCHEDULED_NS,
    LOST,
    MATCH_BLOCKS,
    MAX_ACTIVE,
    NONE,
    ORDER,
    PARTIAL_BLOCKS,
    PATH_BLOCKS,
    PATH_START,
    PATH_STOP,
    PINS,
    PREFILLING_COUNT,
    RADIX,
    RANK,
    RECOMPUTED,
    RESERVE_FULL,
    ROW_RESERVE,
    RUNNING,
    SCHEDULED_NS,
    SESSION_STORE,
    SKIPS,
    STEP_PREEMPTIONS,
    TARGET,
    TTL_NS,
    WATERMARK_BLOCKS,
)
from replay.kernels.serving.batch import start_running
from replay.kernels.serving.schedule import blocks_wanted, take_chunk
from replay.kernels.serving.waiting import head, last_block, somebody_waits, take_head, turn_away


@inner
def admit(t, e):
    """Admit waiting requests in order while they fit; False if a table must grow first."""
    now = e.now
    if now[STEP_PREEMPTIONS] > 0:
        return True
    while now[RUNNING] < t.rules[MAX_ACTIVE] and now[BUDGET] > 0 and now[BLOCKED] == 0:
        if not somebody_waits(t, e):
            return True
        request = head(t, e)
        again = t.state[request, RANK] > 0
        if not again:
            t.state[request, LAST_HOLD] = NONE
            t.state[request, TARGET] = t.plan[request, INPUT_TOKENS]
        hit, idle, pieces = _look_up(t, request, again)
        if now[RUNNING] == 0 and last_block(t, request) - hit + idle > free_blocks(t):
            take_head(t, e)
            turn_away(t, request)  # what is pinned leaves it too little even alone
            continue
        computed = _tokens_of(t, request, hit)
        left = t.state[request, TARGET] - computed
        chunk = min(left, now[CAP])
        if now[IS_HELD] and left > 1:
            return True
        if t.rules[CHUNKED_PREFILL] == 0 and chunk > now[BUDGET]:
            return True
        chunk = min(chunk, now[BUDGET])
        if not _fits(t, e, request, hit, idle, computed + chunk):
            now[BLOCKED] = _stays_blocked(t)
            return True
        path = t.plan[request, PATH_STOP] - t.plan[request, PATH_START]
        if not rows_left(t, t.rules[ROW_RESERVE] + 2 * (pieces + path)):
            return False
        take_head(t, e)
        _start(t, e, request, hit, computed, chunk)
    return True


@inner
def _fits(t, e, request, hit, idle, computed):
    """Return whether a request fits: its whole prompt, or what will be computed with this step."""
    size = t.rules[BLOCK_SIZE]
    tokens = t.state[request, TARGET] if t.rules[RESERVE_FULL] else computed
    spare = t.rules[WATERMARK_BLOCKS] if e.now[RUNNING] > 0 else 0
    return (tokens + size - 1) // size - hit + idle + spare <= free_blocks(t)


@inner
def _stays_blocked(t):
    """Return whether the head will not fit, or another come first, before something is given back.

    Where KV expires, looking up again may matter: in a radix cache a look-up that fails still
    touches, and in a pool an older copy of a pinned block may have gone, so that one which is not
    free anyway is found.
    """
    looks = t.rules[TTL_NS] > 0 and (t.rules[KIND] == RADIX or t.rules[PINS] != 0)
    return t.rules[RESERVE_FULL] and t.rules[ORDER] == FCFS and not looks


@inner
def _look_up(t, request, again):
    if t.rules[ENABLED] == 0:
        return 0, 0, 0
    limit = t.plan[request, MATCH_BLOCKS]
    if again and t.rules[PARTIAL_BLOCKS] == 0 and not t.plan[request, SKIPS]:
        known = (t.state[request, TARGET] - 1) // t.rules[BLOCK_SIZE]
        limit = min(known, t.plan[request, PATH_BLOCKS])
        if t.rules[KIND] == SESSION_STORE:  # it keeps responses once they are whole
            limit = min(known, t.plan[request, INPUT_TOKENS])
    return match(t, request, limit)


@inner
def _tokens_of(t, request, hit):
    """Return the tokens `hit` blocks save; the last one before the next sample is computed."""
    tokens = hit * t.rules[BLOCK_SIZE]
    if t.rules[PARTIAL_BLOCKS]:
        tokens = min(tokens, t.plan[request, INPUT_TOKENS])
    return min(tokens, t.state[request, TARGET] - 1)


@inner
def _start(t, e, request, hit, computed, chunk):
    """Admit a request that fits: hold its hit, take its first chunk, count what it missed."""
    now = e.now
    again = t.state[request, RANK] > 0
    session = acquire(t, request, hit)
    if again:
        lost = min(t.state[request, LOST], t.state[request, TARGET])
        t.outcome[request, RECOMPUTED] += max(lost - computed, 0)
    else:
        attribute(t, request, hit, session, now[FIRST_RUNNING])
        if t.outcome[request, CAPACITY_MISS] > 0:
            name_evictor(t, request, hit)
        mark_seen(t, request)
        t.outcome[request, SCHEDULED_NS] = now[CLOCK_NS]
        t.outcome[request, ADMISSION] = now[ADMISSIONS] + 1
    t.outcome[request, LAST_SCHEDULED_NS] = now[CLOCK_NS]
    t.outcome[request, LAST_HIT] = computed
    admitted(t, request)
    t.state[request, COMPUTED] = computed
    at = now[PREFILLING_COUNT]
    start_running(t, e, request)
    now[CALL_ADMITTED] += 1
    take_chunk(t, e, request, at, chunk, blocks_wanted(t, request, chunk))
