"""The requests that wait: in order of arrival, with those that lost their place first; or by rank.

In order of arrival the queue is two numbers, as requests are numbered so, and a stack of those that
were preempted. By priority it is a heap: smaller is more urgent, then who came earlier.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ADMISSION,
    ADMISSIONS,
    ARRIVAL_NS,
    ARRIVED,
    BLOCK_SIZE,
    CAPACITY,
    CHUNKED_PREFILL,
    CLOCK_NS,
    DONE,
    HEAPED,
    INPUT_TOKENS,
    LAST_HOLD,
    MAX_BATCHED_TOKENS,
    NEXT_WAITING,
    NONE,
    ORDER,
    OUTPUT_TOKENS,
    PHASE,
    PREEMPTED,
    PREEMPTED_COUNT,
    PREVIOUS_RUNNING,
    PRIORITY,
    PRIORITY_OF,
    RANK,
    REJECTED,
    STATUS,
    WAITING,
    WAITING_COUNT,
    WATCH,
)
from replay.kernels.serving.heap import WHO, pop, push


@inner
def let_in(t, e):
    """Let all that arrived by now join the queue; what could not run even alone is turned away."""
    now = e.now
    requests = t.plan.shape[0]
    while now[ARRIVED] < requests and t.plan[now[ARRIVED], ARRIVAL_NS] <= now[CLOCK_NS]:
        request = now[ARRIVED]
        now[ARRIVED] += 1
        t.holdings[request, LAST_HOLD] = NONE  # before it is read: else memory is given twice
        if _never_fits(t, request):
            turn_away(t, request)
        else:
            now[WAITING_COUNT] += 1
            if t.rules[ORDER] == PRIORITY:
                _heap_up(t, e, request)
    _skip_gone(t, e)


@inner
def last_block(t, request):
    """Return how many blocks a request holds in the end, its last token excluded."""
    last = t.plan[request, INPUT_TOKENS] + t.plan[request, OUTPUT_TOKENS] - 1
    return (last + t.rules[BLOCK_SIZE] - 1) // t.rules[BLOCK_SIZE]


@inner
def _never_fits(t, request):
    """Return whether a request could not run even alone.

    Where prompts are not chunked, no request may be longer than a step: once preempted it would
    have to be computed again, its response too.
    """
    tokens = t.plan[request, INPUT_TOKENS] + t.plan[request, OUTPUT_TOKENS]
    if t.rules[CHUNKED_PREFILL] == 0 and tokens > t.rules[MAX_BATCHED_TOKENS]:
        return True
    return last_block(t, request) > t.counters[CAPACITY]


@inner
def turn_away(t, request):
    """Reject a request; unless it was admitted before, what it misses is counted in its turn."""
    t.outcome[request, STATUS] = REJECTED
    t.state[request, PHASE] = DONE


@inner
def _heap_up(t, e, request):
    size = e.now[HEAPED]
    e.now[HEAPED] = push(e.waiting, size, t.plan[request, PRIORITY_OF], request, request)


@inner
def _skip_gone(t, e):
    """Let NEXT_WAITING be the first that was neither admitted nor rejected.

    The prompt of one that was rejected is compared with those that came before it.
    """
    now = e.now
    while now[NEXT_WAITING] < now[ARRIVED]:
        request = now[NEXT_WAITING]
        if t.state[request, RANK] == 0:
            if t.state[request, PHASE] == WAITING:
                return
            count_unseen(t, e, request)
        now[NEXT_WAITING] += 1


@rare
def count_unseen(t, e, request):
    """Count the prompt of a request that was never looked up."""
    t.outcome[request, ADMISSION] = -1 - e.now[ADMISSIONS]
    if t.rules[WATCH] == request:
        t.holdings[request, LAST_HOLD] = NONE  # it holds nothing
    attribute(t, request, 0, 0, NONE)


@inner
def somebody_waits(t, e):
    """Return whether there is somebody to admit."""
    _skip_gone(t, e)
    if t.rules[ORDER] == PRIORITY:
        return e.now[HEAPED] > 0
    return e.now[PREEMPTED_COUNT] > 0 or e.now[NEXT_WAITING] < e.now[ARRIVED]


@inner
def head(t, e):
    """Return who is admitted next; somebody waits."""
    if t.rules[ORDER] == PRIORITY:
        return e.waiting[0, WHO]
    return e.now[PREEMPTED] if e.now[PREEMPTED_COUNT] > 0 else e.now[NEXT_WAITING]


@inner
def take_head(t, e):
    """Take the head out of the queue, just before it is admitted or rejected."""
    now = e.now
    now[WAITING_COUNT] -= 1
    if t.rules[ORDER] == PRIORITY:
        now[HEAPED] = pop(e.waiting, now[HEAPED])
    elif now[PREEMPTED_COUNT] > 0:
        now[PREEMPTED] = t.state[now[PREEMPTED], PREVIOUS_RUNNING]
        now[PREEMPTED_COUNT] -= 1


@inner
def put_back(t, e, request):
    """Put a preempted request back, before all others that arrived unless priorities decide."""
    now = e.now
    t.state[request, PHASE] = WAITING
    if t.rules[ORDER] == PRIORITY:
        _heap_up(t, e, request)
        return
    t.state[request, PREVIOUS_RUNNING] = now[PREEMPTED]
    now[PREEMPTED] = request
    now[PREEMPTED_COUNT] += 1
