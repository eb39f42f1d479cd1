"""OpenRouter: generations as its API tells them, JSON, and the activity it exports, CSV.

    {"data": {"id": "gen-1", "model": "openai/gpt-4o", "created_at": "2025-01-01T00:00:00.250Z",
     "latency": 420, "generation_time": 900, "native_tokens_prompt": 20, "native_tokens_cached": 16,
     "native_tokens_completion": 10, "cancelled": false}}
    generation_id,created_at,tokens_prompt,tokens_completion,tokens_cached,model_permaslug,...

(https://openrouter.ai/docs/api-reference/get-a-generation). Neither has text: lengths are read, as
the provider's own tokenizer counted them where that is told.
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

_GENERATION = RowShape(
    (
        key("created_at", kind=TEXT),
        key("tokens_prompt", "native_tokens_prompt", kind=ANYTHING),
        key("tokens_completion", "native_tokens_completion", kind=ANYTHING),
    ),
    within=("data",),
)
_SHAPES = (
    _GENERATION,
    HeaderShape(("created_at", "tokens_prompt", "tokens_completion")),
)
_PROMPT = ("native_tokens_prompt", "tokens_prompt")
_COMPLETION = ("native_tokens_completion", "tokens_completion")
_CACHED = ("native_tokens_cached", "tokens_cached")
_REASONING = ("native_tokens_reasoning", "tokens_reasoning")


def looks_like_openrouter(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of generations of OpenRouter."""
    return starts_with(head, _SHAPES)


def read_openrouter(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of generations: lengths and times.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows, source = rows_in(source, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="openrouter")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    cached, reasoning = count_in(row, *_CACHED), count_in(row, *_REASONING)
    ttft_ns = duration_in(row, "latency", "time_to_first_token_ms", unit_ns=NS_PER_MS)
    generated_ns = duration_in(row, "generation_time", "generation_time_ms", unit_ns=NS_PER_MS)
    known = ttft_ns is not None and generated_ns is not None
    return told(
        usage=told(
            prompt_tokens=count_in(row, *_PROMPT),
            completion_tokens=count_in(row, *_COMPLETION),
            prompt_tokens_details=None if cached is None else {"cached_tokens": cached},
            completion_tokens_details=(
                None if reasoning is None else {"reasoning_tokens": reasoning}
            ),
        ),
        id=first(row, "id", "generation_id"),
        model=first(row, "model", "model_permaslug"),
        provider=first(row, "provider_name"),
        finish_reason=first(row, "finish_reason", "finish_reason_normalized"),
        user=first(row, "external_user", "user"),
        recorded_ttft_ns=ttft_ns,
        recorded_generation_ns=generated_ns if known else None,
        **{ARRIVAL: time_in(row, "created_at", needed=True), SESSION: first(row, "session_id")},
    )


OPENROUTER = Reader(
    name="openrouter",
    suffixes=(".jsonl", ".json", ".csv"),
    meaning="generations of OpenRouter, as its API tells them, or the activity it exports as CSV",
    content="none: lengths alone",
    sessions="session_id, where it is told",
    assumes="nothing",
    sniff=looks_like_openrouter,
    read=read_openrouter,
    shapes=_SHAPES,
    call_column="id",
)
