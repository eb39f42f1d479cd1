"""Block ids as flat arrays, and where they break the rule that makes them content.

Ids are prefix-chained when an id names a block *and all that precedes it*: then every id has one
predecessor (-1 at the start of a prompt) and one length, and a request that holds an id holds its
whole prefix. One predecessor for each id implies one position for each id, and that no id stands
twice in a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.kernels.tree.factorize import codes_of_any_ids, codes_of_small_ids
from replay.kernels.tree.grow import CHAINED, link_blocks

_SMALL_ID_FACTOR = 4  # ids below this many times their number get a direct table
HOT_SHARE = 100  # a block is hot when more than one request in this many uses it
MIN_HOT_REQUESTS = 16  # so that a long conversation in a short trace is not taken for hot


@dataclass(frozen=True, slots=True)
class FlatBlocks:
    """The block ids of all requests end to end: request r has `ids[offsets[r]:offsets[r + 1]]`.

    `offsets` int64[R+1]; `ids` int64[P] or uint64[P].
    """

    offsets: np.ndarray
    ids: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Number of blocks of each request, int64[R]."""
        return np.diff(self.offsets)

    @property
    def requests(self) -> np.ndarray:
        """The request of each place, int32[P]."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), self.counts)


@dataclass(frozen=True, slots=True)
class ChainBreaks:
    """Places whose predecessor, or whose length, differs from that at the id's first place.

    `first` int32[P] is the first place of each place's id; `before` int32[P] the code before it;
    `tokens` int64[P] its length; `links` and `lengths` are the offending places.
    """

    first: np.ndarray
    before: np.ndarray
    tokens: np.ndarray
    links: np.ndarray
    lengths: np.ndarray


def flat_blocks(lists: pl.Series) -> FlatBlocks:
    """Return a list column as flat arrays; null and empty lists have no places."""
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lists.list.len().fill_null(0).to_numpy(), out=offsets[1:])
    return FlatBlocks(offsets, lists.explode(empty_as_null=False, keep_nulls=False).to_numpy())


def dense_codes(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (codes int32[P], size): equal ids get equal codes, all below size.

    Small ids are their own codes, others count from 0 in order of first appearance. Ids may be
    of either sign; linear.
    """
    largest = int(ids.max(initial=0))
    if largest < _SMALL_ID_FACTOR * len(ids) and int(ids.min(initial=0)) >= 0:
        return ids.astype(np.int32), largest + 1
    return codes_as_seen(ids)


def codes_as_seen(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """Return (codes int32[P], size): equal ids get equal codes, counted as they first appear."""
    ids = np.ascontiguousarray(ids).view(np.uint64)
    largest = int(ids.max(initial=0))
    if largest < _SMALL_ID_FACTOR * max(len(ids), 1):
        codes, distinct = codes_of_small_ids(ids.view(np.int64), largest)
    else:
        codes, distinct = codes_of_any_ids(ids, 1 << max(10, (len(ids) // 2).bit_length()))
    return codes, int(distinct)


def first_places(codes: np.ndarray, size: int) -> np.ndarray:
    """Return the first place of each code, int32[size]; len(codes) for a code that has none."""
    first = np.full(size, len(codes), np.int32)
    first[codes[::-1]] = np.arange(
        len(codes) - 1, -1, -1, dtype=np.int32
    )  # of equal indices the last one stays
    return first


def is_chained(
    flat: FlatBlocks, codes: np.ndarray, *, size: int, input_tokens: np.ndarray, block_size: int
) -> bool:
    """Return whether the codes are prefix-chained blocks of one length each; quick.

    Each request must have as many ids as its prompt has blocks.
    """
    return bool(link_blocks(flat.offsets, codes, input_tokens, block_size, size)[0] == CHAINED)


def find_chain_breaks(
    flat: FlatBlocks, codes: np.ndarray, *, size: int, input_tokens: np.ndarray, block_size: int
) -> ChainBreaks:
    """Return where the codes are not prefix-chained, or are blocks of two lengths."""
    before = np.empty(len(codes), np.int32)
    before[1:] = codes[:-1]
    before[flat.offsets[:-1][flat.counts > 0]] = -1
    tokens = np.full(len(codes), block_size, np.int64)
    used = flat.counts > 0
    last = flat.offsets[1:][used] - 1
    tokens[last] = input_tokens[used] - (flat.counts[used] - 1) * block_size
    first = first_places(codes, size)[codes]
    return ChainBreaks(
        first=first,
        before=before,
        tokens=tokens,
        links=np.flatnonzero(before != before[first]),
        lengths=np.flatnonzero(tokens != tokens[first]),
    )


def hot_requests(requests: int) -> int:
    """Return how many requests may use a block before it counts as hot."""
    return max(requests // HOT_SHARE, MIN_HOT_REQUESTS)
