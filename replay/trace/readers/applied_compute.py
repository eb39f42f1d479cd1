"""Applied Compute's agentic workloads: JSON lines, a session of lengths and waits on each.

    {"num_turns": 2, "input_prompt_length": 100, "assistant_response_length": [10, 20],
     "tool_call_output_length": [30, 40], "tool_call_latency": [0.5, 1.25],
     "final_assistant_response_length": 50}

A session is num_turns + 1 requests. Each prompt is the one before it, its response, and what the
tool said; the wait for the tool is in seconds. There are no times: sessions are assumed to start
one each second, and responses to take no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import NO_RESPONSE, SESSION, frame_trace, source_meta
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.segment_lists import segment_columns, segment_id
from replay.trace.readers.shapes import INTEGER, LIST, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import START_GAP_NS
from replay.units import NS_PER_S

_TURNS, _FIRST = "num_turns", "input_prompt_length"
_SAID, _TOLD, _WAITS = "assistant_response_length", "tool_call_output_length", "tool_call_latency"
_FINAL = "final_assistant_response_length"
_LARGEST_TURNS = 4096  # what a prompt holds grows with them, and so does the table
_SHAPES = (
    RowShape(
        (key(_TURNS, kind=INTEGER), *(key(name, kind=LIST) for name in (_SAID, _TOLD, _WAITS)))
    ),
)
_CONTENT = "sessions that grow by what was said and told, as the format has it; nothing is shared"
_ASSUMED = (
    "the source has no times; assumed: a session starts each second, and a request arrives when "
    "the tool has answered: responses take no time"
)


def looks_like_applied_compute(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such sessions."""
    return fits_any(head, _SHAPES)


def read_applied_compute(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of these sessions, exact to the token within each.

    Raises TraceError that names the line of each session that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[_Request] = []
    read = told = 0
    for line, values in walk_objects(source.data, problems):
        row = CheckedRow(values)
        found = list(_requests(line, read, row))
        read += 1
        told += len(row.faults)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults:
            kept = [request for request in found if request.output_tokens]
            if not kept:
                problems.leave_out(line, NO_RESPONSE)
            requests += kept
    meta = source_meta(source, format_name="applied-compute", content=_CONTENT, notes=(_ASSUMED,))
    lines = np.array([request.line for request in requests], np.int64)
    read += problems.total - told
    frame = _frame(requests)
    return frame_trace(frame, lines, source, problems, meta, read=read, note_disorder=False)


@dataclass(frozen=True, slots=True)
class _Request:
    line: int
    arrival_ns: int
    output_tokens: int
    segments: tuple[int, ...]
    tokens: tuple[int, ...]
    response: int


def _requests(line: int, session: int, row: CheckedRow) -> Iterator[_Request]:
    turns = row.integer(_TURNS, lowest=0, highest=_LARGEST_TURNS)
    first = row.tokens(_FIRST)
    said, told = (
        row.integers(name, lowest=0, highest=LARGEST_TOKENS) or [] for name in (_SAID, _TOLD)
    )
    waits = _waits_ns(row)
    final = row.tokens(_FINAL, lowest=0)
    for name, values in ((_SAID, said), (_TOLD, told), (_WAITS, waits)):
        if len(values) != turns and not row.faults:
            row.faults.append(f"{name} must have {turns} entries (got {len(values)})")
    total = first + sum(said) + sum(told)
    if total > LARGEST_TOKENS:
        row.faults.append(f"the last prompt has more than {LARGEST_TOKENS} tokens (got {total})")
    if row.faults:
        return
    arrival_ns = session * START_GAP_NS
    segments, tokens = [segment_id("prompt", str(line))], [first]
    for turn, length in enumerate([*said, final]):
        response = segment_id("response", str(line), str(turn))
        yield _Request(line, arrival_ns, length, tuple(segments), tuple(tokens), response)
        if turn == turns:
            return
        tool = segment_id("tool", str(line), str(turn))
        for segment, count in ((response, length), (tool, told[turn])):
            if count:
                segments.append(segment)
                tokens.append(count)
        arrival_ns = min(arrival_ns + waits[turn], LARGEST_NS)


def _waits_ns(row: CheckedRow) -> list[int]:
    values = row.values.get(_WAITS)
    if not isinstance(values, list):
        row.faults.append(f"{_WAITS} must be a list of seconds (got {shown(values)})")
        return []
    found = []
    for place, value in enumerate(values):
        name = f"{_WAITS}[{place}]"
        wait = CheckedRow({name: value}, faults=row.faults)
        wait_ns = wait.duration_ns(name, unit_ns=NS_PER_S)
        if wait_ns is None and not row.faults:
            row.faults.append(f"{name} must be a number (got {shown(value)})")
        found.append(wait_ns or 0)
    return found


def _frame(requests: list[_Request]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {
            "arrival_ns": [request.arrival_ns for request in requests],
            "input_tokens": [sum(request.tokens) for request in requests],
            "output_tokens": [request.output_tokens for request in requests],
        },
        schema=dict.fromkeys(("arrival_ns", "input_tokens", "output_tokens"), pl.Int64),
    )
    return frame.with_columns(
        *segment_columns([(request.segments, request.tokens) for request in requests]),
        pl.Series("response_segment", [request.response for request in requests], pl.UInt64),
        pl.Series(SESSION, [f"line {request.line}" for request in requests], pl.String),
    )


APPLIED_COMPUTE = Reader(
    name="applied-compute",
    suffixes=(".jsonl",),
    meaning="JSON lines: agent sessions as lengths of prompts, responses and results of tools",
    content="each prompt holds the one before it, its response and the result of the tool",
    sessions="a row is one",
    assumes="a session starts each second; responses take no time",
    sniff=looks_like_applied_compute,
    read=read_applied_compute,
    shapes=_SHAPES,
)
