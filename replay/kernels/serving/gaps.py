"""The longest gap between two tokens of a request, without visiting it in every step.

All that decode advance together, so what a request waited longest is the longest step since it
joined: step times are remembered as long as no later one is as long. The first gap of a request
begins with a token of its own, and is noted when the batch next advances.
"""

from __future__ import annotations

from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    DECODE_STEP,
    DECODED_NS,
    DECODING,
    FIRST_RUNNING,
    ITL_MAX_NS,
    JOINED,
    LAST_TOKEN_NS,
    NEW_COUNT,
    NEXT_RUNNING,
    NONE,
    PEAKS_FIRST,
    PEAKS_LAST,
    PHASE,
)


@inner
def record_step(t, e, end_ns):
    """Remember the time since the batch last advanced; forget what is nobody's maximum now.

    Those that joined since then waited from a token of their own on: that gap is theirs alone.
    """
    now = e.now
    gap_ns = end_ns - now[DECODED_NS]
    now[DECODED_NS] = end_ns
    last = now[PEAKS_LAST]
    while last > now[PEAKS_FIRST] and e.peaks[last - 1, 1] <= gap_ns:
        last -= 1
    e.peaks[last, 0] = now[DECODE_STEP]
    e.peaks[last, 1] = gap_ns
    now[PEAKS_LAST] = last + 1
    for at in range(now[NEW_COUNT]):
        request = e.new[at]
        first_ns = end_ns - t.state[request, LAST_TOKEN_NS]
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], first_ns)
    now[NEW_COUNT] = 0


@rare
def forget_new(e, request):
    """Take a request that leaves before its first decode from those that wait for it."""
    kept = 0
    for at in range(e.now[NEW_COUNT]):
        if e.new[at] != request:
            e.new[kept] = e.new[at]
            kept += 1
    e.now[NEW_COUNT] = kept


@inner
def peaks_left(t, e):
    """Drop what no running request can need and return whether there is room for more steps."""
    now = e.now
    if now[PEAKS_LAST] < e.peaks.shape[0]:
        return True
    needed = now[DECODE_STEP]
    request = now[FIRST_RUNNING]
    while request != NONE:
        if t.state[request, PHASE] == DECODING:
            needed = min(needed, t.state[request, JOINED])
        request = t.state[request, NEXT_RUNNING]
    kept = 0
    for at in range(now[PEAKS_FIRST], now[PEAKS_LAST]):
        if e.peaks[at, 0] > needed:
            e.peaks[kept, 0] = e.peaks[at, 0]
            e.peaks[kept, 1] = e.peaks[at, 1]
            kept += 1
    now[PEAKS_FIRST] = 0
    now[PEAKS_LAST] = kept
    return 2 * kept < e.peaks.shape[0]


@inner
def longest_step_since(e, step):
    """Return the longest step after `step`: the first one remembered, as they only get shorter."""
    low = e.now[PEAKS_FIRST]
    high = e.now[PEAKS_LAST]
    while low < high:
        middle = (low + high) // 2
        if e.peaks[middle, 0] > step:
            high = middle
        else:
            low = middle + 1
    return e.peaks[low, 1] if low < e.now[PEAKS_LAST] else 0
