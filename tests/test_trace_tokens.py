"""Token ids made from segments, against a plain twin and against the segments themselves."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, TraceError
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.tokens import VOCABULARY, tokens_of
from replay.trace.tree import build_tree
from tests.naive import hashing as naive
from tests.random_traces import rows, trace_of, unit_rows, unit_trace_of


def one_segment_each(segments, tokens=1) -> Trace:
    return unit_trace_of(
        [
            {
                "arrival_ns": 0, "segments": [segment], "segment_tokens": [tokens],
                "input_tokens": tokens, "output_tokens": 1,
            }
            for segment in segments
        ]
    )  # fmt: skip


@settings(max_examples=60)
@given(drawn=unit_rows(), vocabulary=st.sampled_from([2, 3, 1000, VOCABULARY, 2**32]))
def test_prompts_and_responses_equal_the_plain_twin(drawn, vocabulary):
    frame = tokens_of(unit_trace_of(drawn), vocabulary=vocabulary).frame
    for row in frame.iter_rows(named=True):
        prompt = naive.tokens_of(row["segments"], row["segment_tokens"], vocabulary)
        assert row["tokens"] == prompt
        response = row["response_segment"]
        if response is None:
            assert row["response_tokens"] is None
        else:
            wanted = naive.tokens_of([response], [row["output_tokens"]], vocabulary)
            assert row["response_tokens"] == wanted


@settings(max_examples=60)
@given(drawn=unit_rows())
def test_the_tree_of_the_tokens_is_that_of_the_segments(drawn):
    exact = unit_trace_of(drawn)
    made = tokens_of(exact)
    only_tokens = Trace(
        made.frame.drop("segments", "segment_tokens", "response_segment"), made.meta
    )
    one, other = build_tree(exact), build_tree(only_tokens)
    for name in ("edge_parent", "edge_start", "edge_stop", "path_offsets", "path_edges"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("segment", [0, 1, 2**40, 2**64 - 1])
def test_segments_of_any_number_give_tokens_of_the_vocabulary(segment):
    tokens = tokens_of(one_segment_each([segment], 500), vocabulary=7).frame["tokens"].to_list()
    assert tokens == [naive.tokens_of([segment], [500], 7)]
    assert set(tokens[0]) == set(range(7))


@pytest.mark.parametrize("vocabulary", [2, 30, 1024, 1009])
def test_segments_numbered_below_the_vocabulary_all_differ_in_their_first_token(vocabulary):
    firsts = tokens_of(one_segment_each(range(vocabulary)), vocabulary=vocabulary).frame["tokens"]
    assert sorted(firsts.explode(empty_as_null=False, keep_nulls=False)) == list(range(vocabulary))


def test_segments_alike_modulo_the_vocabulary_share_one_token_and_part():
    one, other = tokens_of(one_segment_each([5, 5 + VOCABULARY], 20)).frame["tokens"].to_list()
    assert one[0] == other[0]
    assert one[1] != other[1]


def test_tokens_after_the_first_are_spread_evenly():
    tokens = tokens_of(one_segment_each([9], 64_001), vocabulary=64).frame["tokens"]
    counts = np.bincount(tokens.to_list()[0][1:], minlength=64)
    chi_squared = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_squared < 125  # 63 degrees of freedom: exceeded once in 200,000 draws


def test_the_trace_says_where_its_tokens_come_from():
    made = tokens_of(one_segment_each([1]), vocabulary=50)
    assert made.meta.notes[-1] == "token ids made from segments, 50 in the vocabulary"
    assert made.frame["tokens"].dtype == pl.List(pl.UInt32)


@pytest.mark.parametrize("vocabulary", [1, 0, -5, 2**32 + 1])
def test_a_vocabulary_out_of_range_is_refused(vocabulary):
    with pytest.raises(InputError, match=rf"between 2 and 2\^32 \(got {vocabulary}\)"):
        tokens_of(one_segment_each([1]), vocabulary=vocabulary)


@settings(max_examples=5)
@given(drawn=rows())
def test_a_trace_without_segments_is_refused(drawn):
    with pytest.raises(InputError, match="no segments"):
        tokens_of(trace_of(drawn))


def test_segments_that_do_not_add_up_are_refused():
    trace = one_segment_each([1], 3)
    wrong = Trace(trace.frame.with_columns(input_tokens=pl.lit(4, pl.Int32)), trace.meta)
    with pytest.raises(TraceError, match="request 0: input_tokens is 4"):
        tokens_of(wrong)


def test_a_trace_without_response_segments_gets_no_response_tokens():
    trace = one_segment_each([1], 3)
    made = tokens_of(Trace(trace.frame.drop("response_segment"), trace.meta))
    assert "response_tokens" not in made.frame.columns


@given(counts=st.lists(st.integers(0, 4), max_size=30))
def test_a_list_column_holds_the_values_in_turn_and_null_for_none(counts):
    values = np.arange(sum(counts), dtype=np.uint32)
    ends = np.cumsum(counts)
    wanted = [
        list(range(end - count, end)) if count else None
        for count, end in zip(counts, ends, strict=True)
    ]
    assert list_column(values, np.array(counts, np.int64)).to_list() == wanted
