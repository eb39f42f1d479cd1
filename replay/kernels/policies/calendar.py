"""A set of requests that gives its last member at once: a tree of 64-bit words.

A bit of a word says that request is in the set, or that the word below it is not empty. Levels lie
one after another in `words`; `levels[k]` is where level k starts, the leaves first, and the last
level is one word. Requests are kept by their distance from `last`, so the latest is the lowest bit.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import inner

WORD_BITS = 64

_ONE = np.uint64(1)
_SHIFT = np.uint64(58)
_SEQUENCE = np.uint64(0x03F79D71B4CB0A89)  # of de Bruijn: its 64 windows of six bits all differ
_PLACE = np.zeros(64, np.int64)
for _bit in range(64):
    _PLACE[(int(_SEQUENCE) << _bit) % 2**64 >> 58] = _bit


def level_starts(members: int) -> np.ndarray:
    """Return where the levels of a set of up to `members` start and, at the end, its words."""
    starts = [0]
    while True:
        members = -(-members // WORD_BITS)
        starts.append(starts[-1] + members)
        if members <= 1:
            return np.asarray(starts, np.int64)


@inner
def _lowest_bit(word):
    return _PLACE[((word & (~word + _ONE)) * _SEQUENCE) >> _SHIFT]


@inner
def add(words, levels, last, request):
    """Put a request into the set."""
    place = last - request
    for level in range(levels.shape[0] - 1):
        at = levels[level] + place // WORD_BITS
        before = words[at]
        words[at] = before | (_ONE << np.uint64(place % WORD_BITS))
        if before != 0:
            return
        place //= WORD_BITS


@inner
def discard(words, levels, last, request):
    """Take a request, which is in it, out of the set."""
    place = last - request
    for level in range(levels.shape[0] - 1):
        at = levels[level] + place // WORD_BITS
        words[at] &= ~(_ONE << np.uint64(place % WORD_BITS))
        if words[at] != 0:
            return
        place //= WORD_BITS


@inner
def latest(words, levels, last):
    """Return the last request of the set, which is not empty."""
    place = 0
    for level in range(levels.shape[0] - 2, -1, -1):
        place = place * WORD_BITS + _lowest_bit(words[levels[level] + place])
    return last - place
