"""Chaining: equal prefixes get equal ids, nothing else does."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.trace.blocks import dense_codes, flat_blocks, is_chained
from replay.trace.chain import chained

SIZE = 4
IDS = st.sampled_from([0, 1, 2, 7, 2**63 + 5])
REQUESTS = st.lists(
    st.tuples(st.lists(IDS, min_size=1, max_size=6), st.integers(1, SIZE)), min_size=1, max_size=12
)


def naive(requests) -> list[list[int]]:
    """Number each prefix of (id, tokens) pairs as it first appears."""
    seen: dict[tuple, int] = {}
    found = []
    for ids, tail in requests:
        prefix: tuple = ()
        row = []
        for place, one in enumerate(ids):
            prefix = (*prefix, (one, tail if place == len(ids) - 1 else SIZE))
            row.append(seen.setdefault(prefix, len(seen)))
        found.append(row)
    return found


def tokens_of(requests) -> np.ndarray:
    return np.array([SIZE * (len(ids) - 1) + tail for ids, tail in requests])


@settings(max_examples=200)
@given(REQUESTS)
def test_chained_ids_equal_those_of_a_dictionary_of_prefixes(requests):
    lists = pl.Series("block_ids", [ids for ids, _ in requests], dtype=pl.List(pl.UInt64))
    found = chained(lists, tokens_of(requests), SIZE)
    assert found.to_list() == naive(requests)
    assert found.dtype == pl.List(pl.UInt64)


@settings(max_examples=100)
@given(REQUESTS)
def test_what_is_chained_passes_the_check_of_readers(requests):
    lists = pl.Series("block_ids", [ids for ids, _ in requests], dtype=pl.List(pl.UInt64))
    tokens = tokens_of(requests)
    flat = flat_blocks(chained(lists, tokens, SIZE))
    codes, size = dense_codes(flat.ids)
    assert is_chained(flat, codes, size=size, input_tokens=tokens, block_size=SIZE)


def test_a_block_in_another_place_gets_another_id():
    lists = pl.Series("block_ids", [[5, 6], [6, 5], [5, 6, 5]], dtype=pl.List(pl.UInt64))
    found = chained(lists, np.array([8, 8, 12]), SIZE).to_list()
    assert found == [[0, 1], [2, 3], [0, 1, 4]]
