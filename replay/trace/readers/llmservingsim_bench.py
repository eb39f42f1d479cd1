"""What LLMServingSim's benchmark measured of vLLM: JSON lines, a request each.

    {"request_id": "bench-0", "input_toks": 2358, "output_toks": 531, "arrival_time":
     1787267980.0827403, "queued_ts": 27536.66, "scheduled_ts": 27536.67, "first_token_ts":
     27537.35, "last_token_ts": 27554.23}

(https://github.com/casys-kaist/LLMServingSim, bench). Arrivals are seconds since 1970, the other
times seconds on another clock. It has no prompts: these stand in the workload that was played, in
the same order.
"""

from __future__ import annotations

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_logs import lasted
from replay.trace.readers.checked_row import CheckedRow
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
from replay.trace.readers.shapes import INTEGER, NUMBER, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_S

_SHAPES = (
    RowShape(
        (
            key("input_toks", kind=INTEGER),
            key("output_toks", kind=INTEGER),
            key("arrival_time", kind=NUMBER),
            key("first_token_ts", kind=NUMBER),
        )
    ),
)


def looks_like_llmservingsim_bench(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such measurements."""
    return fits_any(head, _SHAPES)


def read_llmservingsim_bench(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the requests that were measured: lengths and times.

    Raises TraceError that names the line of each request that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[ContentRequest] = []
    read = told = 0
    for line, values in walk_objects(source.data, problems):
        read += 1
        row = CheckedRow(values)
        request = _request(line, row)
        told += len(row.faults)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults:
            requests.append(request)
            if not request.output_tokens:
                problems.leave_out(line, NO_RESPONSE)
    meta = source_meta(
        source, format_name="llmservingsim-bench", content=LENGTHS_ONLY, clock_start_ns=0
    )
    read += problems.total - told
    return content_trace(requests, source, problems, meta, read=read, note_disorder=False)


def _request(line: int, row: CheckedRow) -> ContentRequest:
    arrival_ns = row.duration_ns("arrival_time", unit_ns=NS_PER_S)
    if arrival_ns is None and not row.faults:
        row.lacks("arrival_time")
    queued, scheduled, first, last = (
        row.duration_ns(name, unit_ns=NS_PER_S)
        for name in ("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts")
    )
    measured = {
        "recorded_queue_ns": lasted(queued, scheduled),
        "recorded_ttft_ns": lasted(queued, first),
        "recorded_e2e_ns": lasted(queued, last),
        "source_request_id": row.text("request_id"),
    }
    return ContentRequest(
        line=line,
        arrival_ns=arrival_ns or 0,
        input_tokens=row.tokens("input_toks"),
        output_tokens=row.tokens("output_toks", lowest=0),
        other={name: value for name, value in measured.items() if value is not None},
    )


LLMSERVINGSIM_BENCH = Reader(
    name="llmservingsim-bench",
    suffixes=(".jsonl",),
    meaning="JSON lines: what LLMServingSim's benchmark measured of each request to vLLM",
    content="none",
    sessions="none",
    assumes="nothing",
    sniff=looks_like_llmservingsim_bench,
    read=read_llmservingsim_bench,
    shapes=_SHAPES,
)
