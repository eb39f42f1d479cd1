"""The Dynamo reader: records of ended requests, their block hashes, and when they arrived."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.merge import merge_traces
from replay.trace.readers import load_trace
from replay.trace.readers.dynamo import looks_like_dynamo, read_dynamo
from replay.trace.reuse import edge_uses
from replay.trace.tree import build_tree
from tests.reader_fuzz import json_lines, mutated, reading, requests_or_refusal, rows_of

START = 1_777_312_800_000
FAR = 14_879_255_164_371_896_291  # beyond the integers of 64 bits with a sign
trace_of = reading(read_dynamo)


def replay_of(tokens=128, hashes=(FAR, 2), size=64, **more):
    names = {"trace_block_size": size, "input_length": tokens}
    return {**names, "input_sequence_hashes": list(hashes), **more}


def record(received=START, *, end=None, replay=None, session=None, wrapped=False, **request):
    event = {
        "schema": "dynamo.request.trace.v1",
        "event_type": "request_end",
        "event_time_unix_ms": received + 1000 if end is None else end,
        "request": {
            "request_received_ms": received,
            "output_tokens": 16,
            "replay": replay_of() if replay is None else replay,
            **request,
        },
    }
    if session is not None:
        event["agent_context"] = session if isinstance(session, dict) else {"session_id": session}
    return json.dumps({"timestamp": 7, "event": event} if wrapped else event)


def event_of(kind, **more):
    head = {"schema": "dynamo.request.trace.v1", "event_type": kind, "event_time_unix_ms": 1}
    return json.dumps({**head, **more})


SAMPLE = "\n".join(
    [
        record(START + 500, end=START + 600, request_id="b", session="s", wrapped=True),
        event_of("tool_end", tool={"tool_call_id": "c"}),
        record(
            request_id="a",
            session="s",
            replay=replay_of(100, [FAR, 3]),
            model="m",
            cached_tokens=64,
            ttft_ms=82.4,
            total_time_ms=1000.1,
            finish_reason_metadata={"finish_reason": "stop", "tool_calls": []},
            worker={"decode_worker_id": 4},
        ),
    ]
)


def test_records_become_requests_in_order_of_arrival():
    trace = trace_of(SAMPLE)
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000_000]
    assert trace.meta.clock_start_ns == START * 1_000_000
    assert trace.frame["block_ids"].to_list() == [[FAR, 3], [FAR, 2]]
    assert trace.meta.block_size == 64
    assert trace.frame["source_request_id"].to_list() == ["a", "b"]
    assert trace.frame["parent_request_id"].to_list() == [None, 0]
    assert trace.meta.notes == ("1 events of tools and payloads were passed over",)


def test_what_was_measured_is_kept_in_ns():
    row = trace_of(SAMPLE).frame.row(0, named=True)
    assert row["recorded_hit_tokens"] == 64
    assert row["recorded_ttft_ns"] == 82_400_000
    assert row["recorded_e2e_ns"] == 1_000_100_000
    assert (row["model"], row["finish_reason"]) == ("m", "stop")


def test_a_partial_block_with_a_hash_is_hit_by_an_equal_prompt():
    same = record(replay=replay_of(100, [1, 2])) + "\n" + record(replay=replay_of(100, [1, 2]))
    uses = edge_uses(build_tree(trace_of(same)), 64)
    assert uses.hits_by_request(uses.tokens).tolist() == [0, 100]


def test_a_partial_block_without_a_hash_is_hit_by_nothing():
    same = record(replay=replay_of(100, [1])) + "\n" + record(replay=replay_of(100, [1]))
    trace = trace_of(same)
    uses = edge_uses(build_tree(trace), 64)
    assert uses.hits_by_request(uses.tokens).tolist() == [0, 64]
    assert trace.meta.notes[0].startswith("2 partial last blocks have no hash")


def test_files_share_hashes_and_sessions_but_no_partial_block_without_a_hash():
    text = record(session="s", replay=replay_of(100, [1]))
    later = record(START + 60_000, session="s", replay=replay_of(100, [1]))
    parts = [trace_of(text, sha256="1" * 64), trace_of(later, sha256="2" * 64)]
    trace = merge_traces(parts, path="p", name="p")
    uses = edge_uses(build_tree(trace), 64)
    assert uses.hits_by_request(uses.tokens).tolist() == [0, 64]
    assert trace.frame["turn"].to_list() == [0, 1]
    assert trace.frame["arrival_ns"].to_list() == [0, 60_000_000_000]


def test_a_prompt_shorter_than_a_block_may_have_no_hash():
    assert len(trace_of(record(replay=replay_of(5, []))).frame["block_ids"][0]) == 1


def test_without_a_time_of_receipt_the_duration_is_taken_off_the_end():
    timed = record(request_received_ms=None, end=START + 30, total_time_ms=30.5)
    untimed = record(request_received_ms=None, end=START + 40)
    trace = trace_of(f"{record(START - 1)}\n{untimed}\n{timed}")
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000, 41_000_000]
    assert trace.meta.notes[0].startswith("1 requests say neither when they were received")


@pytest.mark.parametrize(
    ("context", "name"),
    [
        ({"session_id": "run", "parent_session_id": "p"}, "run"),
        ({"session_id": "run", "trajectory_id": "lane", "session_type_id": "t"}, "run/lane"),
        ({"workflow_id": "run", "program_id": "lane"}, "run/lane"),
        ({"phase": "reasoning"}, None),
    ],
)
def test_sessions_go_by_all_names_that_the_schema_had(context, name):
    trace = trace_of("\n".join([record(session=context), record(session="z")]))
    assert trace.frame["source_session_id"].to_list() == [name, "z"]


def test_records_of_the_older_schema_without_hashes_give_lengths():
    old = json.loads(record(input_tokens=4096, cached_tokens=3584))
    del old["request"]["replay"]
    trace = trace_of(json.dumps({**old, "schema": "dynamo.agent.trace.v1"}))
    assert trace.frame["input_tokens"].to_list() == [4096]
    assert trace.frame["recorded_hit_tokens"].to_list() == [3584]
    assert trace.meta.content == "unknown: lengths only"


def test_a_request_without_output_is_put_aside():
    trace = trace_of(f"{record(output_tokens=0)}\n{record()}")
    assert [(one.line, one.reason) for one in trace.rejected] == [
        (1, "no response: a failed request")
    ]


BARE = json.dumps({**json.loads(record()), "request": {"output_tokens": 1, "input_tokens": 1}})


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (record(START + 0.5), "request.request_received_ms must be an integer"),
        (record(end="1"), "event_time_unix_ms must be an integer (got '1')"),
        (record(end=2**60), "event_time_unix_ms must be between 0"),
        (record(output_tokens=None), "lacks request.output_tokens (got "),
        (record(output_tokens=2**31), "request.output_tokens must be between 0"),
        (record(total_time_ms=-1), "request.total_time_ms is out of range (got -1)"),
        (record(ttft_ms="1"), "request.ttft_ms must be a number (got '1')"),
        (record(replay=3), "request.replay must be an object (got 3)"),
        (record(replay=replay_of(size=0)), "trace_block_size must be between 1"),
        (record(replay=replay_of(size=32, tokens=64)), "trace_block_size is 64 on line 1 (got 32)"),
        (record(replay=replay_of(0)), "request.replay.input_length must be between 1"),
        (record(replay=replay_of(129, [1])), "needs 3 input_sequence_hashes (got 1)"),
        (record(replay=replay_of(hashes=[1, 2, 3])), "needs 2 input_sequence_hashes (got 3)"),
        (record(replay=replay_of(hashes=[1, -2])), "must hold integers between 0 and"),
        (record(replay=replay_of(hashes=[1, 2.0])), "must hold integers alone (got 2.0)"),
        (
            record(replay=replay_of(hashes=[2, FAR])),
            "block id 2 starts the prompt here and follows",
        ),
        (record(replay=replay_of(100)), "block id 2 is a partial block of 36 tokens here and full"),
        (
            record(replay={"trace_block_size": 1, "input_length": 2}),
            "lacks request.replay.input_seq",
        ),
        (record(request_id="r"), "request.request_id stands on line 1 already (got 'r')"),
        (record(session={"session_id": 4}), "agent_context.session_id must be text (got 4)"),
        (BARE, "lacks request.replay, which other records have"),
        (record().replace("trace.v1", "trace.v2"), "schema must be dynamo.request.trace.v1 or"),
        (record().replace("request_end", "end"), "event_type must be one of request_end, tool_"),
        (event_of("request_end"), "lacks request (got 'schema'"),
        ('{"timestamp": 1, "event": 3}', "event must be an object (got 3)"),
        (record()[:-4], "not valid JSON"),
    ],
)
def test_a_bad_record_is_refused_with_its_place(bad, message):
    with pytest.raises(TraceError) as caught:
        trace_of(f"{record(request_id='r')}\n{bad}\n")
    assert str(caught.value).startswith("a.jsonl:2:")
    assert message in str(caught.value)


def test_faulty_records_may_be_put_aside():
    text = "\n".join([record(), "{", record(output_tokens=-1), record(START + 1)])
    with pytest.raises(TraceError) as caught:
        trace_of(text)
    assert [problem.line for problem in caught.value.problems] == [2, 3]
    trace = trace_of(text, max_rejected=0.5)
    assert (trace.requests, trace.meta.rejected_rows) == (2, 2)


def test_a_file_of_tool_events_has_no_requests():
    with pytest.raises(TraceError, match="no requests"):
        trace_of(event_of("tool_start"))


def test_shards_packed_by_gzip_are_recognised_and_read_as_one(tmp_path):
    for number, text in enumerate([record(), record(START + 9, wrapped=True)]):
        path = tmp_path / f"dynamo-request-trace.{number:06}.jsonl.gz"
        path.write_bytes(gzip.compress(text.encode()))
    trace = load_trace(tmp_path)
    assert (trace.meta.format, trace.requests) == ("dynamo", 2)
    assert trace.frame["block_ids"].to_list() == [[FAR, 2], [FAR, 2]]


def test_it_is_recognised_and_others_are_not():
    assert looks_like_dynamo(SAMPLE.encode())
    assert not looks_like_dynamo(b'{"input": "dynamo.request.trace.v1"}')


hashes_ish = st.lists(st.integers(0, 4), max_size=3)
replays_ish = rows_of(
    trace_block_size=st.sampled_from([4, 8]),
    input_length=st.integers(0, 12),
    input_sequence_hashes=hashes_ish,
)
requests_ish = rows_of(
    request_id=st.sampled_from("abc"),
    request_received_ms=st.integers(0, 9),
    output_tokens=st.integers(0, 3),
    total_time_ms=st.floats(0, 9),
    replay=replays_ish,
)
events_ish = rows_of(
    schema=st.just("dynamo.request.trace.v1"),
    event_type=st.sampled_from(["request_end", "tool_end"]),
    event_time_unix_ms=st.integers(0, 9),
    agent_context=rows_of(session_id=st.sampled_from("ab"), trajectory_id=st.text(max_size=1)),
    request=requests_ish,
)


@settings(max_examples=120, deadline=None)
@given(json_lines(events_ish | st.builds(lambda e: {"event": e}, events_ish)) | mutated(SAMPLE))
def test_anything_gives_a_trace_or_a_refusal(text):
    assert requests_or_refusal(trace_of, text) != 0
