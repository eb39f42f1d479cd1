"""The trie of block ids, grown batch by batch, for traces that do not fit in memory.

What is kept is a row for each distinct block; ids of a batch are looked up and forgotten. See
`replay.kernels.tree.grow` for what becomes of the rows when all batches are in.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit
from replay.kernels.tree.factorize import home_slot
from replay.kernels.tree.grow import CHAINED, TWO_LENGTHS, TWO_PARENTS

_EMPTY = -1


@jit
def rehash(known, distinct, slots):
    """Return a table of so many slots, a power of two, that finds each known id its code."""
    table = np.full(slots, _EMPTY, np.int32)
    for code in range(distinct):
        at = home_slot(known[code], slots - 1)
        while table[at] != _EMPTY:
            at = (at + 1) & (slots - 1)
        table[at] = code
    return table


@jit
def extend_trie(
    ids, offsets, input_tokens, block_size, table, known, parent, tokens, children, ends, distinct
):
    """Add a batch to the trie and return (fault, request, distinct), as `link_blocks` does.

    All arrays but the first three have room for every id of the batch to be new, and the table
    for twice as many. `known` uint64 holds the id of each code, in order of first appearance.
    """
    mask = table.size - 1
    guess = 0
    for request in range(offsets.size - 1):
        previous = np.int32(-1)
        left = input_tokens[request]
        for place in range(offsets[request], offsets[request + 1]):
            one = ids[place]
            length = min(block_size, left)
            left -= length
            if guess < distinct and known[guess] == one:
                code = np.int32(guess)
            else:
                at = home_slot(one, mask)
                while table[at] != _EMPTY and known[table[at]] != one:
                    at = (at + 1) & mask
                code = table[at]
                if code == _EMPTY:
                    code = np.int32(distinct)
                    table[at] = code
                    known[code] = one
                    parent[code] = previous
                    tokens[code] = length
                    children[code] = 0
                    ends[code] = False
                    distinct += 1
                    if previous >= 0:
                        children[previous] += 1
            if parent[code] != previous:
                return TWO_PARENTS, request, distinct
            if tokens[code] != length:
                return TWO_LENGTHS, request, distinct
            previous = code
            guess = code + 1
        if previous >= 0:
            ends[previous] = True
    return CHAINED, -1, distinct


@jit
def batch_paths(ids, offsets, table, known, distinct, edge_of_code, is_head):
    """Return (counts int64[R], edges int32[P]): the edges of each prompt of a batch, in order."""
    mask = table.size - 1
    counts = np.zeros(offsets.size - 1, np.int64)
    edges = np.empty(ids.size, np.int32)
    total, guess = 0, 0
    for request in range(offsets.size - 1):
        for place in range(offsets[request], offsets[request + 1]):
            one = ids[place]
            if guess < distinct and known[guess] == one:
                code = guess
            else:
                at = home_slot(one, mask)
                while known[table[at]] != one:
                    at = (at + 1) & mask
                code = table[at]
            guess = code + 1
            if is_head[code]:
                edges[total] = edge_of_code[code]
                counts[request] += 1
                total += 1
    return counts, edges[:total].copy()
