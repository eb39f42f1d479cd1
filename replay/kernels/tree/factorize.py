"""Turn sparse 64-bit ids into dense codes in order of first appearance.

Dense codes make every later table a flat array; first appearance keeps neighbours in time
neighbours in memory, which is worth a factor of two to six to the kernels that follow.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_EMPTY = -1


@jit
def codes_of_small_ids(ids, largest):
    """Return (codes int32[N], distinct) for ids in 0..largest: one table look-up an id."""
    table = np.full(largest + 1, _EMPTY, np.int32)
    codes = np.empty(ids.size, np.int32)
    distinct = 0
    for i in range(ids.size):
        code = table[ids[i]]
        if code == _EMPTY:
            code = distinct
            table[ids[i]] = code
            distinct += 1
        codes[i] = code
    return codes, distinct


@jit
def home_slot(value, mask):
    """Return the home slot of a value: Fibonacci hashing, the high bits are the mixed ones."""
    return np.int64((value * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@jit
def codes_of_any_ids(ids, slots):
    """Return (codes int32[N], distinct) for any uint64 ids; `slots` is a power of two to start at.

    Open addressing with linear probing, rebuilt at twice the size when half full. Content that
    was seen before mostly comes in the order it had, so the code after the last one is tried
    first, which reads memory in order and spares the table.
    """
    table = np.full(slots, _EMPTY, np.int32)
    known = np.empty(slots // 2 + 2, np.uint64)
    codes = np.empty(ids.size, np.int32)
    mask = slots - 1
    distinct, guess = 0, 0
    for i in range(ids.size):
        one = ids[i]
        if guess < distinct and known[guess] == one:
            codes[i] = guess
            guess += 1
            continue
        at = home_slot(one, mask)
        while table[at] != _EMPTY and known[table[at]] != one:
            at = (at + 1) & mask
        if table[at] == _EMPTY:
            table[at] = distinct
            known[distinct] = one
            codes[i] = distinct
            distinct += 1
            guess = distinct
            if 2 * distinct > slots:
                slots *= 2
                mask = slots - 1
                table = np.full(slots, _EMPTY, np.int32)
                wider = np.empty(slots // 2 + 2, np.uint64)
                wider[:distinct] = known[:distinct]
                known = wider
                for code in range(distinct):
                    to = home_slot(known[code], mask)
                    while table[to] != _EMPTY:
                        to = (to + 1) & mask
                    table[to] = code
        else:
            codes[i] = table[at]
            guess = codes[i] + 1
    return codes, distinct
