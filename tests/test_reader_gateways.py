"""Readers of what gateways log: their rows say the same as the calls they passed on."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.helicone import looks_like_helicone, read_helicone
from replay.trace.readers.langfuse import looks_like_langfuse, read_langfuse
from replay.trace.readers.litellm import looks_like_litellm, read_litellm
from replay.trace.readers.openai import read_openai
from replay.trace.readers.openrouter import looks_like_openrouter, read_openrouter
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

CASES = SHARED / "cases" / "formats"
START, FIRST, END = (f"2025-01-01T00:00:0{time}Z" for time in ("0.250", "0.900", "1.500"))
HI = [{"role": "user", "content": "Hi there"}]
SAID = {"role": "assistant", "content": "Hello you"}
DETAILS = {"cached_tokens": 16}
ANSWER = {
    "id": "chatcmpl-12345678",
    "choices": [{"message": SAID}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 10, "prompt_tokens_details": DETAILS},
}
CALL = {
    "timestamp": START,
    "session_id": "s",
    "request": {"model": "m", "messages": HI},
    "response": ANSWER,
}


def litellm(**more):
    return {
        "request_id": "r1", "call_type": "acompletion", "prompt_tokens": 20,
        "completion_tokens": 10, "total_tokens": 30, "startTime": START, "endTime": END,
        "completionStartTime": FIRST, "model": "m", "session_id": "s", "cache_hit": "False",
        "messages": HI, "response": {key: ANSWER[key] for key in ("choices", "id")},
        "metadata": {"usage_object": {"prompt_tokens": 20, "prompt_tokens_details": DETAILS}},
        **more,
    }  # fmt: skip


def langfuse(**more):
    return {
        "id": "o1", "traceId": "t", "type": "GENERATION", "name": "chat", "startTime": START,
        "completionStartTime": FIRST, "endTime": END, "model": "m", "sessionId": "s",
        "input": HI, "output": SAID,
        "usageDetails": {"input": 4, "input_cached_tokens": 16, "output": 10, "total": 30}, **more,
    }  # fmt: skip


def helicone(**more):
    return {
        "request_id": "r1", "request_created_at": START, "response_status": 200, "delay_ms": 1250,
        "time_to_first_token": 650, "prompt_tokens": 20, "completion_tokens": 10,
        "prompt_cache_read_tokens": 16, "model": "m", "request_body": CALL["request"],
        "response_body": {"choices": ANSWER["choices"]},
        "request_properties": {"Helicone-Session-Id": "s"},
        "cache_reference_id": "00000000-0000-0000-0000-000000000000", **more,
    }  # fmt: skip


def openrouter(**more):
    return {
        "id": "gen-1", "model": "m", "created_at": START, "latency": 650, "generation_time": 600,
        "tokens_prompt": 18, "native_tokens_prompt": 20, "native_tokens_cached": 16,
        "tokens_completion": 9, "native_tokens_completion": 10, "session_id": "s", **more,
    }  # fmt: skip


GATEWAYS = [
    (read_litellm, looks_like_litellm, litellm),
    (read_langfuse, looks_like_langfuse, langfuse),
    (read_helicone, looks_like_helicone, helicone),
    (read_openrouter, looks_like_openrouter, openrouter),
]
each = pytest.mark.parametrize(("read", "looks", "of"), GATEWAYS)
SAME = (
    "arrival_ns", "input_tokens", "output_tokens", "tokens", "response_tokens", "model",
    "recorded_hit_tokens", "recorded_input_tokens", "recorded_output_tokens", "source_session_id",
)  # fmt: skip


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def as_csv(row):
    flat = {
        key: value if isinstance(value, str | int) else json.dumps(value)
        for key, value in row.items()
    }
    out = io.StringIO()
    table = csv.DictWriter(out, flat)
    table.writeheader()
    table.writerow(flat)
    return out.getvalue()


WANTED = reading(read_openai)(text_of(CALL)).frame


@each
def test_a_row_says_what_the_call_it_passed_on_says(read, looks, of):
    trace = reading(read)(text_of(of()))
    wanted = WANTED.row(0, named=True)
    row = trace.frame.row(0, named=True)
    if read is read_openrouter:
        assert (row["input_tokens"], row["output_tokens"], row["recorded_hit_tokens"]) == (
            20,
            10,
            16,
        )
    else:
        assert {name: row[name] for name in SAME} == {name: wanted[name] for name in SAME}
        assert row["recorded_e2e_ns"] == 1_250_000_000
    assert row["recorded_ttft_ns"] == 650_000_000
    assert trace.meta.clock_start_ns == 1_735_689_600_250_000_000


@each
@pytest.mark.parametrize("how", ["array", "document", "csv", "json in text"])
def test_all_exports_of_a_row_are_read_alike(read, looks, of, how):
    row = of()
    texts = {
        "array": json.dumps([row], indent=1),
        "document": json.dumps({"data": [row], "meta": {}}),
        "csv": as_csv(row),
        "json in text": text_of(
            {key: json.dumps(one) if isinstance(one, dict | list) else one
             for key, one in row.items()}
        ),
    }  # fmt: skip
    assert looks(texts[how].encode())
    found = reading(read)(texts[how]).frame
    assert found.select(*WANTED.columns[:3]).rows() == (
        reading(read)(text_of(row)).frame.select(*WANTED.columns[:3]).rows()
    )


@each
def test_without_text_lengths_are_read(read, looks, of):
    bare = {key: value for key, value in of().items()
            if key not in ("messages", "response", "input", "output", "request_body",
                           "response_body")}  # fmt: skip
    trace = reading(read)(text_of(bare))
    assert not trace.has_content
    assert trace.frame.select("input_tokens", "output_tokens").rows() == [(20, 10)]


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_litellm, litellm(request_id="r2", status="failure")),
        (read_litellm, litellm(request_id="r2", metadata={"status": "failure"})),
        (read_litellm, litellm(request_id="r2", cache_hit="True")),
        (read_litellm, litellm(request_id="r2", cache_hit=True)),
        (read_litellm, litellm()),
        (read_langfuse, langfuse(id="o2", level="ERROR", statusMessage="429")),
        (read_helicone, helicone(request_id="r2", response_status=429)),
        (read_helicone, helicone(request_id="r2", cache_reference_id="ab")),
        (read_openrouter, openrouter(id="g2", native_tokens_completion=0)),
    ],
)
def test_rows_that_no_engine_served_are_put_aside(read, row):
    of = {entry[0]: entry[2] for entry in GATEWAYS}[read]
    trace = reading(read)(text_of(of(), row))
    assert trace.requests == 1
    assert [one.line for one in trace.rejected] == [2]


def test_rows_that_are_no_calls_are_counted():
    trace = reading(read_langfuse)(text_of(langfuse(type="SPAN"), langfuse()))
    assert "1 observations are no calls of a model and were passed over" in trace.meta.notes
    trace = reading(read_litellm)(text_of(litellm(call_type="aembedding"), litellm()))
    assert any("no calls that generate" in note for note in trace.meta.notes)


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"input": 20, "output": 10, "total": 30}, (20, 10, None, None)),
        ({"input": 20, "output": 10, "unit": "TOKENS"}, (20, 10, None, None)),
        ({"input": 20, "input_cached_tokens": 16, "output": 10, "total": 30}, (20, 10, 16, None)),
        ({"input": 4, "input_cached_tokens": 16, "output": 6, "output_reasoning_tokens": 4,
          "total": 30}, (20, 10, 16, None)),
        ({"input": 3, "cache_read_input_tokens": 15, "cache_creation_input_tokens": 2,
          "output": 10, "total": 30}, (20, 10, 15, 2)),
        ({"input": 3, "cache_read_input_tokens": 15, "cache_creation_input_tokens": 2,
          "output": 10, "total": 13}, (20, 10, 15, 2)),
        ({"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}, (20, 10, None, None)),
        ({"input_tokens": 20, "output_tokens": 10}, (20, 10, None, None)),
    ],
)  # fmt: skip
def test_langfuse_counts_a_prompt_once_however_it_is_split(usage, wanted):
    row = langfuse(usageDetails=usage, input=None, output=None)
    found = reading(read_langfuse)(text_of(row)).frame.row(0, named=True)
    names = ("input_tokens", "output_tokens", "recorded_hit_tokens", "recorded_cache_write_tokens")
    assert tuple(found.get(name) for name in names) == wanted


def test_keys_with_underscores_are_those_of_the_storage_export():
    row = {
        "id": "o1", "trace_id": "t", "type": "GENERATION",
        "start_time": "2025-01-01 00:00:00.250000",
        "completion_start_time": "2025-01-01 00:00:00.900000", "provided_model_name": "m",
        "end_time": "2025-01-01 00:00:01.500000", "input": json.dumps(HI),
        "output": json.dumps(SAID), "usage_details": {"input": 20, "output": 10},
    }  # fmt: skip
    found = reading(read_langfuse)(text_of(row)).frame
    assert found["tokens"].to_list() == WANTED["tokens"].to_list()
    assert found["source_session_id"].to_list() == ["t"]
    assert found["recorded_ttft_ns"].to_list() == [650_000_000]


@each
def test_calls_of_exports_that_overlap_count_once(read, looks, of, tmp_path):
    name = "id" if "id" in of() else "request_id"
    other = of(**{name: "another"}) | ({"response": None} if read is read_litellm else {})
    other = {key: one for key, one in other.items() if key not in ("messages", "response")}
    first = {key: one for key, one in of().items() if key not in ("messages", "response")}
    (tmp_path / "a.jsonl").write_text(text_of(first))
    (tmp_path / "b.jsonl").write_text(text_of(first, other))
    trace = load_trace(tmp_path)
    assert trace.requests == 2
    assert "1 calls stand in an earlier file as well and count once" in trace.meta.notes
    (tmp_path / "b.jsonl").write_text(text_of(first))
    trace = load_trace(tmp_path)
    assert trace.requests == 1
    told = "all 1 calls of b.jsonl stand in earlier files as well and count once"
    assert told in trace.meta.notes


def test_a_trace_of_langfuse_holds_its_observations():
    text = json.dumps({"id": "t", "name": "x", "observations": [langfuse(type="SPAN"), langfuse()]})
    assert looks_like_langfuse(text.encode())
    assert reading(read_langfuse)(text).frame["tokens"].to_list() == WANTED["tokens"].to_list()


def test_objects_that_litellm_stored_have_their_usage_by_itself():
    row = {key: one for key, one in litellm(usage=ANSWER["usage"], metadata={}).items()
           if key not in ("prompt_tokens", "completion_tokens", "total_tokens")}  # fmt: skip
    assert looks_like_litellm(text_of(row).encode())
    found = reading(read_litellm)(text_of(row)).frame
    assert found.select(SAME).rows() == WANTED.select(SAME).rows()


def test_a_call_without_streaming_has_no_first_token():
    trace = reading(read_litellm)(text_of(litellm(completionStartTime=END)))
    assert "recorded_ttft_ns" not in trace.frame.columns


def test_openrouter_wraps_one_generation_or_exports_all():
    wrapped = text_of({"data": openrouter()})
    assert looks_like_openrouter(wrapped.encode())
    assert reading(read_openrouter)(wrapped).frame["input_tokens"].to_list() == [20]
    table = (
        "generation_id,created_at,tokens_prompt,tokens_completion,tokens_cached,"
        "model_permaslug,generation_time_ms,time_to_first_token_ms\n"
        "gen-1,2025-01-01 00:00:00.250,20,10,16,m,600,650\n"
    )
    assert looks_like_openrouter(table.encode())
    row = reading(read_openrouter)(table).frame.row(0, named=True)
    assert (row["input_tokens"], row["recorded_hit_tokens"], row["model"]) == (20, 16, "m")


@pytest.mark.parametrize(
    ("read", "row", "fault"),
    [
        (read_litellm, litellm(startTime="noon"), "a.jsonl:1: startTime must be a date from 1970"),
        (read_litellm, litellm(startTime=None), "a.jsonl:1: lacks startTime"),
        (read_litellm, litellm(prompt_tokens="x"), "a.jsonl:1: prompt_tokens must be an integer"),
        (read_litellm, litellm(messages="[{"), "a.jsonl:1: messages is JSON as text that does not"),
        (read_langfuse, langfuse(startTime=5), "a.jsonl:1: startTime must be a date from 1970"),
        (read_langfuse, langfuse(usageDetails={"input": -1}), "prompt_tokens must be between"),
        (read_langfuse, langfuse(input=[5]), r"a.jsonl:1: messages\[0\] must be a message"),
        (read_helicone, helicone(request_created_at=""), "a.jsonl:1: lacks request_created_at"),
        (read_helicone, helicone(prompt_cache_read_tokens=21), "cached tokens are more than the"),
        (read_openrouter, openrouter(native_tokens_prompt="a"), "prompt_tokens must be an integer"),
    ],
)
def test_faults_are_told_with_their_line(read, row, fault):
    with pytest.raises(TraceError, match=fault):
        reading(read)(text_of(row))


@needs(CASES)
def test_the_public_shapes_are_read():
    assert load_trace(CASES / "langfuse_observations.jsonl").requests == 3
    trace = load_trace(CASES / "litellm_spend_logs.jsonl")
    assert trace.requests == 1
    assert trace.frame["recorded_ttft_ns"].to_list() == [650_000_000]


@settings(deadline=None, max_examples=200)
@given(data=st.data(), entry=st.sampled_from(GATEWAYS))
def test_anything_is_read_or_refused(data, entry):
    read, _, of = entry
    values = {name: st.just(value) for name, value in of().items()}
    text = data.draw(
        st.one_of(
            mutated(text_of(of(), of())),
            mutated(as_csv(of())),
            json_lines(rows_of(**values)).map(str.encode),
            any_json.map(repr),
        )
    )
    requests_or_refusal(reading(read), text)
    requests_or_refusal(reading(read), text, max_rejected=0.9)
