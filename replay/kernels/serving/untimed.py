"""Replay requests in order of arrival without a GPU: one after another, or held in flight.

The protocol of the engine measurements. A virtual clock goes from event to event. At an arrival
everything due has completed and the request is looked up; while it does not fit, the running
request that ends first is completed, the clock goes on to its end, and the look-up is made anew;
where nothing is running any more, it is rejected. Admission is strictly in order of arrival.

With HOLD_NS an admitted request stays for so long. All are held equally long, so they end in the
order in which they were admitted, and the list of running requests is the queue of completions:

    hold 10:   arrivals 0 3 12     admitted at 0, 3, 12     completed at 10, 13, 22
    the third needs what both hold:             13          completed at 10, 13, 23

Without HOLD_NS it is the same loop with every request completed as soon as it is admitted.
"""

from __future__ import annotations

from replay.kernels.cache.verbs import at_time
from replay.kernels.jit import inner, kernel
from replay.kernels.layout import (
    A_COMPLETION,
    AN_ARRIVAL,
    ANOTHER_LOOK,
    ARRIVAL_NS,
    DONE_NS,
    FIRST_HELD,
    HOLD_NS,
    LAST_HELD,
    NEXT_RUNNING,
    NEXT_STEP,
    NONE,
    NOW_NS,
    PREVIOUS_RUNNING,
)
from replay.kernels.serving.lifecycle import (
    OUT_OF_ROWS,
    REFUSED,
    admit,
    complete,
    may_complete,
    reject,
)

FINISHED, NEEDS_ROWS, PAUSED = 0, 1, 2


@kernel
def replay_untimed(t, start, stop):
    """Replay requests start..stop; return (reason, next request).

    PAUSED: all of them were admitted or rejected, some may still be held. FINISHED: these were
    the last ones, and all have completed. NEEDS_ROWS: a table must grow first. The next call
    goes on from the request returned.
    """
    hold_ns = t.rules[HOLD_NS]
    request = start
    while True:
        step = t.untimed[NEXT_STEP]
        first = t.untimed[FIRST_HELD]
        draining = request == stop
        if draining and step == AN_ARRIVAL and stop < t.plan.shape[0]:
            return PAUSED, request
        if draining and first == NONE:
            return FINISHED, request
        now = t.counters[NOW_NS]
        if step == AN_ARRIVAL and not draining:
            now = max(now, t.plan[request, ARRIVAL_NS])
        done = NONE
        if first != NONE:
            due = step == AN_ARRIVAL and t.outcome[first, DONE_NS] <= now
            if draining or due or step == A_COMPLETION:
                if not may_complete(t, first):
                    return NEEDS_ROWS, request
                now = max(t.counters[NOW_NS], t.outcome[first, DONE_NS])
                _stop_holding(t, first)
                done = first
                if step == A_COMPLETION:
                    t.untimed[NEXT_STEP] = ANOTHER_LOOK
        at_time(t, now)
        if done == NONE:
            came_to = admit(t, request)
            if came_to == OUT_OF_ROWS:
                return NEEDS_ROWS, request
            if came_to == REFUSED and first != NONE:
                t.untimed[NEXT_STEP] = A_COMPLETION
                continue
            t.untimed[NEXT_STEP] = AN_ARRIVAL
            if came_to == REFUSED:
                reject(t, request)
            elif hold_ns > 0:
                _start_holding(t, request)
            else:
                done = request
            request += 1
        if done != NONE:
            complete(t, done)


# --- the list of running requests, by order of admission and of completion ------------------


@inner
def _start_holding(t, request):
    last = t.untimed[LAST_HELD]
    t.state[request, PREVIOUS_RUNNING] = last
    t.state[request, NEXT_RUNNING] = NONE
    if last == NONE:
        t.untimed[FIRST_HELD] = request
    else:
        t.state[last, NEXT_RUNNING] = request
    t.untimed[LAST_HELD] = request
    t.outcome[request, DONE_NS] = t.counters[NOW_NS] + t.rules[HOLD_NS]


@inner
def _stop_holding(t, first):
    """Take the first request off the list."""
    after = t.state[first, NEXT_RUNNING]
    t.untimed[FIRST_HELD] = after
    if after == NONE:
        t.untimed[LAST_HELD] = NONE
    else:
        t.state[after, PREVIOUS_RUNNING] = NONE
