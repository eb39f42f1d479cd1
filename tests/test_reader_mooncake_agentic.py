"""The agentic Mooncake reader: rows that follow others, with delays instead of times."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.mooncake import looks_like_mooncake
from replay.trace.readers.mooncake_agentic import (
    looks_like_mooncake_agentic,
    read_mooncake_agentic,
)
from tests.reader_fuzz import json_lines, mutated, reading, requests_or_refusal, rows_of

trace_of = reading(read_mooncake_agentic)
MS = 1_000_000


def line(ids=(0,), *, tokens=5, **more):
    row = {"input_length": tokens, "output_length": 3, "hash_ids": list(ids), **more}
    return json.dumps({key: value for key, value in row.items() if value is not None})


SAMPLE = "\n".join(
    [
        line(request_id="a1", session_id="a", timestamp=1000.0, prefix_reset=True, branches=["b1"]),
        line(
            request_id="a2", session_id="a", timestamp=3500.5, wait_for=["a1"], delay=20.0,
            tool_wait_ms=400.0, tool_events=[{"tool_call_id": "c"}], prefix_reset=False,
        ),
        line([7], request_id="b1", session_id="b", timestamp=2000, wait_for=["a1"]),
    ]
)  # fmt: skip


def test_recorded_times_count_whatever_a_row_waits_for():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 1000 * MS, 2500 * MS + MS // 2]
    assert trace.frame["source_request_id"].to_list() == ["a1", "b1", "a2"]
    assert trace.frame["parent_request_id"].to_list() == [None, None, 0]
    assert trace.frame["tool_wait_ns"].to_list() == [None, None, 400 * MS]
    assert trace.frame["prefix_reset"].to_list() == [True, None, False]
    assert not any("assumed" in note for note in trace.meta.notes)


def test_without_a_time_a_row_follows_the_last_that_it_waits_for():
    rows = [
        line([1], request_id="join", wait_for=["root", "child"], delay=1, tool_wait_ms=2.5),
        line(request_id="root", timestamp=100),
        line([2], request_id="child", wait_for=["root"], delay=40),
    ]
    trace = trace_of("\n".join(rows))
    assert trace.frame["source_request_id"].to_list() == ["root", "child", "join"]
    assert trace.frame["arrival_ns"].to_list() == [0, 40 * MS, 43 * MS + MS // 2]
    assert trace.meta.notes[0].startswith("2 requests have no time of their own; assumed: ")


def test_without_a_time_and_a_request_a_row_follows_its_session():
    rows = [
        line(tokens=512, session_id="a", timestamp=10),
        line([3], session_id="b", timestamp=15),
        line([0, 1], tokens=600, session_id="a", delay_ms=50),
        line([0, 4, 2], tokens=1100, session_id="a"),
    ]
    trace = trace_of("\n".join(rows))
    assert trace.frame["arrival_ns"].to_list() == [0, 5 * MS, 50 * MS, 50 * MS]
    assert trace.frame["turn"].to_list() == [0, 0, 1, 2]


def test_other_names_of_lengths_and_times_are_read():
    row = {"input_tokens": 5, "output_tokens": 2, "created_time": 7, "hash_ids": [0]}
    trace = trace_of(json.dumps(row))
    assert trace.frame.select("input_tokens", "output_tokens").rows() == [(5, 2)]


def test_a_block_size_that_fits_is_hinted_at_and_can_be_given():
    text = "\n".join(
        [line([0, 1], tokens=30, delay=0, timestamp=0), line([0, 2, 3], tokens=48, timestamp=1)]
    )
    with pytest.raises(TraceError, match="in blocks of 512 needs 1 hash_ids") as caught:
        trace_of(text)
    assert caught.value.hint == "every row fits a block size of 16"
    assert trace_of(text, block_size=16).meta.block_size == 16


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line(tokens="5", timestamp=1), "input_length must be an integer (got '5')"),
        (line(tokens=0, timestamp=1), "input_length must be between 1"),
        (line(tokens=None, timestamp=1), "lacks input_length or input_tokens (got 'output_length'"),
        (line(output_length=-1, timestamp=1), "output_length must be between 0"),
        (line([0, 1], timestamp=1), "input_length 5 in blocks of 512 needs 1 hash_ids (got 2)"),
        (line([-1], timestamp=1), "hash_ids must hold integers between 0 and"),
        (line([0.0], timestamp=1), "hash_ids must hold integers alone (got 0.0)"),
        (line(timestamp="1"), "timestamp must be a number (got '1')"),
        (line(timestamp=-1), "timestamp is out of range (got -1)"),
        (line(timestamp=1e300), "timestamp is out of range"),
        (line(timestamp=1, delay=True), "delay must be a number (got True)"),
        (line(timestamp=1, tool_wait_ms=-5), "tool_wait_ms is out of range"),
        (line(timestamp=1, session_id=4), "session_id must be text (got 4)"),
        (line(timestamp=1, request_id="r"), "request_id stands on line 1 already (got r)"),
        (line(wait_for="r"), "wait_for must be a list of request ids (got 'r')"),
        (line(wait_for=["x"]), "wait_for names no request of the file (got 'x')"),
        (line(delay=4), "lacks timestamp or created_time, and follows no other request"),
        (line(request_id="q", wait_for=["q"]), "in a circle for itself"),
        (line(wait_for=["r"], delay=9e12, tool_wait_ms=9e12), "leads out of range"),
        (
            line(tokens=6, timestamp=1),
            "block id 0 is a partial block of 6 tokens here and a partial",
        ),
        (
            line(timestamp=1, output_length=None),
            "lacks output_length or output_tokens, which other",
        ),
        (line(timestamp=1, hash_ids=5), "hash_ids must be a list of integers (got 5)"),
        (line(timestamp=1)[:-2], "not valid JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{line(timestamp=0, request_id='r')}\n{bad}\n")
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_faulty_rows_may_be_put_aside_and_failed_ones_are():
    rows = [line(timestamp=0), line(timestamp="x"), line(timestamp=1, output_length=0)]
    trace = trace_of("\n".join(rows), max_rejected=0.5)
    assert (trace.requests, [one.line for one in trace.rejected]) == (1, [2, 3])


def test_it_is_read_before_mooncake_and_mooncake_is_left_alone(tmp_path):
    plain = b'{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [0]}'
    assert looks_like_mooncake(plain)
    assert not looks_like_mooncake_agentic(plain)
    assert not looks_like_mooncake_agentic(b'{"text": "\\"hash_ids\\": \\"delay\\": 1"}')
    path = tmp_path / "t.jsonl"
    path.write_text(SAMPLE)
    assert load_trace(path).meta.format == "mooncake-agentic"


rows_ish = rows_of(
    request_id=st.sampled_from("abc"),
    session_id=st.sampled_from("xy"),
    input_length=st.integers(0, 1100),
    output_length=st.integers(0, 3),
    hash_ids=st.lists(st.integers(0, 3), max_size=3),
    timestamp=st.integers(0, 9),
    delay=st.floats(0, 9),
    wait_for=st.lists(st.sampled_from("abc"), max_size=2),
)


@settings(max_examples=120, deadline=None)
@given(json_lines(rows_ish) | mutated(SAMPLE))
def test_anything_gives_a_trace_or_a_refusal(text):
    assert requests_or_refusal(trace_of, text) != 0
