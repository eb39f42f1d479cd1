"""Langfuse observations: exports of its interface, its API and its storage, JSON or CSV.

    {"id": "o1", "traceId": "t1", "type": "GENERATION", "startTime": "2025-01-01T00:00:00.250Z",
     "endTime": "2025-01-01T00:00:00.900Z", "model": "gpt-4o", "input": [{"role": "user",
     "content": "Hi"}], "output": {"role": "assistant", "content": "Hello"},
     "usageDetails": {"input": 20, "output": 10, "total": 30}}

(https://langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields). Keys are as
here or with underscores. Observations of type GENERATION are calls of a model.
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
from replay.trace.readers.json_text import messages_in, object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, TEXT, HeaderShape, RowShape, key
from replay.trace.readers.source import Source

_SHAPES = (
    RowShape(
        (
            key("type", kind=TEXT),
            key("traceId", "trace_id", kind=TEXT),
            key("startTime", "start_time", kind=ANYTHING),
            key("id", kind=TEXT),
        ),
        never=frozenset(("span_id", "spanId", "attributes")),
    ),
    HeaderShape(("id", "traceId", "type", "startTime", "usageDetails")),
    HeaderShape(("id", "trace_id", "type", "start_time", "usage_details")),
)
_LISTS = ("data", "observations")  # pages of the API, and a trace with all of it
_GENERATION = "GENERATION"
_OTHERS = Reason("observations are no calls of a model and were passed over", is_other=True)
_READ = ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read", "input_cached")
_WRITTEN = ("cache_creation_input_tokens", "input_cache_creation")
_REASONING = ("output_reasoning_tokens", "output_reasoning")


def looks_like_langfuse(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of Langfuse observations."""
    return starts_with(head, _SHAPES, _LISTS)


def read_langfuse(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the generations in an export of observations, JSON or CSV.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems, _LISTS)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="langfuse")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    if row.get("type") != _GENERATION:
        return _OTHERS
    if row.get("level") == "ERROR":
        reason = first(row, "statusMessage", "status_message")
        return Reason(f"a failed request: {shown(reason or 'level ERROR')}")
    start = time_in(row, "startTime", "start_time", needed=True)
    begun = time_in(row, "completionStartTime", "completion_start_time")
    end = time_in(row, "endTime", "end_time")
    return told(
        request=_request(row),
        response=_response(row),
        usage=_usage(row),
        id=first(row, "id"),
        name=first(row, "name"),
        model=first(row, "model", "providedModelName", "provided_model_name"),
        user=first(row, "userId", "user_id"),
        recorded_ttft_ns=lasted(start, begun),
        recorded_e2e_ns=lasted(start, end),
        **{
            ARRIVAL: start,
            SESSION: first(row, "sessionId", "session_id", "traceId", "trace_id"),
        },
    )


def _request(row: Row) -> dict[str, Any] | None:
    """Return what was asked; an object with messages is the request itself."""
    asked = row.get("input")
    if isinstance(asked, str):
        asked = messages_in(asked, "input")
        if isinstance(asked, str) and asked.lstrip().startswith('{"'):
            asked = object_in(asked, "input")
    if asked in (None, "", {}, []):
        return None
    if isinstance(asked, Mapping) and ("messages" in asked or "prompt" in asked):
        return {**asked}
    if isinstance(asked, Mapping) and "role" in asked:
        asked = [asked]
    return {"messages": [{"role": "user", "content": asked}] if isinstance(asked, str) else asked}


def _response(row: Row) -> Any:
    """Return what was answered: a message or a list of them, a response, or text."""
    said = row.get("output")
    if isinstance(said, str) and said.lstrip()[:2] in ('{"', "[{"):
        said = object_in(said, "output")
    if said in (None, "", {}, []):
        return None
    if isinstance(said, Mapping) and ("role" in said or "tool_calls" in said):
        return {"choices": [{"message": said}]}
    if isinstance(said, list) and all(isinstance(one, Mapping) and "role" in one for one in said):
        return {"choices": [{"message": said[0]}]}
    return said


def _usage(row: Row) -> dict[str, Any]:
    """Return the counts of a generation.

    Details (`input_cached_tokens`) are apart from `input` where the total says so, and part of it
    where it does not; what Anthropic's keys count is always apart.
    """
    usage = mapping_in(row, "usageDetails", "usage_details") or mapping_in(row, "usage")
    prompt = count_in(usage, "input", "prompt_tokens", "promptTokens", "input_tokens")
    output = count_in(usage, "output", "completion_tokens", "completionTokens", "output_tokens")
    prompt = count_in(row, "promptTokens", "prompt_tokens") if prompt is None else prompt
    output = count_in(row, "completionTokens", "completion_tokens") if output is None else output
    total = count_in(usage, "total", "totalTokens", "total_tokens")
    if type(prompt) is int and type(output) is int:
        prompt += _sum(usage, "cache_")
        asked, given = _sum(usage, "input_"), _sum(usage, "output_")
        if total is None or (type(total) is int and total >= prompt + asked + output + given):
            prompt, output = prompt + asked, output + given
    hits, written = count_in(usage, *_READ), count_in(usage, *_WRITTEN)
    reasoning = count_in(usage, *_REASONING)
    return told(
        prompt_tokens=prompt,
        completion_tokens=output,
        prompt_tokens_details=told(cached_tokens=hits, cache_write_tokens=written) or None,
        completion_tokens_details=None if reasoning is None else {"reasoning_tokens": reasoning},
    )


def _sum(usage: Row, start: str) -> int:
    """Return the sum of the counts whose names start so; `input_tokens` is no part of itself."""
    names = [name for name in usage if name.startswith(start) and name != f"{start}tokens"]
    return sum(count for name in names if type(count := count_in(usage, name)) is int)


LANGFUSE = Reader(
    name="langfuse",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="observations of Langfuse, exported as JSON lines, JSON or CSV",
    content="text of prompts and responses, where it was kept; else lengths alone",
    sessions="sessionId, else the trace",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_langfuse,
    read=read_langfuse,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="id",
)
