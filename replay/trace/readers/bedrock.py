"""Amazon Bedrock's logs of model invocations: JSON lines, a call each.

    {"schemaType": "ModelInvocationLog", "timestamp": "2025-01-01T00:00:00Z", "requestId": "r1",
     "operation": "Converse", "modelId": "anthropic.claude-...", "input": {"inputBodyJson":
     {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, "inputTokenCount": 4,
     "cacheReadInputTokenCount": 16}, "output": {"outputBodyJson": {"output": {"message": {...}},
     "usage": {...}}, "outputTokenCount": 10}}

(https://docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html). Bodies are
those of Converse or of the model's own API; large ones lie elsewhere and are not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    Reason,
    Row,
    api_log_trace,
    count_in,
    duration_in,
    first,
    mapping_in,
    rows_in,
    time_in,
    told,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, RowShape, key, one_of
from replay.trace.readers.source import Source
from replay.units import NS_PER_MS

_TYPE = "ModelInvocationLog"
_SHAPES = (RowShape((key("schemaType", kind=one_of(_TYPE)), key("input", kind=ANYTHING))),)
_OTHERS = Reason("rows are no calls that generate (embeddings, images)", is_other=True)
_PROMPTS = ("prompt", "inputText", "inputs")
_TEXTS = ("generation", "completion", "outputText", "text", "generated_text")
_LISTS = ("outputs", "results", "generations", "completions", "choices")
_LIMITS = ("max_tokens", "max_gen_len", "maxTokens", "max_new_tokens", "max_tokens_to_sample")
_METRICS = "amazon-bedrock-invocationMetrics"


def looks_like_bedrock(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of Bedrock's invocation logs."""
    rows = head_rows(head)
    return any(_SHAPES[0].has(row) or _TYPE in str(row.get("message"))[:4000] for row in rows)


def read_bedrock(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of logged invocations, by their text, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="bedrock")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    if "schemaType" not in row and isinstance(row.get("message"), str):  # as CloudWatch exports
        row = mapping_in(row, "message")
    if row.get("errorCode"):
        return Reason(f"a failed request: {shown(row['errorCode'])}")
    asked, answered = mapping_in(row, "input"), mapping_in(row, "output")
    body = object_in(asked.get("inputBodyJson"), "inputBodyJson")
    answer = object_in(answered.get("outputBodyJson"), "outputBodyJson")
    body = body if isinstance(body, Mapping) else {}
    if "taskType" in body or (isinstance(answer, Mapping) and "embedding" in answer):
        return _OTHERS
    counts = [count_in(asked, f"{name}InputTokenCount") for name in ("cacheRead", "cacheWrite")]
    usage = told(
        input_tokens=count_in(asked, "inputTokenCount"),
        output_tokens=count_in(answered, "outputTokenCount"),
        cache_read_input_tokens=counts[0],
        cache_creation_input_tokens=counts[1],
    )
    metrics = _metrics(answer)
    model = first(row, "modelId")
    return told(
        request=_request(body) or None,
        response=_response(answer),
        usage=usage or None,
        request_id=first(row, "requestId"),
        model=model.rpartition("/")[2] if isinstance(model, str) else None,
        operation=first(row, "operation"),
        metadata=mapping_in(row, "requestMetadata") or None,
        recorded_e2e_ns=duration_in(metrics, "invocationLatency", "latencyMs", unit_ns=NS_PER_MS),
        recorded_ttft_ns=duration_in(metrics, "firstByteLatency", unit_ns=NS_PER_MS),
        **{ARRIVAL: time_in(row, "timestamp", needed=True)},
    )


def _metrics(answer: object) -> Row:
    last = answer[-1] if isinstance(answer, list) and answer else answer
    if not isinstance(last, Mapping):
        return {}
    return mapping_in(last, _METRICS) or mapping_in(last, "metrics")


def _request(body: Row) -> dict[str, Any]:
    """Return what was asked as chat APIs write it."""
    settings = mapping_in(body, "inferenceConfig", "textGenerationConfig", "parameters")
    limit = count_in(body, *_LIMITS) or count_in(settings, *_LIMITS, "maxTokenCount")
    prompt = first(body, *_PROMPTS)
    if "messages" not in body:
        return told(prompt=prompt, max_tokens=limit) if isinstance(prompt, str) else {}
    if "anthropic_version" in body:  # its own API, as it is
        return dict(body)
    messages = _converse_messages(body["messages"])
    system = body.get("system")
    parts = [system] if isinstance(system, str) else system
    if isinstance(parts, list) and parts:
        messages = [{"role": "system", "content": [_part(one) for one in parts]}, *messages]
    return told(messages=messages, tools=_tools(body) or None, max_tokens=limit)


