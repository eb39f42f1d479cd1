"""The TraceLab reader: rounds with the provider's cache hits, held against assumed content."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.check_content import content_facts
from replay.trace.continuation import continue_sessions
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.tracelab import looks_like_tracelab, read_tracelab
from replay.trace.tree import build_tree
from tests.shared_data import SHARED, needs

ROUNDS = SHARED / "traces" / "tracelab" / "round_trace.jsonl"


def event(kind="user_message", second=0, timestamp=None):
    time = timestamp or f"2026-06-01T05:40:{second:02}.151Z"
    return {"event_type": kind, "timestamp": time}


def line(total=300, prefix=200, appended=100, output=9, session="s", events=None, **more):
    return json.dumps(
        {
            "provider": "claude", "session_id": session, "input_tokens_total": total,
            "prefix_tokens": prefix, "newly_append_tokens": appended, "output_tokens": output,
            "timing_events": events or [event()], "tools": [], **more,
        }
    )  # fmt: skip


def trace_of(*lines, **options) -> Trace:
    data = b"\n".join(one if isinstance(one, bytes) else one.encode() for one in lines)
    return read_tracelab(Source("r.jsonl", "r.jsonl", data, "0" * 64), ReadOptions(**options))


def test_a_round_arrives_with_its_last_input_before_the_first_word():
    events = [event("tool_result", 3), event("tool_result", 2), event("text", 9),
              event("tool_result", 20)]  # fmt: skip
    trace = trace_of(line(events=[event(second=1)]), line(events=events))
    assert trace.frame["arrival_ns"].to_list() == [0, 2_000_000_000]
    words_first = trace_of(line(events=[event("text", 4), event("tool_result", 8)]), line())
    assert words_first.frame["arrival_ns"].to_list() == [0, 4_000_000_000]


def test_recorded_hits_and_plain_values_are_kept():
    trace = trace_of(line(model="m", round_index=4), line(400, 300, 100, events=[event(second=9)]))
    assert trace.frame["recorded_hit_tokens"].to_list() == [200, 300]
    assert trace.frame["model"].to_list() == ["m", None]
    assert trace.frame["session_id"].to_list() == [0, 0]
    assert not trace.has_content
    assert trace.meta.clock_start_ns == 1_780_292_400_151_000_000


@pytest.mark.parametrize(("bad", "what"), [
    ('{"session_id": "s"}', "lacks input_tokens_total"),
    (line(total=299), r"must add up to input_tokens_total \(got 299\)"),
    (line(prefix=-1), "prefix_tokens must be between 0"),
    (line(output="9"), "output_tokens must be an integer"),
    (line(events=[7]), r"timing_events\[0\] must be an object"),
    (line(events=[event(timestamp="today")]), r"must be a date from 1970 .*\(got 'today'\)"),
    (line(timing_events=7), r"timing_events must be a list of events \(got 7\)"),
    (line(session=4), "session_id must be text"),
])  # fmt: skip
def test_each_fault_is_told_with_its_line(bad, what):
    with pytest.raises(TraceError, match=f"r.jsonl:2: .*{what}"):
        trace_of(line(), bad)
    assert [row.line for row in trace_of(line(), bad, max_rejected=0.5).rejected] == [2]


def test_rounds_without_output_are_put_aside():
    trace = trace_of(line(), line(output=0), line(output=None))
    assert [row.line for row in trace.rejected] == [2, 3]


def test_rounds_that_nothing_places_in_time_are_put_aside():
    bare = json.loads(line())
    del bare["timing_events"]
    trace = trace_of(line(), line(timing_events=None), line(timing_events=[]), json.dumps(bare))
    assert trace.requests == 1
    assert {row.reason for row in trace.rejected} == {
        "no timing events: nothing says when it was sent"
    }


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_file_ends_in_anything_but_a_trace_or_an_error(data):
    good = bytearray(f"{line()}\n{line(400, 300)}".encode())
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ReplayError):
        assert trace_of(bytes(good)).requests


def test_its_files_are_recognised():
    assert looks_like_tracelab(line().encode())
    assert not looks_like_tracelab(b'{"timestamp": 0, "hash_ids": []}')


@needs(ROUNDS)
def test_recorded_hits_stand_beside_those_of_assumed_content():
    trace = load_trace(ROUNDS)
    assert (trace.meta.format, trace.requests, len(trace.rejected)) == ("tracelab", 19, 0)
    rows = [json.loads(text) for text in ROUNDS.read_text().splitlines()]
    assert all(
        row["prefix_tokens"] + row["newly_append_tokens"] == row["input_tokens_total"]
        for row in rows
    )
    assumed = continue_sessions(trace)
    ideal = content_facts(assumed, build_tree(assumed)).ideal_hit_tokens
    recorded = trace.frame["recorded_hit_tokens"]
    assert (int(recorded.sum()), int(ideal.sum())) == (473_556, 441_429)
    assert int(trace.column("input_tokens").sum()) == 514_012
