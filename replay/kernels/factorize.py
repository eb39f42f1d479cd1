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
def _slot(value, mask):
    """Return the home slot of a value: Fibonacci hashing, the high bits are the mixed ones."""
    return np.int64((value * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@jit
def codes_of_any_ids(ids, slots):
    """Return (codes int32[N], distinct) for any uint64 ids; `slots` is a power of two to start at.

    Open addressing with linear probing, rebuilt at twice the size when half full.
    """
    keys = np.empty(slots, np.uint64)
    values = np.full(slots, _EMPTY, np.int32)
    codes = np.empty(ids.size, np.int32)
    mask = slots - 1
    distinct = 0
    for i in range(ids.size):
        at = _slot(ids[i], mask)
        while values[at] != _EMPTY and keys[at] != ids[i]:
            at = (at + 1) & mask
        if values[at] == _EMPTY:
            keys[at] = ids[i]
            values[at] = distinct
            distinct += 1
            if 2 * distinct > slots:
                wide_keys = np.empty(2 * slots, np.uint64)
                wide_values = np.full(2 * slots, _EMPTY, np.int32)
                mask = 2 * slots - 1
                for old in range(slots):
                    if values[old] != _EMPTY:
                        to = _slot(keys[old], mask)
                        while wide_values[to] != _EMPTY:
                            to = (to + 1) & mask
                        wide_keys[to] = keys[old]
                        wide_values[to] = values[old]
                keys, values, slots = wide_keys, wide_values, 2 * slots
            codes[i] = distinct - 1
        else:
            codes[i] = values[at]
    return codes, distinct
