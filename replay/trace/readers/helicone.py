"""Helicone: exported requests, JSON lines, JSON or CSV, with the bodies of request and response.

    {"request_id": "r1", "request_created_at": "2025-01-01T00:00:00.250Z", "response_status": 200,
     "request_body": {"model": "gpt-4o", "messages": [...]}, "response_body": {"choices": [...]},
     "delay_ms": 650, "time_to_first_token": 120, "prompt_tokens": 20, "completion_tokens": 10,
     "prompt_cache_read_tokens": 0, "request_user_id": "u", "request_properties": {...}}

(https://docs.helicone.ai/tools/export). Without bodies lengths alone are read. What the gateway
answered from a cache of its own reached no engine.
"""

from __future__ import annotations

from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_logs import (
    ARRIVAL,
    SESSION,
    Reason,
    Row,
    api_log_trace,
    count_in,
    duration_in,
    first,
    mapping_in,
    rows_in,
    starts_with,
    time_in,
    told,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, TEXT, HeaderShape, RowShape, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_MS

_SHAPES = (
    RowShape(
        (
            key("request_created_at", kind=TEXT),
            key("request_id", "response_id", kind=TEXT),
            key("request_body", "response_status", "delay_ms", kind=ANYTHING),
        )
    ),
    HeaderShape(("request_id", "request_created_at", "response_status")),
)
_CACHED = Reason("answered from the gateway's own cache: no engine served it")
_NOT_CACHED = (None, "", "00000000-0000-0000-0000-000000000000")
_SESSIONS = ("Helicone-Session-Id", "helicone-session-id")


def looks_like_helicone(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of requests that Helicone exports."""
    return starts_with(head, _SHAPES)


def read_helicone(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of exported requests, by their text, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="helicone")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    status = count_in(row, "response_status", "status")
    if type(status) is int and (status >= 400 or status < 0):
        return Reason(f"a failed request: response_status {status}")
    if row.get("cache_reference_id") not in _NOT_CACHED:
        return _CACHED
    properties = mapping_in(row, "request_properties", "properties")
    request, response = mapping_in(row, "request_body"), first(row, "response_body")
    hits = count_in(row, "prompt_cache_read_tokens")
    written = count_in(row, "prompt_cache_write_tokens")
    usage = told(
        prompt_tokens=count_in(row, "prompt_tokens"),
        completion_tokens=count_in(row, "completion_tokens"),
        prompt_tokens_details=told(cached_tokens=hits, cache_write_tokens=written) or None,
    )
    return told(
        request=dict(request) or None,
        response=response,
        usage=usage or None,
        request_id=first(row, "request_id", "response_id"),
        model=first(row, "model", "response_model", "request_model", "model_override"),
        provider=first(row, "provider"),
        user=first(row, "request_user_id", "user_id"),
        recorded_ttft_ns=duration_in(row, "time_to_first_token", unit_ns=NS_PER_MS),
        recorded_e2e_ns=duration_in(row, "delay_ms", unit_ns=NS_PER_MS),
        **{
            ARRIVAL: time_in(row, "request_created_at", needed=True),
            SESSION: first(properties, *_SESSIONS),
        },
    )


HELICONE = Reader(
    name="helicone",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="requests that Helicone exports: JSON lines, JSON or CSV",
    content="text of prompts and responses, where bodies were exported; else lengths alone",
    sessions="the property Helicone-Session-Id, else inferred by what prompts repeat",
    assumes="what the gateway answered from its own cache reached no engine",
    sniff=looks_like_helicone,
    read=read_helicone,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
    call_column="source_request_id",
)
