"""What a step gives to the requests that run: one token to a decode, a chunk to a prompt.

Where budget and memory are enough for all, nobody but the prompts is visited: the decodes take one
token each and, all together, the blocks that they open. Otherwise the running requests are visited
in order of admission, as the engine does: who needs a block that is not there takes the place of
the one admitted last, or of the least urgent one; when the budget is spent the others get nothing.
"""

from __future__ import annotations

from replay.kernels.cache.pool import free_blocks
from replay.kernels.cache.verbs import publish, take_blocks, take_spare
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ARRIVAL_NS,
    ASYNC,
    BLOCK_POOL,
    BLOCK_SIZE,
    BLOCKED,
    BUDGET,
    CALL_ADMITTED,
    CALL_EVICTIONS,
    CAP,
    COMMIT,
    COMPUTED,
    DECODE_STEP,
    DECODING,
    DECODING_COUNT,
    ENABLED,
    EVICTED_BLOCKS,
    EVICTIONS,
    FINISHING_COUNT,
    FIRST_RUNNING,
    FLIGHT,
    FLIGHTS,
    HELD,
    IS_HELD,
    KIND,
    LAST_RUNNING,
    LEFT_NOBODY,
    LONG_PREFILL,
    LONG_PREFILL_ADAPTIVE,
    MAX_BATCHED_TOKENS,
    NEXT_RUNNING,
    NONE,
    ON_COMPLETION,
    ON_SCHEDULE,
    OPENING,
    ORDER,
    PHASE,
    PREFILL_INTERVAL,
    PREFILLING,
    PREFILLING_COUNT,
    PRIORITY,
    PRIORITY_OF,
    RADIX,
    RANK,
    RUNNING,
    SHARES,
    SINCE_PREFILL,
    STALLED_COUNT,
    STEP_PREEMPTIONS,
    TARGET,
    UNKEYED,
    WAITING_COUNT,
)
from replay.kernels.serving.batch import leave_decodes, opens_block_now, preempt
from replay.kernels.serving.fills import (
    first_fill,
    opens_at,
    publish_fill,
    publish_fills,
    visible_blocks,
)
from replay.kernels.serving.flights import bring
from replay.kernels.serving.heap import remove

ANY_LENGTH = ANY_RANK = 1 << 62


