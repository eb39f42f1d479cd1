"""Block ids of any size against plain sets of prefixes."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, TraceError
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.parquet import check_blocks
from replay.trace.tokens import tokens_of
from tests.naive import hashing as naive
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of

SIZES = st.sampled_from([1, 2, 3, 4, 5, 8, 16, 100])


def spelled(frame: pl.DataFrame) -> list[tuple]:
    """Prompts of segments, each token as (segment, offset)."""
    return [
        tuple(
            (segment, offset)
            for segment, size in zip(row["segments"], row["segment_tokens"], strict=True)
            for offset in range(size)
        )
        for row in frame.iter_rows(named=True)
    ]


def spelled_blocks(frame: pl.DataFrame) -> list[tuple]:
    """Prompts of blocks, each token as (block id, offset)."""
    return [
        tuple((row["block_ids"][at // BLOCK], at % BLOCK) for at in range(row["input_tokens"]))
        for row in frame.iter_rows(named=True)
    ]


@settings(max_examples=150)
@given(drawn=unit_rows(), size=SIZES)
def test_blocks_of_segments_name_whole_prefixes_in_order_of_appearance(drawn, size):
    trace = block_ids_of(unit_trace_of(drawn), size)
    assert trace.frame["block_ids"].to_list() == naive.block_ids(spelled(trace.frame), size)
    assert trace.meta.block_size == size
    check_blocks(trace)


@settings(max_examples=60)
@given(drawn=unit_rows(), size=SIZES)
def test_blocks_of_token_ids_are_those_of_the_segments_behind_them(drawn, size):
    exact = unit_trace_of(drawn)
    made = tokens_of(exact)
    only_tokens = Trace(
        made.frame.drop("segments", "segment_tokens", "response_segment"), made.meta
    )
    found = block_ids_of(only_tokens, size)
    assert found.frame["block_ids"].equals(block_ids_of(exact, size).frame["block_ids"])
    assert found.meta.notes[-1] == f"block ids of {size} tokens made from token ids"


@settings(max_examples=150)
@given(drawn=rows(), size=SIZES)
def test_blocks_of_another_size_share_what_the_source_says_is_shared(drawn, size):
    trace = trace_of(drawn)
    found = block_ids_of(trace, size).frame["block_ids"].to_list()
    if size == BLOCK:
        assert found == [row["block_ids"] for row in drawn]
    else:
        assert found == naive.block_ids(spelled_blocks(trace.frame), size)


@given(drawn=rows())
def test_block_ids_of_the_size_asked_for_stay_as_they_are(drawn):
    trace = trace_of(drawn)
    assert block_ids_of(trace, BLOCK) is trace


@settings(max_examples=20)
@given(drawn=unit_rows())
def test_segments_are_used_before_block_ids_of_another_size(drawn):
    coarse = block_ids_of(unit_trace_of(drawn), 16)
    fine = block_ids_of(coarse, 2)
    assert fine.frame["block_ids"].to_list() == naive.block_ids(spelled(fine.frame), 2)
    assert fine.meta.notes[-1] == "block ids of 2 tokens made from segments"


@pytest.mark.parametrize(("size", "exact"), [(8, True), (6, False), (2, False)])
def test_a_size_finer_than_the_source_knows_is_noted(size, exact):
    trace = trace_of([{"arrival_ns": 0, "block_ids": [0], "input_tokens": 4, "output_tokens": 1}])
    note = block_ids_of(trace, size).meta.notes[-1]
    assert note.startswith(f"block ids of {size} tokens made from block ids of 4")
    assert ("taken to part at their start" in note) is not exact


def test_a_partial_last_block_is_shared_by_equal_prompts_alone():
    prompts = [([1], [6]), ([1], [6]), ([1], [7]), ([1, 2], [6, 1]), ([1], [8])]
    trace = unit_trace_of(
        [
            {
                "arrival_ns": 0, "segments": segments, "segment_tokens": tokens,
                "input_tokens": sum(tokens), "output_tokens": 1,
            }
            for segments, tokens in prompts
        ]
    )  # fmt: skip
    found = block_ids_of(trace, 4).frame["block_ids"].to_list()
    assert found == [[0, 1], [0, 1], [0, 2], [0, 3], [0, 4]]


def test_a_trace_of_lengths_alone_is_refused():
    trace = trace_of([{"arrival_ns": 0, "block_ids": [0], "input_tokens": 4, "output_tokens": 1}])
    bare = Trace(trace.frame.drop("block_ids"), trace.meta)
    with pytest.raises(InputError, match="says nothing of content"):
        block_ids_of(bare, 4)


def test_a_block_size_below_one_is_refused():
    trace = trace_of([{"arrival_ns": 0, "block_ids": [0], "input_tokens": 4, "output_tokens": 1}])
    with pytest.raises(InputError, match=r"block_size must be at least 1 \(got 0\)"):
        block_ids_of(trace, 0)


@pytest.mark.parametrize("size", [4, 8])
def test_a_prompt_with_too_few_block_ids_names_its_request(size):
    drawn = [
        {"arrival_ns": 0, "block_ids": ids, "input_tokens": 8, "output_tokens": 1}
        for ids in ([0, 1], [0])
    ]
    with pytest.raises(TraceError, match=r"request 1: needs 2 block ids of 4 \(got 1\)"):
        block_ids_of(trace_of(drawn), size)


def test_other_columns_and_facts_are_kept():
    drawn = [{"arrival_ns": 3, "block_ids": [9], "input_tokens": 4, "output_tokens": 1}]
    trace = trace_of(drawn)
    trace = dataclasses.replace(trace, frame=trace.frame.with_columns(client=pl.lit("a")))
    found = block_ids_of(trace, 2)
    assert found.frame.drop("block_ids").equals(trace.frame.drop("block_ids"))
    assert (found.meta.name, found.meta.content) == (trace.meta.name, trace.meta.content)
