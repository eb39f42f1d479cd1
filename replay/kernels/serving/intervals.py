"""What steps add to the timeline: sums by interval of time, which widen as time goes on."""

from __future__ import annotations

from replay.kernels.cache.pool import free_blocks
from replay.kernels.jit import inner
from replay.kernels.layout import (
    BIN_EVICTED,
    BIN_FIELDS,
    BIN_NS,
    BIN_PREEMPTIONS,
    BUSY_NS,
    CACHED_BLOCK_NS,
    CAPACITY,
    DECODE_TOKENS,
    EVICTIONS,
    IDLE,
    NOTED_EVICTIONS,
    NOTED_PREEMPTIONS,
    PINNED_IDLE,
    PREFILL_TOKENS,
    RUNNING,
    RUNNING_NS,
    STEPS,
    TOTAL_PREEMPTIONS,
    USED_BLOCK_NS,
    WAITING_MAX,
    WAITING_NS,
)


@inner
def add_step(t, e, end_ns, duration_ns, prompt_tokens, decoding, waiting):
    """Add a step to the interval in which it ends; the others wait and hold memory meanwhile."""
    now = e.now
    _widen(e, end_ns)
    at = end_ns // now[BIN_NS]
    e.bins[at, STEPS] += 1
    e.bins[at, BUSY_NS] += duration_ns
    e.bins[at, PREFILL_TOKENS] += prompt_tokens
    e.bins[at, DECODE_TOKENS] += decoding
    e.bins[at, RUNNING_NS] += now[RUNNING] * duration_ns
    e.bins[at, WAITING_NS] += waiting * duration_ns
    e.bins[at, WAITING_MAX] = max(e.bins[at, WAITING_MAX], waiting)
    idle = t.counters[PINNED_IDLE]
    used = t.counters[CAPACITY] - free_blocks(t) - idle
    e.bins[at, USED_BLOCK_NS] += used * duration_ns
    e.bins[at, CACHED_BLOCK_NS] += (t.counters[IDLE] + idle) * duration_ns
    _add_losses(t, e, at)


@inner
def _widen(e, end_ns):
    """Double the intervals until there is one for `end_ns`."""
    now = e.now
    count = e.bins.shape[0]
    while end_ns >= count * now[BIN_NS]:
        now[BIN_NS] *= 2
        for at in range(count):
            for field in range(BIN_FIELDS):
                first, second = 0, 0
                if 2 * at < count:
                    first = e.bins[2 * at, field]
                if 2 * at + 1 < count:
                    second = e.bins[2 * at + 1, field]
                e.bins[at, field] = max(first, second) if field == WAITING_MAX else first + second


@inner
def add_losses(t, e, when_ns):
    """Add what was evicted and preempted since the last time to the interval of `when_ns`."""
    _add_losses(t, e, min(when_ns // e.now[BIN_NS], e.bins.shape[0] - 1))


@inner
def _add_losses(t, e, at):
    now = e.now
    e.bins[at, BIN_EVICTED] += t.counters[EVICTIONS] - now[NOTED_EVICTIONS]
    e.bins[at, BIN_PREEMPTIONS] += now[TOTAL_PREEMPTIONS] - now[NOTED_PREEMPTIONS]
    now[NOTED_EVICTIONS] = t.counters[EVICTIONS]
    now[NOTED_PREEMPTIONS] = now[TOTAL_PREEMPTIONS]
