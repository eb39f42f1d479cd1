"""The steps in flight: planned, with a time to end, and what they bring once they have.

One step is in flight while the engine waits for it; two where it plans the next one meanwhile. All
that a step computes, samples and takes is settled when it is planned, but for what others can see:
blocks it publishes on its end, and requests it completes, whose blocks are given back then.
"""

from __future__ import annotations

from replay.kernels.cache.causes import mark_response_seen
from replay.kernels.cache.verbs import publish, release, step_ended
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ASYNC,
    BLOCKED,
    BRINGING_COUNT,
    CLOCK_NS,
    COMPLETED,
    COMPUTED,
    DONE,
    DONE_NS,
    ENABLED,
    END_NS,
    ENDING_COUNT,
    FLIGHT,
    FLIGHTS,
    GONE,
    PHASE,
    RANK,
    STATUS,
    WAITING,
    WAITING_COUNT,
)
from replay.kernels.serving.batch import stop_running
from replay.kernels.serving.fills import visible_blocks

ANY_RANK = 1 << 62


@inner
def is_full(t, e):
    """Return whether the next step cannot be planned before one has ended."""
    return e.now[FLIGHTS] > t.rules[ASYNC]


@inner
def newest(e):
    """Return the row of the flight that is being planned, one of two."""
    return e.now[FLIGHT] ^ (e.now[FLIGHTS] & 1)


@inner
def take_off(e, end_ns):
    """Let the step that was planned run until `end_ns`."""
    flight = newest(e)
    e.flights[flight, END_NS] = end_ns
    e.now[FLIGHTS] += 1


@inner
def end_with(t, e, flight, request):
    """Complete a request when a flight ends; those admitted first give their blocks back first."""
    place = e.flights[flight, ENDING_COUNT]
    rank = t.state[request, RANK]
    while place > 0 and t.state[e.ending[flight, place - 1], RANK] > rank:
        e.ending[flight, place] = e.ending[flight, place - 1]
        place -= 1
    e.ending[flight, place] = request
    e.flights[flight, ENDING_COUNT] += 1


@inner
def bring(t, e, flight, request, tokens):
    """Publish what a request has computed, up to `tokens`, when a flight ends, in its order."""
    place = e.flights[flight, BRINGING_COUNT]
    rank = t.state[request, RANK]
    while place > 0 and t.state[e.bringing[flight, place - 1, 0], RANK] > rank:
        e.bringing[flight, place, 0] = e.bringing[flight, place - 1, 0]
        e.bringing[flight, place, 1] = e.bringing[flight, place - 1, 1]
        place -= 1
    e.bringing[flight, place, 0] = request
    e.bringing[flight, place, 1] = tokens
    e.flights[flight, BRINGING_COUNT] += 1


@inner
def land(t, e):
    """Wait for the oldest flight and take in what it brings."""
    now = e.now
    flight = now[FLIGHT]
    now[FLIGHT] = flight ^ t.rules[ASYNC]
    now[FLIGHTS] -= 1
    now[CLOCK_NS] = e.flights[flight, END_NS]
    step_ended(t, now[CLOCK_NS])
    brought = 0
    for at in range(e.flights[flight, ENDING_COUNT]):
        request = e.ending[flight, at]
        if brought < e.flights[flight, BRINGING_COUNT]:
            brought = _publish_brought(t, e, flight, brought, t.state[request, RANK])
        _complete(t, e, request)
    if brought < e.flights[flight, BRINGING_COUNT]:
        _publish_brought(t, e, flight, brought, ANY_RANK)
    e.flights[flight, ENDING_COUNT] = 0
    e.flights[flight, BRINGING_COUNT] = 0


@rare
def _publish_brought(t, e, flight, brought, rank):
    """Publish what a flight brings of requests up to a rank; return the place of the next one."""
    while brought < e.flights[flight, BRINGING_COUNT]:
        request = e.bringing[flight, brought, 0]
        if t.state[request, RANK] > rank:
            break
        phase = t.state[request, PHASE]
        if phase != WAITING and phase != GONE:  # it may have lost its place meanwhile
            publish(t, request, visible_blocks(t, request, e.bringing[flight, brought, 1]))
            e.now[BLOCKED] = 0
        brought += 1
    return brought


@inner
def _complete(t, e, request):
    """Give back what a finished request holds, its cacheable blocks published."""
    mark_response_seen(t, request)
    if t.state[request, PHASE] == GONE:
        e.now[WAITING_COUNT] -= 1
    else:
        if t.rules[ENABLED]:
            publish(t, request, visible_blocks(t, request, t.state[request, COMPUTED]))
        release(t, request)
        stop_running(t, e, request)
    t.state[request, PHASE] = DONE
    t.outcome[request, STATUS] = COMPLETED
    t.outcome[request, DONE_NS] = e.now[CLOCK_NS]
