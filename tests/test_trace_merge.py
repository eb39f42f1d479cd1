"""Merged traces: each keeps its own sharing, and shares with others only what is truly shared."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings

from replay.errors import InputError
from replay.trace.added_notes import added_notes
from replay.trace.check_content import content_facts
from replay.trace.frame import Rejected, Trace, TraceMeta, canonical_trace
from replay.trace.merge import merge_traces
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.sessions import infer_sessions
from replay.trace.tree import build_tree
from tests.random_traces import rows, trace_of, unit_rows, unit_trace_of
from tests.trace_samples import mooncake_text
from tests.trace_samples import trace_of as mooncake

FOUR = ReadOptions(block_size=4)


def merged(*traces: Trace) -> Trace:
    return merge_traces(traces, path="all", name="all")


def lengths_trace(arrivals, *, clock=None, sessions=None, shared=False) -> Trace:
    frame = pl.DataFrame({"arrival_ns": arrivals, "input_tokens": 4, "output_tokens": 2})
    if sessions is not None:
        names = pl.Series("source_session_id", sessions)
        frame = frame.with_columns(names, session_id=pl.Series(sessions).rank("dense") - 1)
    meta = TraceMeta(
        path="t", name="t", sha256="", format="t", block_size=None, content="",
        clock_start_ns=clock, shared_ids=shared,
    )  # fmt: skip
    return canonical_trace(frame, meta)


def hits(trace: Trace) -> int:
    return int(content_facts(trace, build_tree(trace)).ideal_hit_tokens.sum())


@settings(max_examples=40)
@given(first=rows(), second=rows())
def test_blocks_of_two_files_share_nothing(first, second):
    one, two = trace_of(first), trace_of(second)
    both = merged(one, two)
    assert both.requests == one.requests + two.requests
    assert hits(both) == hits(one) + hits(two)


@settings(max_examples=40)
@given(first=unit_rows(), second=unit_rows())
def test_segments_of_two_files_share_nothing(first, second):
    one, two = unit_trace_of(first), unit_trace_of(second)
    assert hits(merged(one, two)) == hits(one) + hits(two)


def test_ids_that_mean_the_same_everywhere_stay_as_they_are():
    drawn = [{"arrival_ns": 0, "block_ids": [7, 8], "input_tokens": 6, "output_tokens": 3,
              "session_id": None}]  # fmt: skip
    one = trace_of(drawn)
    one = one.changed(one.frame, replace(one.meta, shared_ids=True))
    both = merged(one, one)
    assert both.frame["block_ids"].to_list() == [[7, 8], [7, 8]]
    assert both.meta.shared_ids


def test_files_of_one_clock_keep_their_distance_and_others_start_together():
    early, late = lengths_trace([5, 9], clock=1000), lengths_trace([0, 1], clock=1100)
    both = merged(late, early)
    assert both.frame["arrival_ns"].to_list() == [0, 4, 95, 96]
    assert both.meta.clock_start_ns == 1005
    alone = merged(late, lengths_trace([5, 9]))
    assert alone.frame["arrival_ns"].to_list() == [0, 0, 1, 4]
    assert alone.meta.clock_start_ns is None


def test_named_sessions_that_are_shared_run_from_file_to_file():
    one = lengths_trace([0, 1], clock=0, sessions=["a", "b"], shared=True)
    two = lengths_trace([9], clock=0, sessions=["b"], shared=True)
    both = merged(one, two)
    assert both.frame["turn"].to_list() == [0, 0, 1]
    assert both.frame["parent_request_id"].to_list() == [None, None, 1]
    apart = merged(*(t.changed(t.frame, replace(t.meta, shared_ids=False)) for t in (one, two)))
    assert apart.frame["session_id"].n_unique() == 3


def test_parents_still_point_at_the_same_requests():
    text = mooncake_text([(1, 2, 3, 4), (1, 2, 3, 4, 5, 6, 7, 8)], times=[0, 9])

    one = infer_sessions(mooncake(text))
    both = merged(one, one)
    for child, parent in both.frame.select("request_id", "parent_request_id").drop_nulls().rows():
        assert both.frame["source_file"][child] == both.frame["source_file"][parent]
        assert both.frame["input_tokens"][child] > both.frame["input_tokens"][parent]


def test_different_content_or_block_sizes_are_refused():
    block = [{"arrival_ns": 0, "block_ids": [7], "input_tokens": 4, "output_tokens": 3,
              "session_id": None}]  # fmt: skip
    blocks = trace_of(block)
    with pytest.raises(InputError, match="do not know the same of their content"):
        merged(blocks, lengths_trace([0]))
    wide = blocks.changed(blocks.frame, replace(blocks.meta, block_size=8))
    with pytest.raises(InputError, match="different sizes"):
        merged(blocks, wide)


def test_a_folder_is_one_trace_and_rejected_rows_know_their_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(mooncake_text([(1, 2)] * 3))
    (tmp_path / "notes.md").write_text("not a trace")
    (tmp_path / ".hidden.jsonl").write_text("{}")
    trace = load_trace(tmp_path, options=FOUR)
    assert trace.requests == 6
    assert set(trace.frame["source_file"]) == {"a.jsonl", "b.jsonl"}
    pattern = load_trace(str(tmp_path / "[ab].jsonl"), options=FOUR)
    assert pattern.frame.equals(trace.frame)
    with pytest.raises(InputError, match="no trace files there"):
        load_trace(str(tmp_path / "*.csv"))


def test_rejected_rows_of_all_files_are_kept():
    one = lengths_trace([0])
    bad = replace(one, rejected=(Rejected("x", 3, "why", "text"),))
    assert merged(one, bad).rejected == bad.rejected


def test_counts_that_notes_start_with_add_up():
    notes = ["2 of 10 rows are odd", "1 rows are odd", "1,998 of 20 rows are odd", "30 s {apart}",
             "assumed: 30 s", "assumed: 30 s", "3 rows are odd", "0.5 times"]  # fmt: skip
    assert added_notes([note] for note in notes) == [
        "2,000 of 30 rows are odd", "4 rows are odd", "30 s {apart}", "assumed: 30 s", "0.5 times",
    ]  # fmt: skip
