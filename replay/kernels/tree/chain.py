"""Chain ids that name a block alone: pairs of all before and the block, numbered as seen."""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_EMPTY = -1


@jit
def _slot(parent, block, mask):
    """Return the home slot of a pair."""
    mixed = (np.uint64(block) + np.uint64(0x632BE59BD9B4E019)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed += np.uint64(parent + 1) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return np.int64((mixed * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask


@jit
def chain_blocks(offsets, codes, sizes, slots):
    """Return the chained codes of all blocks, int64[N], counted from 0 in order of appearance.

    Request r has the blocks `codes[offsets[r]:offsets[r + 1]]`, int32, its last one of `sizes[r]`
    tokens, 0 where it is full. Two blocks get one code where they and all blocks before them are
    equal and of equal size. `slots` is a power of two, over twice the number of blocks.
    """
    table = np.full(slots, _EMPTY, np.int64)
    parents = np.empty(codes.size, np.int64)
    blocks = np.empty(codes.size, np.int64)
    chained = np.empty(codes.size, np.int64)
    mask = slots - 1
    distinct = 0
    for request in range(offsets.size - 1):
        before = np.int64(-1)
        last = offsets[request + 1] - 1
        for place in range(offsets[request], offsets[request + 1]):
            size = sizes[request] if place == last else 0
            block = np.int64(codes[place]) | (np.int64(size) << 32)
            at = _slot(before, block, mask)
            one = table[at]
            while one != _EMPTY and not (parents[one] == before and blocks[one] == block):
                at = (at + 1) & mask
                one = table[at]
            if one == _EMPTY:
                one = np.int64(distinct)
                table[at] = one
                parents[one] = before
                blocks[one] = block
                distinct += 1
            chained[place] = one
            before = one
    return chained
