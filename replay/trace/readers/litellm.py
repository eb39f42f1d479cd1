"""LiteLLM: rows of its table of spend logs, and the payloads that its proxy logs.

    {"request_id": "chatcmpl-1", "call_type": "acompletion", "prompt_tokens": 20,
     "completion_tokens": 10, "startTime": "2025-01-01T00:00:00.250000", "endTime": "...",
     "completionStartTime": "...", "model": "gpt-4o", "session_id": "s1", "cache_hit": "False",
     "messages": [...], "response": {...}, "metadata": {"usage_object": {...}}}

(https://docs.litellm.ai/docs/proxy/logging_spec). What the gateway answered from a cache of its
own reached no engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    SESSION,
    Reason,
    Row,
    api_log_trace,
    count_in,
    first,
    lasted,
    mapping_in,
    rows_in,
    starts_with,
    time_in,
    told,
)
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, TEXT, HeaderShape, RowShape, key
from replay.trace.readers.source import Source

_SHAPES = (
    RowShape(
        (
            key("call_type", kind=TEXT),
            key("startTime", kind=ANYTHING),
            key("prompt_tokens", "usage", kind=ANYTHING),
            key("request_id", "id", kind=TEXT),
        )
    ),
    HeaderShape(("request_id", "call_type", "startTime", "prompt_tokens")),
)
_CACHED = Reason("answered from the gateway's own cache: no engine served it")
_OTHER_CALLS = Reason("rows are no calls that generate (embeddings, speech, images)", is_other=True)
_NO_GENERATION = ("embedding", "image", "transcription", "speech", "moderation", "rerank")
_FAILED = ("failure", "failed", "error")
_NOTHING = (None, "", "{}", "[]", "null")


def looks_like_litellm(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of calls that LiteLLM logged."""
    return starts_with(head, _SHAPES)


def read_litellm(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the calls in spend logs or payloads of LiteLLM, JSON or CSV.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="litellm")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    if any(word in str(row.get("call_type")) for word in _NO_GENERATION):
        return _OTHER_CALLS
    metadata = mapping_in(row, "metadata")
    failed = first(row, "status") in _FAILED or metadata.get("status") in _FAILED
    if failed:
        reason = first(row, "error_str", "exception") or metadata.get("error_information")
        return Reason(f"a failed request: {shown(reason or 'status failure')}")
    if str(row.get("cache_hit")).lower() == "true":
        return _CACHED
    start = time_in(row, "startTime", needed=True)
    begun, end = time_in(row, "completionStartTime"), time_in(row, "endTime")
    streamed = begun != end  # else the first token is not told
    request, response = _request(row), _response(row)
    return told(
        request=request or None,
        response=response if response not in _NOTHING else None,
        usage=_usage(row, metadata),
        request_id=first(row, "request_id", "id"),
        model=first(row, "model"),
        user=first(row, "end_user", "user"),
        call_type=row.get("call_type"),
        recorded_ttft_ns=lasted(start, begun) if streamed else None,
        recorded_e2e_ns=lasted(start, end),
        **{ARRIVAL: start, SESSION: first(row, "session_id", "litellm_session_id", "trace_id")},
    )


def _request(row: Row) -> dict[str, Any]:
    """Return what was asked: the messages, or the request as the proxy received it."""
    asked = dict(mapping_in(row, "proxy_server_request"))
    asked = dict(asked["body"]) if isinstance(asked.get("body"), Mapping) else asked
    parameters = mapping_in(row, "model_parameters", "modelParameters", "optional_params")
    said = object_in(first(row, "messages", "input"), "messages")
    if said in _NOTHING or said in ({}, []):
        return asked
    if isinstance(said, str):
        name = "prompt" if "text" in str(row.get("call_type")) else "messages"
        said = [{"role": "user", "content": said}] if name == "messages" else said
        return {**parameters, name: said}
    return {**asked, **parameters, "messages": said}


def _response(row: Row) -> Any:
    answer = object_in(row.get("response"), "response")
    return None if answer in ({}, []) else answer


def _usage(row: Row, metadata: Row) -> dict[str, Any]:
    """Return the counts: all of the prompt in `prompt_tokens`, as LiteLLM adds them up."""
    usage = dict(mapping_in(metadata, "usage_object") or mapping_in(row, "usage"))
    more = mapping_in(metadata, "additional_usage_values")
    details = mapping_in(usage, "prompt_tokens_details") or mapping_in(
        more, "prompt_tokens_details"
    )
    read = first(more, "cache_read_input_tokens") or first(usage, "cache_read_input_tokens")
    written = first(more, "cache_creation_input_tokens")
    written = written or first(usage, "cache_creation_input_tokens")
    spoken = mapping_in(usage, "completion_tokens_details")
    return told(
        prompt_tokens=count_in({**usage, **row}, "prompt_tokens"),
        completion_tokens=count_in({**usage, **row}, "completion_tokens"),
        prompt_tokens_details=dict(details) or None,
        completion_tokens_details=dict(spoken) or None,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
    )


LITELLM = Reader(
    name="litellm",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="spend logs and logged payloads of LiteLLM's proxy: JSON lines, JSON or CSV",
    content="text of prompts and responses, where they are stored; else lengths alone",
    sessions="session_id, else trace_id",
    assumes="what the gateway answered from its own cache reached no engine",
    sniff=looks_like_litellm,
    read=read_litellm,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="source_request_id",
)