@inner
def begin_step(t, e):
    """Begin to plan a step: its budget, and how much of that one prompt may take."""
    now = e.now
    now[STEP_PREEMPTIONS] = 0
    now[STALLED_COUNT] = 0
    now[CALL_ADMITTED] = 0
    now[CALL_EVICTIONS] = t.counters[EVICTIONS]
    now[BUDGET] = t.rules[MAX_BATCHED_TOKENS]
    now[OPENING] = e.phases[now[DECODE_STEP] % t.rules[BLOCK_SIZE]]
    now[CAP] = ANY_LENGTH
    unfinished = now[RUNNING] + now[WAITING_COUNT]
    if t.rules[LONG_PREFILL] > 0 and unfinished > 1:
        now[CAP] = t.rules[LONG_PREFILL]
        if t.rules[LONG_PREFILL_ADAPTIVE]:
            now[CAP] = max(now[CAP], t.rules[MAX_BATCHED_TOKENS] // unfinished)
    now[IS_HELD] = (
        now[SINCE_PREFILL] + 1 < t.rules[PREFILL_INTERVAL]
        and now[RUNNING] > now[PREFILLING_COUNT]
        and now[LEFT_NOBODY]
    )
    for at in range(now[PREFILLING_COUNT]):
        e.chunks[at] = 0


@inner
def schedule_running(t, e):
    """Give the running requests what the step has for them."""
    if _is_enough(t, e):
        _give_all(t, e)
    else:
        _give_in_turn(t, e)


@inner
def _is_enough(t, e):
    """Return whether nobody runs short, so that the order of taking makes no difference.

    Sets the chunks of prompts. A prompt cut short by the budget must be the last in the list; and
    where others follow a prompt nothing may be evicted, so that it is clear for whom.
    """
    now = e.now
    budget = now[BUDGET] - now[DECODING_COUNT]
    wanted = now[OPENING]
    for at in range(now[PREFILLING_COUNT] * (1 - now[IS_HELD])):
        request = e.prefilling[at]
        whole = min(t.state[request, TARGET] - t.state[request, COMPUTED], now[CAP])
        chunk = max(min(whole, budget), 0)
        if chunk < whole and request != now[LAST_RUNNING]:
            return False
        e.chunks[at] = chunk
        budget -= chunk
        wanted += blocks_wanted(t, request, chunk)
    spare = int(t.rules[KIND] == RADIX)  # a prompt wants a page more than it takes
    if wanted + spare > t.counters[UNKEYED] and now[PREFILLING_COUNT] > 0:
        if now[PREFILLING_COUNT] > 1 or e.prefilling[0] != now[LAST_RUNNING]:
            return False
    return budget >= 0 and wanted <= free_blocks(t)


@inner
def _give_all(t, e):
    now = e.now
    opened = now[OPENING]
    take_blocks(t, opened, NONE)
    now[BUDGET] -= now[DECODING_COUNT]
    fill = NONE
    if t.rules[COMMIT] == ON_SCHEDULE and now[DECODING_COUNT] > 0:
        fill = first_fill(t, e, t.rules[ASYNC])
    for at in range(now[PREFILLING_COUNT]):
        chunk = e.chunks[at]
        if chunk > 0:
            request = e.prefilling[at]
            if fill != NONE:
                fill = publish_fills(t, e, fill, t.state[request, RANK])
            take_chunk(t, e, request, at, chunk, blocks_wanted(t, request, chunk))
    if fill != NONE:
        publish_fills(t, e, fill, ANY_RANK)


@inner
def blocks_wanted(t, request, chunk):
    """Return how many blocks a prompt needs for its next `chunk` tokens."""
    size = t.rules[BLOCK_SIZE]
    tokens = t.state[request, COMPUTED] + chunk
    return max((tokens + size - 1) // size - t.holdings[request, HELD], 0)


@inner
def take_chunk(t, e, request, at, chunk, wanted):
    """Give a prompt, at a place of those being computed, its tokens and blocks."""
    evictions = t.counters[EVICTIONS]
    take_spare(t, wanted, request, 1)
    t.outcome[request, EVICTED_BLOCKS] += t.counters[EVICTIONS] - evictions
    t.holdings[request, HELD] += wanted
    e.chunks[at] = chunk
    e.now[BUDGET] -= chunk
    if t.rules[ENABLED] and t.rules[COMMIT] == ON_SCHEDULE:
        publish(t, request, visible_blocks(t, request, t.state[request, COMPUTED] + chunk))
        e.now[BLOCKED] = 0  # it may be what the first waiting request lacks


# --- one after another ----------------------------------------------------------------------


@rare
def _give_in_turn(t, e):
    now = e.now
    at = 0
    for place in range(now[PREFILLING_COUNT]):
        e.chunks[place] = 0
    request = now[FIRST_RUNNING]
    while request != NONE and now[BUDGET] > 0:
        following = t.state[request, NEXT_RUNNING]
        phase = t.state[request, PHASE]
        chunk = 0
        wanted = 0
        if phase == DECODING:
            chunk = 1
            wanted = int(opens_block_now(t, e, request))
        elif phase == PREFILLING and not now[IS_HELD]:
            left = t.state[request, TARGET] - t.state[request, COMPUTED]
            chunk = min(left, now[CAP], now[BUDGET])
            wanted = blocks_wanted(t, request, chunk)
        if chunk > 0:
            stays, following = _make_room(t, e, request, wanted, following)
            if not stays and t.rules[ORDER] != PRIORITY:
                return  # it was the last one running
            if stays and phase == DECODING:
                _give_decode(t, e, request, wanted)
            elif stays:
                at = _place_of(e, request)
                take_chunk(t, e, request, at, chunk, wanted)
        request = following
    _stall(t, e, request)


@rare
def _place_of(e, request):
    at = 0
    while e.prefilling[at] != request:
        at += 1
    return at


@rare
def _give_decode(t, e, request, wanted):
    take_blocks(t, wanted, NONE)
    e.now[BUDGET] -= 1
    if t.rules[COMMIT] == ON_SCHEDULE and t.plan[request, SHARES]:
        size = t.rules[BLOCK_SIZE]
        if opens_at(t, request) == (e.now[DECODE_STEP] + 1 - t.rules[ASYNC]) % size:
            publish_fill(t, e, request)


@rare
def _make_room(t, e, request, wanted, following):
    """Preempt until `wanted` blocks are free; return whether `request` stays, and who follows."""
    while free_blocks(t) < wanted:
        victim = _least_urgent(t, e) if t.rules[ORDER] == PRIORITY else e.now[LAST_RUNNING]
        if victim == following:
            following = t.state[victim, NEXT_RUNNING]
        phase = t.state[victim, PHASE]
        given = phase == DECODING and t.state[victim, RANK] < t.state[request, RANK]
        preempt(t, e, victim, int(given))
        if victim == request:
            return False, following
    return True, following


@rare
def _least_urgent(t, e):
    """Return the running request of least urgency, of those the latest; the first of equals."""
    worst = e.now[FIRST_RUNNING]
    request = t.state[worst, NEXT_RUNNING]
    while request != NONE:
        one, other = t.plan[request, PRIORITY_OF], t.plan[worst, PRIORITY_OF]
        later = t.plan[request, ARRIVAL_NS] > t.plan[worst, ARRIVAL_NS]
        if one > other or (one == other and later):
            worst = request
        request = t.state[request, NEXT_RUNNING]
    return worst


@rare
def _stall(t, e, request):
    """Let decodes from `request` on sit out the step: its budget is spent.

    What they filled before, planned ahead, is published when the step in flight has ended.
    """
    now = e.now
    while request != NONE:
        if t.state[request, PHASE] == DECODING:
            now[FINISHING_COUNT] = remove(e.finishing, now[FINISHING_COUNT], request)
            leave_decodes(t, e, request, 0)
            e.stalled[now[STALLED_COUNT]] = request
            now[STALLED_COUNT] += 1
            _publish_stalled(t, e, request)
        request = t.state[request, NEXT_RUNNING]


@rare
def _publish_stalled(t, e, request):
    if t.rules[ENABLED] == 0 or t.rules[KIND] != BLOCK_POOL or t.rules[COMMIT] == ON_COMPLETION:
        return
    computed = t.state[request, COMPUTED]
    if e.now[FLIGHTS] > 0:
        bring(t, e, e.now[FLIGHT], request, computed)
    else:
        publish(t, request, visible_blocks(t, request, computed))
