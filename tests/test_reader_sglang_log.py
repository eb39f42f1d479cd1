"""The reader of SGLang's request logs: JSON events, plain lines and exported metrics."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.sglang_log import looks_like_sglang_log, read_sglang_log
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

SAMPLE = SHARED / "samples" / "sglang_request_finished.jsonl"
RECEIVED = 1_777_312_800
trace_of = reading(read_sglang_log)


def meta(second=0, ids=(1, 2, 3), out=(5, 6), **more):
    return {
        "id": "r", "finish_reason": {"type": "length", "length": len(out)},
        "prompt_tokens": len(ids), "completion_tokens": len(out), "cached_tokens": 1,
        "request_received_ts": RECEIVED + second, "first_token_latency": 0.021,
        "queue_time": 0.001, "e2e_latency": 0.1, **more,
    }  # fmt: skip


def event(second=0, ids=(1, 2, 3), out=(5, 6), rid="r", text=None, said="ab", **more):
    return {
        "timestamp": "2026-11-30T10:00:00", "event": "request.finished", "rid": rid,
        "obj": {"rid": rid, "text": text, "input_ids": list(ids)},
        "out": {"text": said, "output_ids": list(out), "meta_info": meta(second, ids, out, **more)},
    }  # fmt: skip


def plain(second=0, text="Hi, text=' there", said="It's, out={", rid="r", ids=None, **more):
    counted = {"prompt_tokens": 4, "completion_tokens": 3, "cached_tokens": 1, "e2e_latency": 2.5}
    return (
        f"[2026-11-30 10:00:{second:02} TP0] Finish: obj=GenerateReqInput(rid={rid!r}, "
        f"text={text!r}, input_ids={ids}, sampling_params={{'n': 1}}), "
        f"out={{'text': {said!r}, 'meta_info': {counted | more}}}"
    )


def exported(**more):
    asked = {"text": "Hi there", "input_ids": None, "rid": "x"}
    return {"request_parameters": json.dumps(asked), **meta(ids=(1, 2)), **more}


def lines(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)


def test_finished_requests_become_requests_with_their_token_ids():
    other = {**event(), "event": "request.received"}
    trace = trace_of(lines(other, event(5, (1, 2, 3, 4)), event(2)))
    assert trace.frame["arrival_ns"].to_list() == [0, 3_000_000_000]
    assert trace.frame["tokens"].to_list() == [[1, 2, 3], [1, 2, 3, 4]]
    assert trace.frame["response_tokens"].to_list() == [[5, 6], [5, 6]]
    row = trace.frame.row(0, named=True)
    assert (row["recorded_hit_tokens"], row["recorded_ttft_ns"]) == (1, 21_000_000)
    assert (row["recorded_e2e_ns"], row["recorded_queue_ns"]) == (100_000_000, 1_000_000)
    assert trace.meta.notes[0] == "1 lines of received requests were passed over"
    assert trace.meta.clock_start_ns == (RECEIVED + 2) * 10**9


def test_without_token_ids_the_text_counts():
    rows = [event(at, text=f"Hi there {at}") for at in range(2)]
    for row in rows:
        row["obj"]["input_ids"] = None
    trace = trace_of(lines(*rows))
    assert trace.has_tokens
    assert trace.frame["recorded_input_tokens"].to_list() == [3, 3]
    assert trace.frame["output_tokens"].to_list() == [2, 2]


@pytest.mark.parametrize("cut", ["a" * 1024 + " ... " + "b" * 1024, None])
def test_cut_content_gives_lengths_alone(cut):
    row = event(text=cut)
    row["obj"]["input_ids"] = "[1, 2, 3] ... "
    trace = trace_of(lines(event(), row))
    assert not trace.has_content
    assert trace.frame["input_tokens"].to_list() == [3, 3]
    assert trace.meta.notes[0].startswith("content is cut or missing in 1 of 2 requests")


def test_plain_lines_are_read_by_their_literals():
    text = lines("INFO: server up", plain(3, finish_reason={"type": "stop"}), plain(9, "Hi"))
    trace = trace_of(text)
    assert trace.requests == 2
    assert trace.frame["arrival_ns"].to_list() == [0, 6_000_000_000]
    assert trace.frame["recorded_e2e_ns"].to_list() == [2_500_000_000] * 2
    assert trace.meta.clock_start_ns == 1_796_032_800_500_000_000  # 2026-11-30 10:00:00.5
    assert trace.frame["recorded_hit_tokens"].to_list() == [1, 1]
    assert trace.frame["output_tokens"].to_list() == [3, 3]
    known = trace_of(lines(plain(ids=[7, 8, 9, 7], output_ids=[1, 2, 3])))
    assert known.frame["tokens"].to_list() == [[7, 8, 9, 7]]
    assert known.frame["response_tokens"].to_list() == [[1, 2, 3]]


def test_exported_metrics_hold_the_request_as_text():
    trace = trace_of(lines(exported()))
    assert trace.frame["source_request_id"].to_list() == ["r"]
    assert trace.frame["recorded_input_tokens"].to_list() == [2]


def test_aborted_requests_and_health_checks_are_put_aside():
    aborted = event(finish_reason={"type": "abort"})
    trace = trace_of(lines(event(), aborted, event(rid="HEALTH_CHECK_1"), event(out=())))
    assert trace.requests == 1
    assert [row.line for row in trace.rejected] == [2, 3, 4]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompt_tokens": "3"}, "a.jsonl:1: meta_info.prompt_tokens must be an integer"),
        ({"prompt_tokens": None}, "a.jsonl:1: lacks meta_info.prompt_tokens"),
        ({"cached_tokens": -1}, "a.jsonl:1: meta_info.cached_tokens must be between"),
        ({"e2e_latency": "x"}, "a.jsonl:1: meta_info.e2e_latency must be a number"),
    ],
)
def test_faults_are_told_with_their_line(change, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(lines(event(**change)))


def test_a_request_without_any_time_is_refused():
    row = event(request_received_ts=None) | {"timestamp": "noon"}
    with pytest.raises(TraceError, match="says neither when it was received nor when it was log"):
        trace_of(lines(row))


def test_the_format_is_known_by_its_events_and_lines():
    for text in (lines(event()), lines("start", plain()), lines(exported())):
        assert looks_like_sglang_log(text.encode())
    assert not looks_like_sglang_log(b'{"event": "request.finished"}')


@needs(SAMPLE)
def test_the_sample_is_read():
    assert load_trace(SAMPLE).frame["tokens"].to_list() == [[1, 2, 3]]


ROW = rows_of(**{name: st.just(value) for name, value in {**exported(), **event()}.items()})


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(
        mutated(lines(event(), event(3))),
        mutated(lines(plain(), plain(3))),
        json_lines(ROW).map(str.encode),
        any_json.map(repr),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
