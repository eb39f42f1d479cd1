"""TraceLab: JSON lines, one round of a coding agent each, with what the provider's cache held.

    {"provider": "claude", "session_id": "s1", "round_index": 0, "model": "m",
     "input_tokens_total": 300, "prefix_tokens": 200, "newly_append_tokens": 100,
     "output_tokens": 9, "timing_events": [{"event_type": "user_message",
     "timestamp": "2026-06-01T05:40:20.151Z"}, {"event_type": "text", "timestamp": "..."}]}

`prefix_tokens` is what the provider read from its cache, with its own eviction, and not an ideal
(TraceLab, arXiv:2606.30560). A round is sent when the last of its user messages and results of
tools is there, before the model's first word; that event's time is its arrival.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, TEXT, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_clock import A_DATE, date_ns
from replay.trace.readers.source_columns import joined_values

_INPUT_EVENTS = ("user_message", "tool_result")
_NESTED = ("timing_events", "tools")
_SHAPES = (
    RowShape(
        (
            key("newly_append_tokens", kind=INTEGER),
            key("prefix_tokens", kind=INTEGER),
            key("input_tokens_total", kind=INTEGER),
            key("session_id", kind=TEXT, optional=True),
        )
    ),
)
_NO_TIME = "no timing events: nothing says when it was sent"


def looks_like_tracelab(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of TraceLab rounds."""
    return fits_any(head, _SHAPES)


def read_tracelab(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a TraceLab file: lengths, sessions and the hits that were recorded.

    Raises TraceError that names the line of each round that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[ContentRequest] = []
    rows = told = 0
    for line, values in walk_objects(source.data, problems):
        rows += 1
        row = CheckedRow(values)
        request = _request(line, row, values)
        told += len(row.faults)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults and request.output_tokens == 0:
            problems.leave_out(line, NO_RESPONSE)
        elif not row.faults and not values.get("timing_events"):
            problems.leave_out(line, _NO_TIME)
        if not row.faults:
            requests.append(request)
    meta = source_meta(
        source,
        format_name="tracelab",
        content=LENGTHS_ONLY,
        clock_start_ns=0,
        shared_ids=True,
    )
    return content_trace(requests, source, problems, meta, read=rows + problems.total - told)


def _request(line: int, row: CheckedRow, values: Mapping[str, Any]) -> ContentRequest:
    total = row.tokens("input_tokens_total")
    prefix = row.tokens("prefix_tokens", lowest=0)
    appended = row.tokens("newly_append_tokens", lowest=0)
    session = row.text("session_id")
    output = row.integer_or_none("output_tokens", lowest=0, highest=LARGEST_TOKENS)
    if not row.faults and prefix + appended != total:
        row.faults.append(
            f"prefix_tokens {prefix} and newly_append_tokens {appended} must add up to "
            f"input_tokens_total (got {total})"
        )
    arrival = _arrival_ns(values.get("timing_events"), row.faults)
    return ContentRequest(
        line=line,
        arrival_ns=arrival,
        input_tokens=total,
        output_tokens=output or 0,
        session=session,
        other=joined_values(row.rest(*_NESTED), {"recorded_hit_tokens": prefix}),
    )


def _arrival_ns(events: object, faults: list[str]) -> int:
    """Return when the last input before the model's first word was there; 0 without any events."""
    if events is None:
        return 0
    if not isinstance(events, list):
        faults.append(f"timing_events must be a list of events (got {shown(events)})")
        return 0
    arrival: int | None = None
    for place, event in enumerate(events):
        if not isinstance(event, dict):
            faults.append(f"timing_events[{place}] must be an object (got {shown(event)})")
            return 0
        is_input = event.get("event_type") in _INPUT_EVENTS
        if arrival is not None and not is_input:
            break
        time = event.get("timestamp")
        found = date_ns(time) if isinstance(time, str) else None
        if found is None:
            what = f"timing_events[{place}].timestamp must be {A_DATE} (got {shown(time)})"
            faults.append(what)
            return 0
        arrival = found if arrival is None else max(arrival, found)
        if not is_input:
            break
    return arrival or 0


TRACELAB = Reader(
    name="tracelab",
    suffixes=(".jsonl",),
    meaning="JSON lines: rounds of coding agents, with the prefix that the provider had cached",
    content="none; prompts that grow are taken to continue their session, unless told not to",
    sessions="session_id",
    assumes="a round is sent when its last user message or result of a tool is there",
    sniff=looks_like_tracelab,
    read=read_tracelab,
    shapes=_SHAPES,
)
