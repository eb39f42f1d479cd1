"""Traces read in batches give the tree that they give when read whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.load import load_scenario
from replay.config.overrides import parse_setting
from replay.engine import run as engine
from replay.errors import TraceError
from replay.trace import stream
from replay.trace.parquet import write_trace
from replay.trace.separation import roots_of
from replay.trace.stream import is_streamable, stream_trace
from replay.trace.tree import PrefixTree, build_tree
from tests.random_traces import mixed, rows, trace_of, unit_trace_of
from tests.shared_data import CONVERSATION, conversation, needs

ONE = {"arrival_ns": 0, "block_ids": [7, 2**63], "input_tokens": 6, "output_tokens": 3,
       "session_id": 0}  # fmt: skip


def check_equal(one: PrefixTree, other: PrefixTree) -> None:
    for field in dataclasses.fields(PrefixTree):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


@settings(max_examples=60, deadline=None)
@given(drawn=mixed(rows()), batch=st.integers(1, 9), add=st.sampled_from([0, 2**62, 2**63]))
def test_batches_of_any_size_give_the_tree_of_the_whole(tmp_path_factory, drawn, batch, add):
    drawn = [{**row, "block_ids": [one + add for one in row["block_ids"]]} for row in drawn]
    path = tmp_path_factory.mktemp("s") / "t.parquet"
    whole = trace_of(drawn)
    write_trace(whole, path)
    streamed = stream_trace(path, batch_requests=batch)
    largest = max(one for row in drawn for one in row["block_ids"])
    if (largest + 1) * (int(roots_of(whole).max()) + 1) > 2**64:  # no room to tell roots apart
        assert streamed is None
        return
    slim, tree = streamed
    check_equal(tree, build_tree(whole))
    assert slim.frame.equals(whole.frame.drop("block_ids"))


def test_tables_grow_as_distinct_blocks_do(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "_FIRST_SLOTS", 4)
    drawn = [{**ONE, "block_ids": [at, 1000 + at], "arrival_ns": at} for at in range(300)]
    whole = trace_of(drawn)
    path = write_trace(whole, tmp_path / "t.parquet")
    check_equal(stream_trace(path, batch_requests=7)[1], build_tree(whole))


@pytest.mark.parametrize(("ids", "what"), [
    ([[1, 2], [3, 2]], "request 1: a block id follows two different ids"),
    ([[1, 2], [1]], "request 1: 6 tokens in blocks of 4 need 2 block ids"),
])  # fmt: skip
def test_ids_that_are_not_chained_are_told_with_their_request(tmp_path, ids, what):
    whole = trace_of([{**ONE, "block_ids": one} for one in ids])
    path = write_trace(whole, tmp_path / "t.parquet")
    with pytest.raises(TraceError, match=what):
        stream_trace(path, batch_requests=1)


def test_a_block_of_two_lengths_is_told(tmp_path):
    drawn = [ONE, {**ONE, "input_tokens": 7}]
    path = write_trace(trace_of(drawn), tmp_path / "t.parquet")
    with pytest.raises(TraceError, match="request 1: a block id stands for two lengths"):
        stream_trace(path)


def test_only_long_files_of_block_ids_are_streamed(tmp_path, monkeypatch):
    blocks = write_trace(trace_of([ONE]), tmp_path / "b.parquet")
    segments = tmp_path / "s.parquet"
    unit = {"arrival_ns": 0, "segments": [3], "segment_tokens": [2], "response_segment": 5,
            "input_tokens": 2, "output_tokens": 3, "session_id": 0}  # fmt: skip
    write_trace(unit_trace_of([unit]), segments)
    assert not is_streamable(blocks)
    monkeypatch.setattr(stream, "STREAMED_FROM_REQUESTS", 1)
    assert is_streamable(blocks)
    other = tmp_path / "t.jsonl"
    other.write_text("{}")
    assert not any(map(is_streamable, (segments, other, tmp_path, tmp_path / "absent")))


@needs(CONVERSATION)
def test_a_run_of_a_streamed_trace_is_the_run_of_the_trace(tmp_path, monkeypatch):
    trace, _ = conversation()
    path = write_trace(trace, tmp_path / "t.parquet")
    texts = ["engine.mode=untimed", "cache.capacity=20000blocks"]
    scenario = load_scenario(None, [parse_setting(text) for text in texts])
    whole = engine.execute(engine.prepare(path, scenario))
    monkeypatch.setattr(stream, "STREAMED_FROM_REQUESTS", 1)
    prepared = engine.prepare(path, scenario)
    assert "block_ids" not in prepared.trace.frame.columns
    streamed = engine.execute(prepared)
    for name, table in whole.tables.items():
        assert table.equals(streamed.tables[name]), name
    known = ("content", "block_size", "requests")
    assert {key: whole.manifest["trace"].get(key) for key in known} == {
        key: streamed.manifest["trace"].get(key) for key in known
    }
