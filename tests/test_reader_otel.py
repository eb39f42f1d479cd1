"""Spans of generative AI: every way they are exported, which are requests, what is kept of them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import ReplayError, TraceError
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.openai import looks_like_openai
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.otel import looks_like_otel, read_otel
from replay.trace.readers.source import Source
from replay.trace.text import APPROXIMATE

START = 1_735_689_600 * 10**9  # 2025-01-01
HI = [{"role": "user", "content": "Hi there"}]
CHATML = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
VALUES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.input.messages": json.dumps(HI),
    "gen_ai.output.text": "Hello",
    "gen_ai.usage.input_tokens": 9,
    "gen_ai.usage.output_tokens": 3,
    "gen_ai.usage.cache_read.input_tokens": 4,
}
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look"}


def span(number=0, attributes=VALUES, start="2025-01-01T00:00:00.5Z", **more):
    return {
        "span_id": f"s{number}",
        "parent_span_id": None,
        "name": "chat m",
        "start_time": start,
        "end_time": "2025-01-01T00:00:02.000000001Z",
        "attributes": attributes,
        "status": {"code": 1, "message": ""},
        **more,
    }


def document(*spans, trace_id="t"):
    return {"trace_id": trace_id, "span_count": len(spans), "spans": list(spans)}


def typed(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(inner) for inner in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": listed(value)}}
    return {"stringValue": value}


def listed(attributes):
    return [{"key": key, "value": typed(value)} for key, value in attributes.items()]


def otlp(*attributes, **more):
    spans = [
        {
            "traceId": "t",
            "spanId": f"s{number}",
            "startTimeUnixNano": str(START + 500_000_000 + number),
            "endTimeUnixNano": str(START + 2_000_000_001),
            "attributes": listed(values),
            **more,
        }
        for number, values in enumerate(attributes)
    ]
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}


def console(attributes=VALUES):
    context = {"trace_id": "t", "span_id": "s0", "trace_state": "[]"}
    more = {"context": context, "status": {"status_code": "OK"}, "events": [], "kind": "CLIENT"}
    given = span(attributes=attributes, **more)
    del given["span_id"]
    return given


def text_of(documents):
    return "\n".join(map(json.dumps, documents))


def trace_of(*documents, **options) -> Trace:
    text = text_of(documents).encode()
    return read_otel(Source("t.json", "t.json", text, "0" * 64), ReadOptions(**options))


def ids(text):
    return APPROXIMATE.split([text])[0].tolist()


def prompts(trace):
    return trace.frame["tokens"].to_list()


def refusal(*documents):
    with pytest.raises(TraceError) as caught:
        trace_of(*documents)
    return str(caught.value)


def other_input(**values):
    kept = {
        key: value
        for key, value in VALUES.items()
        if key not in ("gen_ai.input.messages", "gen_ai.output.text")
    }
    return kept | {f"gen_ai.{key.replace('__', '.')}": value for key, value in values.items()}


PARTS = [{"role": "user", "parts": [{"type": "text", "content": "Hi there"}]}]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}]}]
INSIDE = other_input(input__messages=HI, output__messages=SAID)
SHAPES = {
    "a document": document(span()),
    "a span": console(),
    "OTLP": otlp(VALUES),
    "OTLP with structure": otlp(INSIDE),
    "messages with parts": document(
        span(attributes=other_input(input__messages=PARTS, output__messages=json.dumps(SAID)))
    ),
    "older names": document(
        span(attributes=other_input(prompt=json.dumps(HI), completion="Hello"))
    ),
    "spread": document(
        span(
            attributes=other_input(
                prompt__0__role="user", prompt__0__content="Hi there",
                completion__0__role="assistant", completion__0__content="Hello",
            )
        )
    ),
    "in an event": document(
        span(
            attributes=other_input(),
            events=[{"name": "gen_ai.client.inference.operation.details", "attributes": {
                "gen_ai.input.messages": HI, "gen_ai.output.messages": SAID}}],
        )
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_request(shape):
    trace = trace_of(SHAPES[shape])
    assert prompts(trace) == [ids(CHATML)]
    assert trace.frame["response_tokens"].to_list() == [ids("Hello")]
    assert trace.meta.clock_start_ns == START + 500_000_000
    assert trace.frame.select(
        "recorded_e2e_ns", "recorded_input_tokens", "recorded_hit_tokens", "recorded_output_tokens",
        "model", "operation", "trace_id", "span_id", "source_session_id",
    ).rows() == [(1_500_000_001, 9, 4, 3, "m", "chat", "t", "s0", "t")]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_recognised(shape):
    text = json.dumps(SHAPES[shape], indent=1).encode()
    assert looks_like_otel(text[:-5])
    assert looks_like_otel(b" [" + text + b"]")
    assert not looks_like_openai(text)


@pytest.mark.parametrize(
    "other",
    [
        {"timestamp": 0, "hash_ids": [0]},
        {"messages": [{"role": "user", "content": json.dumps(document(span()))}]},
        {"spans": [{"span_id": "a", "attributes": {"http.method": "GET"}}]},
    ],
)
def test_other_formats_are_not_recognised(other):
    assert not looks_like_otel(json.dumps(other).encode())


def test_only_spans_with_an_input_are_requests():
    agent = VALUES | {"gen_ai.operation.name": "invoke_agent"}
    trace = trace_of(
        document(span(0, agent), span(1, TOOL), span(2), span(3, {"http.method": "x"}))
    )
    assert trace.frame["span_id"].to_list() == ["s2"]
    assert "3 spans are no requests to a model and were passed over" in trace.meta.notes
    assert trace.rejected == ()


def test_a_conversation_names_the_session_and_else_the_trace():
    named = VALUES | {"gen_ai.conversation.id": "c"}
    trace = trace_of(
        document(span(0, named), trace_id="a"),
        document(span(1, named), trace_id="b"),
        document(span(2), trace_id="b"),
    )
    assert trace.frame["source_session_id"].to_list() == ["c", "c", "b"]
    assert trace.frame["turn"].to_list() == [0, 1, 0]


def test_requests_are_in_order_of_their_start():
    trace = trace_of(document(span(0, start="2025-01-01T00:00:01Z"), span(1)))
    assert trace.frame["span_id"].to_list() == ["s1", "s0"]
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000_000]


def test_instructions_and_tools_are_part_of_the_prompt():
    values = VALUES | {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be kind."}]),
        "gen_ai.tool.definitions": json.dumps([{"type": "function", "name": "look"}]),
    }
    (prompt,) = prompts(trace_of(document(span(attributes=values))))
    wanted = (
        '<|im_start|>tools\n{"type": "function", "function": {"name": "look"}}'
        "<|im_end|>\n<|im_start|>system\nBe kind.<|im_end|>\n"
    )
    assert prompt == ids(wanted + CHATML)


def test_a_later_prompt_starts_with_the_earlier_one_and_its_response():
    call = {"type": "tool_call", "id": "1", "name": "look", "arguments": {"at": "x"}}
    said = [{"role": "assistant", "parts": [{"type": "text", "content": "Wait."}, call]}]
    result = {"type": "tool_call_response", "id": "1", "response": "found"}
    later = [*PARTS, *said, {"role": "tool", "parts": [result]}]
    first = other_input(input__messages=PARTS, output__messages=said)
    second = other_input(input__messages=later, output__messages=SAID)
    trace = trace_of(document(span(0, first), span(1, second)))
    before, after = prompts(trace)
    whole = before + trace.frame["response_tokens"].to_list()[0]
    assert after[: len(whole)] == whole
    assert len(after) > len(whole)


def test_a_prompt_that_is_text_is_taken_as_it_is():
    trace = trace_of(document(span(attributes=other_input(prompt="Hi there", completion="x"))))
    assert prompts(trace) == [ids("Hi there")]


def test_spans_without_text_give_lengths_and_what_was_measured():
    values = {
        "gen_ai.usage.prompt_tokens": 128, "gen_ai.usage.completion_tokens": 5,
        "gen_ai.usage.cached_tokens": 64, "gen_ai.latency.time_to_first_token": 0.045,
    }  # fmt: skip
    trace = trace_of(otlp(values, values))
    assert not trace.has_content
    assert trace.frame.select(
        "arrival_ns", "input_tokens", "output_tokens", "recorded_hit_tokens", "recorded_ttft_ns"
    ).rows() == [(0, 128, 5, 64, 45_000_000), (1, 128, 5, 64, 45_000_000)]


def test_spans_without_text_are_passed_over_where_others_have_it():
    trace = trace_of(document(span(0), span(1, other_input())))
    assert trace.frame["span_id"].to_list() == ["s0"]
    assert any(
        note.startswith("1 spans count tokens and have no text") for note in trace.meta.notes
    )


def test_hidden_reasoning_is_counted_and_shown_reasoning_is_text():
    hidden = VALUES | {"gen_ai.usage.reasoning.output_tokens": 2}
    shown = [{"role": "assistant", "parts": [{"type": "reasoning", "content": "Think."}]}]
    told = other_input(
        input__messages=HI, output__messages=shown, usage__reasoning__output_tokens=2
    )
    frame = trace_of(document(span(0, hidden), span(1, told))).frame
    assert frame["output_tokens"].to_list() == [3, len(ids("Think."))]
    assert frame["response_tokens"].to_list() == [None, ids("Think.")]


@pytest.mark.parametrize(
    ("failed", "reason"),
    [
        (span(status={"code": 2, "message": "rate limit"}), "a failed request: 'rate limit'"),
        (span(status={"status_code": "ERROR"}), "a failed request: 'ERROR'"),
        (span(attributes=VALUES | {"error.type": "timeout"}), "a failed request: 'timeout'"),
        (span(attributes=VALUES | {"gen_ai.output.text": "", "gen_ai.usage.output_tokens": 0}),
         "no response: a failed request"),
        (span(7, trace_id="t"), "repeats an earlier span, times and all"),
    ],
)  # fmt: skip
def test_failed_and_repeated_spans_are_put_aside(failed, reason):
    trace = trace_of(document(span(), failed))
    assert trace.requests == 1
    (aside,) = trace.rejected
    assert (aside.line, aside.reason) == (2, reason)
    assert json.loads(aside.text)["span_id"] == failed["span_id"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (span(1, start=None), "span s1 lacks its start"),
        (span(1, start="soon"), "start_time must be a date"),
        (span(1, start="1735689600"), "start_time must be a date"),
        (span(1, end_time="2024-01-01T00:00:00Z"), "span s1 ends before it starts"),
        (span(1, end_time=5), "end_time must be a date"),
        (span(1, VALUES | {"gen_ai.usage.input_tokens": "9"}),
         "span s1: gen_ai.usage.input_tokens must be an integer (got '9')"),
        (span(1, VALUES | {"gen_ai.usage.input_tokens": 1}),
         "span s1: cached tokens are more than the prompt has (got 4 of 1)"),
        (span(1, VALUES | {"gen_ai.input.messages": "Hi"}),
         "gen_ai.input.messages must be a list of messages (got 'Hi')"),
        (span(1, VALUES | {"gen_ai.input.messages": [{"content": "x"}]}), "must have a role"),
        (span(1, VALUES | {"gen_ai.latency.time_to_first_token": -1}), "must be seconds from 0 on"),
        (span(1, VALUES | {"gen_ai.input.messages": "[" * 50_000}), None),
    ],
)  # fmt: skip
def test_a_bad_span_is_refused_with_its_number(bad, message):
    text = refusal(document(span(), bad), document(span(2)))
    assert text.startswith("t.json:2: ")
    assert (message or "span s1: ") in text


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "2:2: not valid JSON"),
        ('{"spans": [{"attributes": ' + "[" * 50_000, "2: nested too deeply"),
        ("[1]", "2: expected a JSON object"),
        ("{}", "2: holds no spans (got no keys)"),
        ('{"a": 1}', "2: holds no spans (got 'a')"),
        ('{"spans": 1}', "2: spans must be a list of objects (got 1)"),
        ('{"spans": [1]}', "2: spans must be a list of objects (got [1])"),
        ('{"resourceSpans": [{"scopeSpans": 1}]}', "2: scopeSpans must be a list of objects"),
        ('{"spans": [{"attributes": 1}]}', "2: attributes must be a list of objects (got 1)"),
        ('{"spans": [{"attributes": [{"key": "a", "value": 1}]}]}', "2: the value of an attribute"),
        ('{"spans": [{"attributes": [{"key": "a", "value": {"intValue": "x"}}]}]}',
         "2: intValue must be an integer (got 'x')"),
    ],
)  # fmt: skip
def test_a_broken_document_is_refused_whatever_is_allowed(bad, message):
    text = f"{json.dumps(document(span()))}\n{bad}\n".encode()
    source = Source("t.json", "t.json", text, "0" * 64)
    with pytest.raises(TraceError) as caught:
        read_otel(source, ReadOptions(max_rejected=0.9))
    assert str(caught.value).startswith("t.json:" + message)


def test_a_file_of_other_spans_alone_is_refused():
    assert "no request" in refusal(document(span(0, TOOL)))
    assert refusal(document()) == "t.json: there are no spans"


def test_faulty_spans_may_be_put_aside():
    trace = trace_of(document(span(), span(1, start=None), span(2, TOOL)), max_rejected=0.5)
    assert (trace.requests, trace.meta.rejected_rows) == (1, 1)


def test_a_file_is_found_by_its_content(tmp_path):
    path = tmp_path / "spans.json"
    path.write_text(json.dumps([SHAPES["a document"], document(span(1), trace_id="u")], indent=2))
    trace = load_trace(path)
    assert (trace.requests, trace.meta.format) == (2, "otel")


SAMPLE = text_of([*SHAPES.values(), otlp(VALUES, TOOL)]).encode()
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "parts", "type", "key", "value", "intValue", "code"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
NAMES = st.sampled_from([*VALUES, "gen_ai.prompt", "gen_ai.completion", "gen_ai.conversation.id"])


def told_or_read(text):
    """Whether there is a trace, or an error that names the file; anything else is raised."""
    try:
        source = Source("t.json", "t.json", text, "0" * 64)
        return read_otel(source, ReadOptions(max_rejected=0.4)).requests > 0
    except ReplayError as error:
        return "t.json" in str(error)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_give_a_trace_or_an_error_of_replay(data):
    sample = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(1, 3))):
        sample[data.draw(st.integers(0, len(sample) - 1))] = data.draw(st.integers(32, 126))
    looks_like_otel(bytes(sample))
    assert told_or_read(bytes(sample))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(list(span())), ANY, max_size=4)
        | st.dictionaries(NAMES, ANY).map(lambda values: {"attributes": VALUES | values}),
        max_size=3,
    ),
    ANY,
)
def test_any_spans_give_a_trace_or_an_error_of_replay(spans, other):
    spans = [span(number) | more for number, more in enumerate(spans)]
    assert told_or_read(text_of([document(*spans)]).encode())
    assert told_or_read(text_of([document(*spans), other]).encode())


def test_attributes_name_adapters_salts_and_tenants():
    named = {"gen_ai.request.cache_salt": "s", "app.tenant.id": 7, "llm.lora_name": "l",
             "gen_ai.request.prompt_logprobs": 1, "llm.model_name": "not it"}  # fmt: skip
    frame = trace_of(span(attributes=VALUES | named), span(1)).frame
    assert frame["cache_salt"].to_list() == ["s", None]
    assert frame["tenant"].to_list() == ["7", None]
    assert frame["adapter"].to_list() == ["l", None]
    assert frame["skips_lookup"].to_list() == [True, False]
    assert frame["model"].to_list() == ["m", "m"]
