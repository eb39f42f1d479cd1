"""Ids that name a block alone, chained: an id then names the block and all that precedes it.

Some sources hash each block by itself (Bailian's traces, for one). Taken as they are, such ids
would find a block wherever it stands, which no prefix cache can: hit rates would be too high. The
chained id of a block is the number of the pair of the id chained before it and its own, as
`key_i = H(key_{i-1}, id_i)` would have it, but exact.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.kernels.tree.chain import chain_blocks
from replay.trace.blocks import codes_as_seen, flat_blocks
from replay.trace.lists import list_column


def chained(block_ids: pl.Series, input_tokens: np.ndarray, block_size: int) -> pl.Series:
    """Return prefix-chained ids, UInt64, counted from 0 in order of first appearance.

    Each request must have as many ids as its prompt has blocks, the last one possibly partial: a
    partial block is another than a full one with the same id, and than one of another length.
    Linear in blocks.
    """
    flat = flat_blocks(block_ids)
    codes, _ = codes_as_seen(flat.ids)
    partial = (np.asarray(input_tokens) % block_size).astype(np.int64)
    slots = 1 << max(10, (2 * len(codes)).bit_length())
    ids = chain_blocks(flat.offsets, codes, partial, slots)
    return list_column(ids.astype(np.uint64), flat.counts).alias(block_ids.name)
