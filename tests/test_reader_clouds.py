"""Readers of what clouds log of calls: their rows say the same as the call itself."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.azure_apim import looks_like_azure_apim, read_azure_apim
from replay.trace.readers.bedrock import looks_like_bedrock, read_bedrock
from replay.trace.readers.openai import read_openai
from replay.trace.readers.sagemaker import looks_like_sagemaker, read_sagemaker
from replay.trace.readers.vertex import looks_like_vertex, read_vertex
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of

START = "2025-01-01T00:00:00.250Z"
FUNCTION = {"name": "look", "description": "Looks", "parameters": {"type": "object"}}
CALL = {
    "timestamp": START,
    "model": "m",
    "request": {
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Look there"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"function": {"name": "look", "arguments": {"at": 1}}}]},
            {"role": "tool", "content": '{"found": 2}'},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    },
    "response": {
        "choices": [{"message": {"role": "assistant", "content": "Two things"}}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 9,
                  "prompt_tokens_details": {"cached_tokens": 16}},
    },
}  # fmt: skip

CONVERSE = {
    "system": [{"text": "Be brief"}, {"cachePoint": {"type": "default"}}],
    "messages": [
        {"role": "user", "content": [{"text": "Look there"}]},
        {"role": "assistant", "content": [{"toolUse": {"name": "look", "input": {"at": 1}}}]},
        {"role": "user", "content": [{"toolResult": {"content": [{"json": {"found": 2}}]}}]},
    ],
    "toolConfig": {"tools": [{"toolSpec": {"name": "look", "description": "Looks",
                                           "inputSchema": {"json": FUNCTION["parameters"]}}}]},
    "inferenceConfig": {"maxTokens": 100},
}  # fmt: skip
CONVERSED = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Two things"}]}},
    "usage": {"inputTokens": 24, "outputTokens": 9, "cacheReadInputTokens": 16},
    "metrics": {"latencyMs": 1250},
}
CONTENTS = {
    "systemInstruction": {"parts": [{"text": "Be brief"}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Look there"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"at": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look",
                                                         "response": {"found": 2}}}]},
    ],
    "tools": [{"functionDeclarations": [FUNCTION]}],
}  # fmt: skip
CANDIDATES = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Two things"}]}}],
    "usageMetadata": {"promptTokenCount": 40, "candidatesTokenCount": 9,
                      "cachedContentTokenCount": 16},
}  # fmt: skip


def bedrock(asked=CONVERSE, answered=CONVERSED, **more):
    return {
        "schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": START,
        "requestId": "r1", "operation": "Converse", "modelId": "arn:aws:bedrock:::profile/m",
        "input": {"inputBodyJson": asked, "inputTokenCount": 24, "cacheReadInputTokenCount": 16},
        "output": {"outputBodyJson": answered, "outputTokenCount": 9}, **more,
    }  # fmt: skip


def vertex(asked=CONTENTS, answered=CANDIDATES, **more):
    return {
        "logging_time": START, "request_id": "1", "model": "m", "full_request": asked,
        "full_response": answered, **more,
    }  # fmt: skip


def sagemaker(asked=None, answered=None, encoding="JSON", **event):
    def part(value):
        text = json.dumps(value)
        return base64.b64encode(text.encode()).decode() if encoding == "BASE64" else text

    asked = {**CALL["request"], "model": "m"} if asked is None else asked
    data = {
        "endpointInput": {"mode": "INPUT", "data": part(asked), "encoding": encoding},
        "endpointOutput": {"mode": "OUTPUT", "data": part(answered or CALL["response"]),
                           "encoding": encoding},
    }  # fmt: skip
    return {"captureData": data, "eventVersion": "0",
            "eventMetadata": {"eventId": "e1", "inferenceTime": START, **event}}  # fmt: skip


def apim(**more):
    body = {"BackendRequestBody": json.dumps(CALL["request"]),
            "BackendResponseBody": json.dumps(CALL["response"])}  # fmt: skip
    return {"TimeGenerated": START, "CorrelationId": "c1", "ModelName": "m", **body, **more}


READERS = [
    (read_bedrock, looks_like_bedrock, bedrock),
    (read_vertex, looks_like_vertex, vertex),
    (read_sagemaker, looks_like_sagemaker, sagemaker),
    (read_azure_apim, looks_like_azure_apim, apim),
]
SAME = (
    "arrival_ns", "input_tokens", "output_tokens", "tokens", "response_tokens", "model",
    "recorded_hit_tokens", "recorded_input_tokens", "recorded_output_tokens",
)  # fmt: skip


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def frame_of(read, *rows):
    return reading(read)(text_of(*rows)).frame


WANTED = frame_of(read_openai, CALL)


def same(frame):
    return frame.select(SAME).rows() == WANTED.select(SAME).rows()


@pytest.mark.parametrize(("read", "looks", "of"), READERS)
def test_a_row_says_what_the_call_itself_says(read, looks, of, tmp_path):
    assert same(frame_of(read, of()))
    assert looks(text_of(of()).encode())
    (tmp_path / "log.jsonl").write_text(text_of(of()))
    assert same(load_trace(tmp_path / "log.jsonl").frame)


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_bedrock, {"timestamp": 1, "message": json.dumps(bedrock())}),
        (read_vertex, vertex(None, None, request_payload=[json.dumps(CONTENTS)],
                             response_payload=[json.dumps(CANDIDATES)])),
        (read_vertex, {"processed_time": START, "model": "m", "status": "", "request": CONTENTS,
                       "response": CANDIDATES}),
        (read_vertex, vertex(json.dumps(CONTENTS), [
            {"candidates": [{"content": {"parts": [{"text": "Two "}]}}]},
            {**CANDIDATES, "candidates": [{"content": {"parts": [{"text": "things"}]}}]}])),
        (read_sagemaker, sagemaker(encoding="BASE64")),
        (read_azure_apim, apim(BackendRequestBody=None, BackendResponseBody=None,
                               RequestBody=CALL["request"], ResponseBody=CALL["response"])),
    ],
)  # fmt: skip
def test_other_wrappings_say_the_same(read, row):
    assert same(frame_of(read, row))


def test_bodies_of_anthropic_in_bedrock_are_read_as_its_api():
    tool = {"name": "look", "description": "Looks", "input_schema": {"type": "object"}}
    asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "system": "Be brief",
             "messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}  # fmt: skip
    usage = {"input_tokens": 24, "cache_read_input_tokens": 16, "output_tokens": 9}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Ho"}]}
    chunks = [
        {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Ho"}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {
            "invocationLatency": 1250, "firstByteLatency": 650}},
    ]  # fmt: skip
    whole = frame_of(read_bedrock, bedrock(asked, {**answer, "usage": usage}))
    call = {"timestamp": START, "request": asked, "response": {**answer, "usage": usage}}
    assert whole["tokens"].to_list() == frame_of(read_openai, call)["tokens"].to_list()
    streamed = frame_of(read_bedrock, bedrock(asked, chunks))
    names = ("tokens", "response_tokens", "recorded_input_tokens", "recorded_hit_tokens")
    assert whole.select(names).rows() == streamed.select(names).rows()
    assert whole["recorded_input_tokens"].to_list() == [40]
    assert streamed.select("recorded_ttft_ns", "recorded_e2e_ns").rows() == [
        (650_000_000, 1_250_000_000)
    ]


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ({"prompt": "Hi there"}, {"generation": "Ho ho", "prompt_token_count": 3}),
        ({"inputText": "Hi there"}, {"results": [{"outputText": "Ho ho"}]}),
        ({"prompt": "Hi there"}, {"outputs": [{"text": "Ho ho"}]}),
        ({"prompt": "Hi there"}, [{"generation": "Ho "}, {"generation": "ho"}]),
        ({"prompt": "Hi there"}, {"completion": "Ho ho"}),
    ],
)
def test_bodies_of_other_models_in_bedrock_are_texts(asked, answered):
    row = frame_of(read_bedrock, bedrock(asked, answered)).row(0, named=True)
    assert (row["input_tokens"], len(row["response_tokens"])) == (2, 2)


def test_bodies_that_lie_elsewhere_leave_lengths():
    row = bedrock()
    row["input"] = {"inputBodyS3Path": "s3://x", "inputTokenCount": 24,
                    "cacheReadInputTokenCount": 10, "cacheWriteInputTokenCount": 6}  # fmt: skip
    row["output"] = {"outputBodyS3Path": "s3://y", "outputTokenCount": 9}
    found = frame_of(read_bedrock, row).row(0, named=True)
    assert (found["input_tokens"], found["output_tokens"]) == (40, 9)
    assert (found["recorded_hit_tokens"], found["recorded_cache_write_tokens"]) == (10, 6)


def test_parts_of_a_call_in_api_management_are_joined():
    asked, said = json.dumps(CALL["request"]["messages"][:2]), json.dumps([{"content": "Two"}])
    whole = {"TimeGenerated": START, "CorrelationId": "c", "PromptTokens": 20,
             "CompletionTokens": 2, "ModelName": "m"}  # fmt: skip
    parts = [
        {**whole, "SequenceNumber": 1, "RequestMessages": asked[30:]},
        {**whole, "SequenceNumber": 2, "ResponseMessages": said},
        {**whole, "SequenceNumber": 0, "RequestMessages": asked[:30]},
    ]
    trace = reading(read_azure_apim)(text_of(*parts))
    one = frame_of(read_azure_apim, {**whole, "RequestMessages": asked, "ResponseMessages": said})
    assert trace.frame.select("tokens", "response_tokens").rows() == (
        one.select("tokens", "response_tokens").rows()
    )
    assert any(note.startswith("2 rows are later parts of a call") for note in trace.meta.notes)


def test_thoughts_and_what_tools_put_into_a_prompt_are_counted():
    usage = {"promptTokenCount": 30, "toolUsePromptTokenCount": 10, "candidatesTokenCount": 9,
             "thoughtsTokenCount": 21, "cachedContentTokenCount": 5}  # fmt: skip
    parts = [{"text": "Hm", "thought": True}, {"text": "Two things"}]
    answer = {"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage}
    row = frame_of(read_vertex, vertex(answered=answer)).row(0, named=True)
    assert (row["recorded_input_tokens"], row["recorded_output_tokens"]) == (40, 30)


def test_endpoints_that_generate_text_are_read():
    row = sagemaker({"inputs": "Hi there", "parameters": {"max_new_tokens": 5}},
                    [{"generated_text": "Ho ho"}], customAttributes=["session_id=a"])  # fmt: skip
    found = frame_of(read_sagemaker, row).row(0, named=True)
    assert (found["input_tokens"], found["output_tokens"]) == (2, 2)
    assert found["source_session_id"] == "a"


@pytest.mark.parametrize(
    ("read", "row"),
    [
        (read_bedrock, bedrock(errorCode="ThrottlingException", requestId="r2")),
        (read_vertex, vertex(status="Bad Request", request_id="2")),
        (read_vertex, vertex(answered=None, request_id="2")),
        (read_azure_apim, apim(CorrelationId="c2", BackendResponseCode=429)),
    ],
)
def test_failed_calls_are_put_aside(read, row):
    of = {entry[0]: entry[2] for entry in READERS}[read]
    trace = reading(read)(text_of(of(), row))
    assert [one.line for one in trace.rejected] == [2]
    assert trace.requests == 1


@pytest.mark.parametrize(
    ("read", "row", "fault"),
    [
        (read_bedrock, bedrock(timestamp=None), "a.jsonl:1: lacks timestamp"),
        (read_bedrock, bedrock({"messages": 5}), "a.jsonl:1: messages must be a list of messages"),
        (read_vertex, vertex({"contents": 5}), "a.jsonl:1: contents must be a list"),
        (read_vertex, vertex({"contents": [5]}), r"a.jsonl:1: contents\[0\] must be an object"),
        (read_vertex, vertex(logging_time="x"), "a.jsonl:1: logging_time must be a date"),
        (read_sagemaker, sagemaker("text"), "endpointInput.data must be JSON"),
        (read_sagemaker, sagemaker(inferenceTime=None), "a.jsonl:1: lacks inferenceTime"),
        (read_azure_apim, apim(BackendRequestBody='{"a"'), "a.jsonl:1: BackendRequestBody is JSON"),
        (read_azure_apim, apim(TimeGenerated=3), "a.jsonl:1: TimeGenerated must be a date"),
    ],
)
def test_faults_are_told_with_their_line(read, row, fault):
    with pytest.raises(TraceError, match=fault):
        frame_of(read, row)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), entry=st.sampled_from(READERS))
def test_anything_is_read_or_refused(data, entry):
    read, _, of = entry
    values = {name: st.just(value) for name, value in of().items()}
    bodies = st.recursive(
        st.sampled_from(["text", "parts", "usage", "x"]) | any_json,
        lambda inner: st.dictionaries(
            st.sampled_from(["messages", "contents", "content", "parts", "output", "usage"]),
            inner | st.lists(inner, max_size=2),
            max_size=3,
        ),
        max_leaves=6,
    )
    text = data.draw(
        st.one_of(
            mutated(text_of(of(), of())),
            json_lines(rows_of(**values)).map(str.encode),
            st.tuples(bodies, bodies).map(lambda two: text_of(bedrock(*two), vertex(*two))),
            any_json.map(repr),
        )
    )
    requests_or_refusal(reading(read), text)
    requests_or_refusal(reading(read), text, max_rejected=0.9)
