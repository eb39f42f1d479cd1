"""Counts in order that can be summed from the start and searched by their sum: a Fenwick tree.

`counts[i]`, i from 1, holds the sum of the last (i & -i) places up to i; place p of the user is
i = p + 1. Worked example: places 0 and 2 hold one each of 4, so counts[1:] is 1 1 1 2.
"""

from __future__ import annotations

from replay.kernels.jit import inner


@inner
def count(counts, place, more):
    """Add `more` to a place."""
    at = place + 1
    while at < counts.shape[0]:
        counts[at] += more
        at += at & -at


@inner
def place_of(counts, wanted):
    """Return the first place up to which at least `wanted` are counted; so many there are."""
    step = 1
    while 2 * step < counts.shape[0]:
        step *= 2
    at = 0
    while step > 0:
        if at + step < counts.shape[0] and counts[at + step] < wanted:
            at += step
            wanted -= counts[at]
        step //= 2
    return at
