"""AIPerf's profile_export.jsonl: what a benchmark measured of each request, JSON lines.

    {"metadata": {"x_request_id": "a", "x_correlation_id": "c", "turn_index": 0, "request_start_ns":
     1762551534797067827, "benchmark_phase": "profiling", "was_cancelled": false}, "metrics":
     {"input_sequence_length": {"value": 100, "unit": "tokens"}, "output_sequence_length": {"value":
     200, "unit": "tokens"}, "time_to_first_token": {"value": 31.7, "unit": "ms"}}, "error": null}

(https://github.com/ai-dynamo/aiperf). It has no prompts: lengths, times and sessions are read.
"""

from __future__ import annotations

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECT, RowShape, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_MS, NS_PER_S

_SHAPE = RowShape((key("metadata", kind=OBJECT), key("metrics", kind=OBJECT)))
_PROFILING = "profiling"
_WARM_UP = "a request of the warm-up, which is not measured"
_CANCELLED = "a failed request: it was cancelled"
_UNITS_NS = {"ns": 1, "us": 1000, "ms": NS_PER_MS, "s": NS_PER_S, "sec": NS_PER_S}
_COUNTS = ("input_sequence_length", "output_sequence_length", "usage_prompt_cache_read_tokens")
_TIMES = {"recorded_ttft_ns": "time_to_first_token", "recorded_e2e_ns": "request_latency"}


def looks_like_aiperf(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of AIPerf's records of requests."""
    return any(
        _SHAPE.has(row) and "request_start_ns" in row["metadata"]  # type: ignore[operator]
        for row in head_rows(head)
    )


def read_aiperf(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the requests that were measured: lengths, times and sessions.

    Raises TraceError that names the line of each record that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[ContentRequest] = []
    read = told = 0
    for line, values in walk_objects(source.data, problems):
        read += 1
        row = CheckedRow(values)
        reason = _left_out(values)
        if reason is not None:
            problems.leave_out(line, reason)
            continue
        request = _request(line, row)
        told += len(row.faults)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults:
            requests.append(request)
            if not request.output_tokens:
                problems.leave_out(line, NO_RESPONSE)
    meta = source_meta(
        source, format_name="aiperf", content=LENGTHS_ONLY, clock_start_ns=0, shared_ids=True
    )
    read += problems.total - told
    return content_trace(requests, source, problems, meta, read=read, note_disorder=False)


def _left_out(values: dict[str, object]) -> str | None:
    """Return why a record is of no request to replay, None where it is of one."""
    metadata = values.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if values.get("error"):
        return f"a failed request: {shown(values['error'])}"
    if metadata.get("was_cancelled") is True:
        return _CANCELLED
    phase = metadata.get("benchmark_phase", _PROFILING)
    return None if phase in (None, _PROFILING) else _WARM_UP


def _request(line: int, row: CheckedRow) -> ContentRequest:
    metadata, metrics = row.within("metadata"), row.within("metrics")
    for name, found in (("metadata", metadata), ("metrics", metrics)):
        if found is None and not row.faults:
            row.lacks(name)
    if metadata is None or metrics is None:
        return ContentRequest(line, 0, 1, 1)
    arrival_ns = metadata.integer("request_start_ns", lowest=0, highest=LARGEST_NS)
    session = metadata.text("x_correlation_id", "conversation_id")
    asked, given, cached = (_count(metrics, name) for name in _COUNTS)
    for name, count in zip(_COUNTS[:2], (asked, given), strict=True):
        if count is None and not row.faults:
            metrics.lacks(name)
    other: dict[str, object] = {name: _time_ns(metrics, key) for name, key in _TIMES.items()}
    other |= {
        "recorded_hit_tokens": cached,
        "source_request_id": metadata.text("x_request_id"),
        "conversation": metadata.text("conversation_id"),
        "turn_index": metadata.integer_or_none("turn_index", lowest=0, highest=LARGEST_TOKENS),
    }
    return ContentRequest(
        line=line,
        arrival_ns=arrival_ns,
        input_tokens=max(1, asked or 1),
        output_tokens=given or 0,
        session=session,
        other={name: value for name, value in other.items() if value is not None},
    )


def _count(metrics: CheckedRow, name: str) -> int | None:
    metric = metrics.within(name)
    if metric is None:
        return None
    value = metric.values.get("value")
    if isinstance(value, float) and value.is_integer():  # the export writes some counts so
        metric = CheckedRow({"value": int(value)}, place=metric.place, faults=metric.faults)
    return metric.integer("value", lowest=0, highest=LARGEST_TOKENS)


def _time_ns(metrics: CheckedRow, name: str) -> int | None:
    metric = metrics.within(name)
    if metric is None:
        return None
    unit = metric.values.get("unit")
    if not isinstance(unit, str) or unit not in _UNITS_NS:
        known = ", ".join(_UNITS_NS)
        metrics.faults.append(f"{metric.place}unit must be one of {known} (got {shown(unit)})")
        return None
    return metric.duration_ns("value", unit_ns=_UNITS_NS[unit])


AIPERF = Reader(
    name="aiperf",
    suffixes=(".jsonl",),
    meaning="JSON lines: AIPerf's profile_export, what was measured of each request",
    content="none; prompts that grow are taken to continue their session, unless told not to",
    sessions="x_correlation_id, else conversation_id",
    assumes="nothing",
    sniff=looks_like_aiperf,
    read=read_aiperf,
    shapes=(_SHAPE,),
)
