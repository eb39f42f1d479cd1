"""Spans that tell of one call twice, and what is one call and what are two."""

import json

import pytest

from replay.errors import TraceError
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.otel import read_otel
from replay.trace.readers.source import Source
from tests.api_logs import ids

HI = [{"role": "user", "content": "Hi there"}]
BOTH = {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 3}
VALUES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.input.messages": json.dumps(HI),
    "gen_ai.output.text": "Hello",
}
CHAIN = {"gen_ai.operation.name": "invoke_agent"}


def span(name, parent=None, start=0, end=9, attributes=VALUES, **more):
    return {
        "span_id": name, "trace_id": "t", "parent_span_id": parent, "attributes": attributes,
        "start_time": f"2025-01-01T00:00:0{start}Z", "end_time": f"2025-01-01T00:00:0{end}Z",
        **more,
    }  # fmt: skip


def trace_of(*spans):
    text = json.dumps({"trace_id": "t", "spans": list(spans)}).encode()
    return read_otel(Source("t.json", "t.json", text, "0" * 64), ReadOptions())


def kept(*spans):
    return sorted(trace_of(*spans).frame["span_id"].to_list())


OUTER = span("outer")
INNER = span("inner", "outer", 1, 8)
OTHER_REPLY = VALUES | {"gen_ai.output.text": "Bye"}
OTHER_COUNT = VALUES | BOTH | {"gen_ai.usage.output_tokens": 4}


@pytest.mark.parametrize(
    ("one", "other", "left"),
    [
        (OUTER, INNER, ["inner"]),
        (INNER, OUTER, ["inner"]),  # exporters write children first
        (OUTER, span("inner", "outer", 0, 9), ["outer"]),  # a repeated span is put aside
        (OUTER, INNER | {"parent_span_id": None}, ["inner", "outer"]),
        (OUTER, INNER | {"end_time": "2025-01-01T00:00:30Z"}, ["inner", "outer"]),
        (span("outer", None, 2), INNER, ["inner", "outer"]),
        (OUTER, INNER | {"attributes": OTHER_REPLY}, ["inner", "outer"]),
        (OUTER, INNER | {"attributes": VALUES | {"gen_ai.request.model": "n"}}, ["inner", "outer"]),
        (OUTER, INNER | {"attributes": VALUES | {"gen_ai.request.model": "x/m-2025"}}, ["inner"]),
        (OUTER | {"attributes": VALUES | BOTH}, INNER | {"attributes": VALUES | BOTH}, ["inner"]),
        (OUTER | {"attributes": VALUES | BOTH}, INNER | {"attributes": OTHER_COUNT},
         ["inner", "outer"]),
        # Counts tell where messages are written in two ways, and the one with text stays.
        (OUTER | {"attributes": VALUES | BOTH}, INNER | {"attributes": OTHER_REPLY | BOTH},
         ["inner"]),
        (OUTER | {"attributes": VALUES | BOTH},
         INNER | {"attributes": {"gen_ai.operation.name": "chat"} | BOTH},
         ["outer"]),
        (OUTER, span("inner", "outer", 1, 8, status={"code": 2, "message": "no"}), ["outer"]),
    ],
)  # fmt: skip
def test_two_spans_are_one_call_where_one_lies_in_the_other_and_they_agree(one, other, left):
    trace = trace_of(one, other)
    assert sorted(trace.frame["span_id"].to_list()) == left
    told = any("tells of the same call" in note for note in trace.meta.notes)
    assert told == (len(left) + len(trace.rejected) == 1)


def test_spans_between_do_not_hide_it():
    between = span("between", "outer", 1, 8, CHAIN)
    assert kept(OUTER, between, span("inner", "between", 2, 7)) == ["inner"]
    assert kept(OUTER, INNER, span("innermost", "inner", 2, 7)) == ["innermost"]


def test_two_calls_of_one_agent_are_two():
    agent = span("agent", None, 0, 9, CHAIN)
    first, second = span("a", "agent", 1, 2), span("b", "agent", 3, 4)
    assert kept(agent, first, second) == ["a", "b"]