def _converse_messages(messages: object) -> list[Any]:
    if not isinstance(messages, list):
        raise RowError(f"messages must be a list of messages (got {shown(messages)})")
    return [
        {**one, "content": [_part(part) for part in one["content"]]}
        if isinstance(one, Mapping) and isinstance(one.get("content"), list)
        else one
        for one in messages
    ]


def _part(part: object) -> Any:
    """Return a part of Converse as chat APIs write it; media stay as they are."""
    if not isinstance(part, Mapping):
        return {"type": "text", "text": part} if isinstance(part, str) else part
    if isinstance(part.get("text"), str) and "type" not in part:
        return {"type": "text", "text": part["text"]}
    call, result = mapping_in(part, "toolUse"), mapping_in(part, "toolResult")
    if call:
        return told(
            type="tool_use",
            id=call.get("toolUseId"),
            name=call.get("name"),
            input=call.get("input"),
        )
    if result:
        inner = result.get("content")
        said = [_result(one) for one in inner] if isinstance(inner, list) else inner
        return told(type="tool_result", tool_use_id=result.get("toolUseId"), content=said)
    thought = mapping_in(mapping_in(part, "reasoningContent"), "reasoningText")
    if thought:
        return {"type": "thinking", "thinking": thought.get("text", "")}
    return {"type": "text", "text": ""} if "cachePoint" in part else part


def _result(part: object) -> Any:
    if isinstance(part, Mapping) and "json" in part:
        return {"type": "text", "text": json.dumps(part["json"], ensure_ascii=False)}
    return _part(part)


def _tools(body: Row) -> list[Any]:
    tools = mapping_in(body, "toolConfig").get("tools")
    specs = [mapping_in(tool, "toolSpec") for tool in tools or [] if isinstance(tool, Mapping)]
    return [
        told(
            name=spec.get("name"),
            description=spec.get("description"),
            parameters=mapping_in(spec, "inputSchema").get("json"),
        )
        for spec in specs
        if spec
    ]


def _response(answer: object) -> Any:
    """Return what was answered as chat APIs write it: Converse, Anthropic's own, or a text."""
    if isinstance(answer, list):
        return _of_chunks([one for one in answer if isinstance(one, Mapping)])
    if not isinstance(answer, Mapping):
        return answer
    said = mapping_in(mapping_in(answer, "output"), "message")
    if said:
        return told(choices=[{"message": _answer(said)}], usage=_usage(answer) or None)
    if "content" in answer or "error" in answer:
        return answer
    text = _text_of(answer)
    return answer if text is None and "choices" in answer else text


def _answer(message: Row) -> Row:
    content = message.get("content")
    parts = [_part(one) for one in content] if isinstance(content, list) else content
    return {"role": "assistant", "content": parts}


def _of_chunks(chunks: list[Row]) -> Any:
    """Return a streamed answer: events of Converse and texts joined, others left to their API."""
    deltas = [mapping_in(mapping_in(one, "contentBlockDelta"), "delta") for one in chunks]
    if any(deltas):
        text = "".join(str(delta.get("text") or "") for delta in deltas)
        usage = next(
            (found for one in chunks if (found := _usage(mapping_in(one, "metadata")))), {}
        )
        return told(choices=[{"message": {"content": text}}], usage=usage or None)
    texts = [_text_of(one) for one in chunks]
    if any(text is not None for text in texts):
        return "".join(text or "" for text in texts)
    return [one for one in chunks if _METRICS not in one or len(one) > 1] or None


def _text_of(answer: Row) -> str | None:
    text = next((answer[name] for name in _TEXTS if isinstance(answer.get(name), str)), None)
    if text is not None:
        return text
    for name in _LISTS:
        entries = answer.get(name)
        if isinstance(entries, list) and entries and isinstance(entries[0], Mapping):
            return _text_of(entries[0])
    return None


def _usage(answer: Row) -> dict[str, Any]:
    usage = mapping_in(answer, "usage")
    read = count_in(usage, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = count_in(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    return told(
        input_tokens=count_in(usage, "inputTokens"),
        output_tokens=count_in(usage, "outputTokens"),
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
    )


BEDROCK = Reader(
    name="bedrock",
    suffixes=(".json", ".jsonl"),
    meaning="JSON lines: model invocation logs of Amazon Bedrock",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="inferred by what prompts repeat, unless requestMetadata names them",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_bedrock,
    read=read_bedrock,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="source_request_id",
)
