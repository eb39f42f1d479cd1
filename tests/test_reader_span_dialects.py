"""OpenInference's attributes and Jaeger's exports say the same as OpenTelemetry's own."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.otel import looks_like_otel, read_otel
from tests.reader_fuzz import any_json, mutated, reading, requests_or_refusal
from tests.shared_data import SHARED, needs

CASE = SHARED / "cases" / "formats" / "jaeger_export.json"
START = 1_735_689_600_500_000
trace_of = reading(read_otel, "a.json")

CALL = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}
GEN_AI = {
    "gen_ai.request.model": "m",
    "gen_ai.conversation.id": "s",
    "gen_ai.input.messages": [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "text", "text": "Look there"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "found", "tool_call_id": "c"},
    ],
    "gen_ai.output.messages": [{"role": "assistant", "content": "It is there"}],
    "gen_ai.tool.definitions": [TOOL],
    "gen_ai.usage.input_tokens": 30,
    "gen_ai.usage.cache_read.input_tokens": 4,
    "gen_ai.usage.cache_creation.input_tokens": 5,
    "gen_ai.usage.output_tokens": 3,
}
SAID = "llm.input_messages"
FLAT = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "m",
    "session.id": "s",
    f"{SAID}.0.message.role": "system",
    f"{SAID}.0.message.content": "Be brief",
    f"{SAID}.1.message.role": "user",
    f"{SAID}.1.message.contents.0.message_content.type": "text",
    f"{SAID}.1.message.contents.0.message_content.text": "Look there",
    f"{SAID}.2.message.role": "assistant",
    f"{SAID}.2.message.tool_calls.0.tool_call.id": "c",
    f"{SAID}.2.message.tool_calls.0.tool_call.function.name": "look",
    f"{SAID}.2.message.tool_calls.0.tool_call.function.arguments": '{"at": 1}',
    f"{SAID}.3.message.role": "tool",
    f"{SAID}.3.message.content": "found",
    f"{SAID}.3.message.tool_call_id": "c",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "It is there",
    "llm.tools.0.tool.json_schema": json.dumps(TOOL),
    "llm.token_count.prompt": 30,
    "llm.token_count.prompt_details.cache_read": 4,
    "llm.token_count.prompt_details.cache_write": 5,
    "llm.token_count.completion": 3.0,
}


def nested(flat):
    """Flat names as objects and lists, the way exports of spans have them."""
    tree = {}
    for name, value in flat.items():
        at = tree
        *way, last = name.split(".")
        for part in way:
            at = at.setdefault(part, {})
        at[last] = value

    def lists(node):
        if not isinstance(node, dict):
            return node
        inner = {name: lists(one) for name, one in node.items()}
        return list(inner.values()) if all(name.isdecimal() for name in inner) else inner

    return lists(tree)


def span(attributes, number=0, **more):
    return {
        "span_id": f"s{number}", "trace_id": "t", "name": "chat",
        "start_time": "2025-01-01T00:00:00.5Z", "end_time": "2025-01-01T00:00:02Z",
        "attributes": attributes, **more,
    }  # fmt: skip


def jaeger_span(attributes, number=0, parent=None, **more):
    tags = [{"key": key, "type": "string", "value": value} for key, value in attributes.items()]
    references = [{"refType": "CHILD_OF", "traceID": "t", "spanID": parent}] if parent else []
    return {
        "traceID": "t", "spanID": f"s{number}", "operationName": "chat", "startTime": START,
        "duration": 1_500_000, "references": references, "tags": tags, "logs": [], **more,
    }  # fmt: skip


def jaeger(*spans):
    found = {"traceID": "t", "spans": list(spans), "processes": {"p1": {"serviceName": "x"}}}
    return {"data": [found], "total": 0, "limit": 0}


def frame_of(document):
    text = json.dumps(document)
    assert looks_like_otel(text.encode())
    return trace_of(text).frame


WANTED = frame_of(span(GEN_AI))


def test_what_is_wanted_holds_all_that_was_said():
    row = WANTED.row(0, named=True)
    assert row["recorded_hit_tokens"] == 4
    assert row["recorded_cache_write_tokens"] == 5
    assert row["recorded_e2e_ns"] == 1_500_000_000
    assert row["source_session_id"] == "s"
    assert row["output_tokens"] == 3


@pytest.mark.parametrize(
    "document",
    [
        span(FLAT),
        span(nested(FLAT)),
        {"data": [span(FLAT) | {"context": {"trace_id": "t"}, "span_kind": "LLM"}]},
        jaeger(jaeger_span(FLAT)),
        jaeger(jaeger_span({**GEN_AI, "gen_ai.input.messages": json.dumps(
            GEN_AI["gen_ai.input.messages"])})),
    ],
    ids=["flat", "nested", "phoenix", "jaeger", "jaeger of gen_ai"],
)  # fmt: skip
def test_all_dialects_say_the_same(document):
    found = frame_of(document)
    assert found.columns == WANTED.columns
    assert found.rows() == WANTED.rows()


def test_places_beyond_nine_stand_in_order():
    many = {
        f"{SAID}.{place}.message.{name}": value
        for place in range(12)
        for name, value in (("role", "user"), ("content", f"w{place}"))
    }
    same = [{"role": "user", "content": f"w{place}"} for place in range(12)]
    answered = {"gen_ai.output.text": "Yes"}
    found = frame_of(span(many | answered))
    assert found["tokens"].to_list() == (
        frame_of(span({"gen_ai.input.messages": same} | answered))["tokens"].to_list()
    )


def test_spans_of_jaeger_know_their_parents_and_failures():
    outer = jaeger_span({"gen_ai.conversation.id": "talk"}, 1)
    inner = jaeger_span({**FLAT, "session.id": ""}, 2, parent="s1")
    failed = jaeger_span({**FLAT, "error": True}, 3)
    trace = trace_of(json.dumps(jaeger(outer, inner, failed)))
    assert trace.frame["source_session_id"].to_list() == ["talk"]
    assert [row.line for row in trace.rejected] == [3]


def test_images_are_parts_of_their_message():
    image = {
        f"{SAID}.1.message.contents.1.message_content.type": "image",
        f"{SAID}.1.message.contents.1.message_content.image.image.url": "https://x/a.png",
    }
    assert frame_of(span(FLAT | image))["input_tokens"][0] > WANTED["input_tokens"][0]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (span(FLAT | {"llm.token_count.prompt": "many"}), "span s0: .*must be an integer"),
        (span(FLAT | {f"{SAID}.0.message.role": 5}), "span s0: .*must have a role"),
        (jaeger(jaeger_span(FLAT, startTime=None)), "span s0 lacks its start"),
        (jaeger(jaeger_span(FLAT, tags="x")), "tags must be a list of objects"),
    ],
)
def test_faults_are_told(document, fault):
    with pytest.raises(TraceError, match=fault):
        trace_of(json.dumps(document))


@needs(CASE)
def test_the_public_shape_is_read():
    trace = load_trace(CASE)
    assert trace.frame.select("input_tokens", "output_tokens", "recorded_ttft_ns").rows() == [
        (128, 16, 200_000_000)
    ]


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        mutated(json.dumps(span(FLAT))),
        mutated(json.dumps(jaeger(jaeger_span(FLAT)))),
        st.dictionaries(st.sampled_from([*FLAT, "llm", "session"]), any_json, max_size=6).map(
            lambda values: json.dumps(jaeger(jaeger_span(values)))
        ),
    )
)
def test_anything_is_read_or_refused(text):
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
