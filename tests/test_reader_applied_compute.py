"""The reader of Applied Compute's sessions, against prompts spelled out token by token."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.check_content import content_facts
from replay.trace.readers import load_trace
from replay.trace.readers.applied_compute import looks_like_applied_compute, read_applied_compute
from replay.trace.tree import build_tree
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "applied_compute_agentic.jsonl"
trace_of = reading(read_applied_compute)


def row(first=100, said=(10, 20), told=(30, 40), waits=(0.5, 1.25), final=50, **more):
    return {
        "num_turns": len(said), "input_prompt_length": first,
        "assistant_response_length": list(said), "tool_call_output_length": list(told),
        "tool_call_latency": list(waits), "final_assistant_response_length": final, **more,
    }  # fmt: skip


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def test_a_session_grows_by_what_was_said_and_told():
    trace = trace_of(text_of(row(), row(5, (), (), (), 3)))
    assert trace.frame["input_tokens"].to_list() == [100, 140, 5, 200]
    assert trace.frame["output_tokens"].to_list() == [10, 20, 3, 50]
    arrivals = trace.frame["arrival_ns"].to_list()
    assert arrivals == [0, 500_000_000, 1_000_000_000, 1_750_000_000]
    assert trace.frame["session_id"].to_list() == [0, 0, 1, 0]


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4),
            st.integers(1, 5),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_hits_are_the_prompt_before_and_its_response_but_for_its_last_token(sessions):
    rows, expected = [], []
    for number, (first, turns, final) in enumerate(sessions):
        said, told = [one for one, _ in turns], [one for _, one in turns]
        rows.append(row(first, said, told, [0.0] * len(turns), final))
        length, hits = first, 0
        for turn, output in enumerate([*said, final]):
            if output:
                expected.append((number, turn, length, hits))
                hits = length + output - 1
            if turn < len(turns):  # a response without tokens is no request, and adds none
                length += output + told[turn]
                hits = min(hits, length)
    trace = trace_of(text_of(*rows))
    found = content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist()
    lengths = trace.frame["input_tokens"].to_list()
    order = sorted(expected, key=lambda one: (one[0] * 10**9, one[1]))
    assert list(zip(lengths, found, strict=True)) == [(one[2], one[3]) for one in order]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"num_turns": 3}, "a.jsonl:1: assistant_response_length must have 3 entries .got 2"),
        ({"num_turns": -1}, "a.jsonl:1: num_turns must be between 0"),
        ({"tool_call_latency": 3}, "a.jsonl:1: tool_call_latency must be a list of seconds"),
        ({"tool_call_latency": [1, None]}, r"tool_call_latency\[1\] must be a number"),
        ({"tool_call_output_length": [1, "2"]}, "must hold integers alone .got '2'"),
        ({"input_prompt_length": 2**24}, "the last prompt has more than 16777216 tokens"),
        ({"final_assistant_response_length": None}, "lacks final_assistant_response_length"),
    ],
)
def test_faults_are_told_with_their_line(change, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(text_of(row() | change))


def test_sessions_of_two_files_share_nothing(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(text_of(row(said=(), told=(), waits=())))
    trace = load_trace(tmp_path)
    assert content_facts(trace, build_tree(trace)).ideal_hit_tokens.tolist() == [0, 0]


@needs(CASE)
def test_the_public_shape_is_read():
    assert looks_like_applied_compute(CASE.read_bytes())
    assert load_trace(CASE).frame["input_tokens"].to_list() == [8, 13]


@settings(deadline=None, max_examples=100)
@given(
    st.one_of(
        mutated(text_of(row(), row())),
        json_lines(rows_of(**{name: st.just(value) for name, value in row().items()})),
        any_json.map(repr),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