def test_a_circle_of_parents_is_no_hindrance():
    assert kept(span("a", "b"), span("b", "a", 1, 8, OTHER_REPLY)) == ["a", "b"]


def test_the_conversation_is_that_of_the_span_around():
    named = span("agent", None, 0, 9, CHAIN | {"gen_ai.conversation.id": "c"})
    trace = trace_of(named, span("a", "agent", 1, 2))
    assert trace.frame["source_session_id"].to_list() == ["c"]


def test_messages_written_as_text_twice_over_are_read():
    twice = VALUES | {"gen_ai.input.messages": json.dumps(json.dumps(HI))}
    wanted = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    assert trace_of(span("a", attributes=twice)).frame["tokens"].to_list() == [ids(wanted)]


SPREAD = {
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": '[{"type": "text", "text": "Hi there"}]',
    "gen_ai.prompt.1.role": "assistant",
    "gen_ai.prompt.1.tool_calls.0.id": "1",
    "gen_ai.prompt.1.tool_calls.0.name": "look",
    "gen_ai.prompt.1.tool_calls.0.arguments": '{"b": 1, "a": 2}',
    "gen_ai.prompt.2.role": "tool",
    "gen_ai.prompt.2.tool_call_id": "1",
    "gen_ai.prompt.2.content": "found",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.completion.0.tool_calls.0.id": "2",
    "gen_ai.completion.0.tool_calls.0.name": "look",
    "gen_ai.completion.0.tool_calls.0.arguments": "{}",
    "llm.request.functions.0.name": "look",
    "llm.request.functions.0.parameters": '{"type": "object"}',
}


def call(number, arguments):
    function = {"name": "look", "arguments": arguments}
    return json.dumps({"id": number, "type": "function", "function": function})


def test_messages_spread_over_attributes_keep_calls_and_what_follows_them():
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    wanted = (
        f"<|im_start|>tools\n{json.dumps(tool)}<|im_end|>\n<|im_start|>user\nHi there<|im_end|>\n"
        f"<|im_start|>assistant\n{call('1', {'b': 1, 'a': 2})}<|im_end|>\n"
        "<|im_start|>tool\nfound<|im_end|>\n<|im_start|>assistant\n"
    )
    frame = trace_of(span("a", attributes=SPREAD)).frame
    assert frame["tokens"].to_list() == [ids(wanted)]
    assert frame["response_tokens"].to_list() == [ids(call("2", {}))]


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ({"messages": HI, "model": "m"}, {"id": "x", "choices": [{"message": {
            "role": "assistant", "content": "Hello"}}]}),
        (HI[0], [{"role": "assistant", "content": "Hello"}]),
        (HI, "Hello"),
    ],
)  # fmt: skip
def test_a_prompt_and_a_completion_that_are_json_are_what_they_hold(prompt, completion):
    text = completion if isinstance(completion, str) else json.dumps(completion)
    values = {"gen_ai.prompt": json.dumps(prompt), "gen_ai.completion": text}
    frame = trace_of(span("a", attributes=values)).frame
    wanted = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    assert frame["tokens"].to_list() == [ids(wanted)]
    assert frame["response_tokens"].to_list() == [ids("Hello")]


def test_a_prompt_that_is_json_and_cut_off_is_refused():
    values = {"gen_ai.prompt": json.dumps({"messages": HI})[:-5], "gen_ai.completion": "x"}
    with pytest.raises(TraceError, match=r"gen_ai\.prompt is JSON as text that does not parse"):
        trace_of(span("a", attributes=values))


@pytest.mark.parametrize("said", ['{"bird": "robin"}', "[INST] x", "[1, 2]", "{"])
def test_json_that_was_said_to_a_model_stays_text(said):
    values = {"gen_ai.prompt": said, "gen_ai.completion": said}
    frame = trace_of(span("a", attributes=values)).frame
    assert frame["tokens"].to_list() == frame["response_tokens"].to_list() == [ids(said)]
