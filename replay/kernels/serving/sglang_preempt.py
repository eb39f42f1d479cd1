"""Taking running requests' rows for a more urgent one. Lack of memory alone takes nobody's."""

from __future__ import annotations

from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    DECODING_COUNT,
    FILLED,
    LOOKED,
    NEXT_DECODING,
    NONE,
    OUTPUT_TOKENS,
    PREEMPTION_THRESHOLD,
    PRIORITY_OF,
    QUEUED,
)
from replay.kernels.serving.sglang_layout import CHOSEN, CLIP, FIRST_DECODING, TOTAL
from replay.kernels.serving.sglang_running import reserve, retract


@inner
def _next_victim(t, e, first):
    """Return the least urgent running request, the last queued of equals, not chosen yet."""
    least = NONE
    request = e.now[FIRST_DECODING]
    while request != NONE:
        chosen = False
        for at in range(first, e.now[CHOSEN]):
            chosen = chosen or e.chosen[at] == request
        if not chosen and (least == NONE or _less_urgent(t, request, least)):
            least = request
        request = t.state[request, NEXT_DECODING]
    return least


@inner
def _less_urgent(t, one, other):
    if t.plan[one, PRIORITY_OF] != t.plan[other, PRIORITY_OF]:
        return t.plan[one, PRIORITY_OF] < t.plan[other, PRIORITY_OF]
    return t.state[one, QUEUED] > t.state[other, QUEUED]


@rare
def preempt(t, e, request, remaining):
    """Send running requests away for a waiting one; return whether that was done.

    They must be less urgent by more than the threshold, and what they leave must be enough for
    what it wanted when it was last looked up: all of them together, or nobody goes.
    """
    now = e.now
    first = now[CHOSEN]
    wanted = t.state[request, FILLED] - t.state[request, LOOKED]
    wanted += min(t.plan[request, OUTPUT_TOKENS], CLIP)
    missing = wanted - (remaining - e.ratios[TOTAL])
    done = False
    while not done:
        victim = _next_victim(t, e, first)
        if victim == NONE:
            break
        lead = t.plan[request, PRIORITY_OF] - t.plan[victim, PRIORITY_OF]
        if lead <= t.rules[PREEMPTION_THRESHOLD]:
            break
        e.chosen[now[CHOSEN]] = victim
        now[CHOSEN] += 1
        missing -= reserve(t, e, victim)
        done = missing <= 0
    if not done:
        now[CHOSEN] = first
        return False
    _send_away(t, e, first)
    return True


@inner
def _send_away(t, e, first):
    """Retract the chosen, in the order in which they run."""
    left = e.now[DECODING_COUNT]
    request = e.now[FIRST_DECODING]
    while request != NONE:
        following = t.state[request, NEXT_DECODING]
        chosen = False
        for at in range(first, e.now[CHOSEN]):
            chosen = chosen or e.chosen[at] == request
        if chosen:
            e.ratios[TOTAL] -= reserve(t, e, request)
            left -= 1
            retract(t, e, request, left)
        request = following
