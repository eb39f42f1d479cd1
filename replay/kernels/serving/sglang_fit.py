"""Whether memory lasts until all have ended, step by step: admission without a prefix cache.

SGLang asks this instead of keeping a share where requests ignore the end of their text and nothing
is cached: then it knows how many tokens each will generate.
"""

from __future__ import annotations

from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    BLOCK_SIZE,
    INPUT_TOKENS,
    NEXT_DECODING,
    NONE,
    OUTPUT_TOKENS,
    UNKEYED,
)
from replay.kernels.serving.sglang_layout import (
    CURRENT,
    FIRST_DECODING,
    OCCUPIED,
    PARTS,
    STATES,
    TOKENS_LEFT,
    TOTAL,
    WHO,
)
from replay.kernels.serving.sglang_running import generated, pages_of


@inner
def _insert_at(t, e, request, at):
    """Put a request among those that are followed to their end, in front of place `at`."""
    known = generated(t, e, request)
    for place in range(e.now[STATES], at, -1):
        e.states[place, TOKENS_LEFT] = e.states[place - 1, TOKENS_LEFT]
        e.states[place, OCCUPIED] = e.states[place - 1, OCCUPIED]
    e.states[at, TOKENS_LEFT] = t.plan[request, OUTPUT_TOKENS] - known
    e.states[at, OCCUPIED] = t.plan[request, INPUT_TOKENS] + known
    e.now[STATES] += 1


@inner
def _insert_after_equals(t, e, request):
    left = t.plan[request, OUTPUT_TOKENS] - generated(t, e, request)
    if left > 0:
        at = e.now[STATES]
        while at > 0 and e.states[at - 1, TOKENS_LEFT] > left:
            at -= 1
        _insert_at(t, e, request, at)


@inner
def _insert_as_sglang_does(t, e, request):
    """Put a request before the first that ends no earlier; before the last one if none does."""
    left = t.plan[request, OUTPUT_TOKENS] - generated(t, e, request)
    if left > 0:
        count = e.now[STATES]
        at = 0
        while at < count - 1 and e.states[at, TOKENS_LEFT] < left:
            at += 1
        _insert_at(t, e, request, at)


@rare
def fits_to_the_end(t, e, batch, request, need):
    """Return whether a request can be admitted so that all that run can end."""
    now = e.now
    page = t.rules[BLOCK_SIZE]
    paged = (pages_of(t, need) + 1) * page
    available = t.counters[UNKEYED] * page
    if paged > min(float(available - now[CURRENT]), available - e.ratios[TOTAL]):
        return False
    if now[STATES] == NONE:
        now[STATES] = 0
        _insert_after_equals(t, e, request)
        other = now[FIRST_DECODING]
        while other != NONE:
            _insert_after_equals(t, e, other)
            other = t.state[other, NEXT_DECODING]
        for at in range(e.batches[batch, PARTS]):
            _insert_after_equals(t, e, e.parts[batch, at, WHO])
    else:
        _insert_as_sglang_does(t, e, request)
    free = available - now[CURRENT] - paged
    for at in range(now[STATES]):
        those = now[STATES] - at
        if free - e.states[at, TOKENS_LEFT] * those <= those:
            return False
        free += e.states[at, OCCUPIED]
    return True
