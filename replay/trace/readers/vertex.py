"""Calls of Gemini as Vertex AI and the Gemini API log them, and the outputs of their batches.

    {"logging_time": "2025-01-01 00:00:00.25 UTC", "request_id": "1", "model": "publishers/...",
     "full_request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}, "full_response":
     {"candidates": [{"content": {"parts": [{"text": "Hello"}]}}], "usageMetadata":
     {"promptTokenCount": 20, "candidatesTokenCount": 10, "cachedContentTokenCount": 16}}}

Rows of the table of request-response logs
(https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/request-response-logging) hold the
two as objects or JSON as text; outputs of batches as `request` and `response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    Reason,
    Row,
    api_log_trace,
    first,
    mapping_in,
    rows_in,
    time_in,
    told,
)
from replay.trace.readers.gemini_calls import gemini_request, gemini_response
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_text import object_in
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source

_REQUESTS = ("full_request", "request_payload", "request")
_RESPONSES = ("full_response", "response_payload", "response")
_TIMES = ("logging_time", "processed_time", "timestamp", "time", "createTime")
_LOOKED_AT = 50


def looks_like_vertex(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of logged calls of Gemini."""
    return any(_is_call(row) for row in head_rows(head)[:_LOOKED_AT])


def read_vertex(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of logged calls of Gemini, by their text, or lengths alone.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="vertex")


def _is_call(row: Row) -> bool:
    asked, answer = first(row, *_REQUESTS), first(row, *_RESPONSES)
    for value, sign in ((asked, "contents"), (answer, "candidates")):
        value = value[0] if isinstance(value, list) and value else value
        if isinstance(value, Mapping) and sign in value:
            return True
        if isinstance(value, str) and value.lstrip()[:1] == "{" and f'"{sign}"' in value:
            return True
    return "contents" in row and "candidates" in row


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    status = row.get("status")
    if isinstance(status, str) and status.strip():  # of a batch: what went wrong
        return Reason(f"a failed request: {shown(status)}")
    flat = "contents" in row or "candidates" in row
    asked = row if flat else _one(row, _REQUESTS)
    answer = gemini_response(row if flat else _all(row, _RESPONSES))
    if answer is None and any(name in row for name in _RESPONSES):
        return Reason("no response: a failed request")
    model = first(row, "model", "deployed_model_id", "modelVersion")
    key = first(row, "request_id", "key", "id")
    return told(
        request=gemini_request(asked) if "contents" in asked else None,
        response=answer,
        request_id=str(key) if isinstance(key, str | int) else None,
        model=model if isinstance(model, str) else None,
        cached_content=asked.get("cachedContent", asked.get("cached_content")),
        metadata=mapping_in(row, "metadata", "labels") or None,
        **{ARRIVAL: time_in(row, *_TIMES)},
    )


def _one(row: Row, names: tuple[str, ...]) -> Row:
    found = _all(row, names)
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, Mapping) else {}


def _all(row: Row, names: tuple[str, ...]) -> Any:
    """Return what stands there, JSON as text taken apart; the table has lists of texts."""
    value = object_in(first(row, *names), names[-1])
    if isinstance(value, list):
        return [object_in(one, names[-1]) for one in value]
    return value


VERTEX = Reader(
    name="vertex",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="calls of Gemini: request-response logs of Vertex AI, outputs of batches",
    content="token ids of prompts and responses, by a tokenizer or an approximate splitter",
    sessions="inferred by what prompts repeat, unless the metadata names them",
    assumes="ChatML, unless a chat template is given or lies beside the tokenizer",
    sniff=looks_like_vertex,
    read=read_vertex,
    takes=("tokenizer", "chat_template"),
)
