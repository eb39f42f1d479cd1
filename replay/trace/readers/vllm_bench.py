"""Results of `vllm bench serve --save-detailed`: one JSON document of lists, an entry a request.

    {"backend": "vllm", "model_id": "m", "input_lens": [100, 200], "output_lens": [3, 2],
     "ttfts": [0.1, 0.2], "itls": [[0.05, 0.07], [0.1]], "start_times": [10.0, 11.5],
     "errors": ["", ""]}

Times are seconds on a clock of the benchmark's own (https://docs.vllm.ai/en/latest/benchmarking).
It has no prompts: lengths and times are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
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
from replay.trace.readers.shapes import INTEGER, LIST, NUMBER, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.text_requests import ASSUMED_PACE, ASSUMED_TIMES, assumed_arrival_ns
from replay.units import NS_PER_S

_INPUTS, _OUTPUTS = "input_lens", "output_lens"
_STARTS, _TTFTS, _ITLS, _E2ES, _ERRORS = "start_times", "ttfts", "itls", "latencies", "errors"
_LISTS = (_INPUTS, _OUTPUTS, _STARTS, _TTFTS, _ITLS, _E2ES, _ERRORS)
_SHAPES = (
    RowShape((key(_INPUTS, kind=LIST), key(_OUTPUTS, kind=LIST))),
    RowShape((key("request_throughput", kind=NUMBER), key("total_input_tokens", kind=INTEGER))),
)
_NO_LISTS = "the result has no lists of requests: it was saved without --save-detailed"


def looks_like_vllm_bench(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such a result."""
    return fits_any(head, _SHAPES)


def read_vllm_bench(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the requests of a benchmark; those of several results stand in a row.

    Raises TraceError that numbers each request that breaks the format, where more do than the
    options allow, and for a result without lists of requests.
    """
    rows, source = _rows_of(source)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    problems.hint("line numbers count the requests of the result")
    timed = all(row.get(_STARTS) is not None for row in rows)
    requests: list[ContentRequest] = []
    for line, values in enumerate(rows, start=1):
        if values.get(_ERRORS):
            problems.leave_out(line, f"a failed request: {shown(values[_ERRORS])}")
            continue
        row = CheckedRow(values)
        request = _request(line, row, timed=timed)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults:
            requests.append(request)
            if not request.output_tokens:
                problems.leave_out(line, NO_RESPONSE)
    meta = source_meta(
        source,
        format_name="vllm-bench",
        content=LENGTHS_ONLY,
        notes=() if timed else (ASSUMED_TIMES,),
    )
    return content_trace(requests, source, problems, meta, read=len(rows), note_disorder=False)


def _rows_of(source: Source) -> tuple[list[dict[str, Any]], Source]:
    """Return the requests of all results in a file, and a source of one a line."""
    problems = ProblemList(source.path)
    source = as_lines(source, problems)
    rows: list[dict[str, Any]] = []
    for line, document in walk_objects(source.data, problems):
        fault = _fault(document)
        if fault:
            problems.add(fault, line=line)
            continue
        shared = {"model": document.get("model_id")}
        lists: dict[str, Any] = {name: document[name] for name in _LISTS if document.get(name)}
        rows += [
            shared | {name: values[place] for name, values in lists.items()}
            for place in range(len(lists[_INPUTS]))
        ]
    problems.raise_any()
    text = "\n".join(json.dumps(row) for row in rows)
    return rows, replace(source, data=text.encode())


def _fault(document: Mapping[str, Any]) -> str | None:
    if not document.get(_INPUTS) or not document.get(_OUTPUTS):
        return _NO_LISTS
    for name in _LISTS:
        values = document.get(name)
        if values is None:
            continue
        if not isinstance(values, list):
            return f"{name} must be a list (got {shown(values)})"
        if values and len(values) != len(document[_INPUTS]):
            return f"{name} must have {len(document[_INPUTS])} entries (got {len(values)})"
    return None


def _request(line: int, row: CheckedRow, *, timed: bool) -> ContentRequest:
    start_ns = row.duration_ns(_STARTS, unit_ns=NS_PER_S)
    ttft_ns = row.duration_ns(_TTFTS, unit_ns=NS_PER_S)
    e2e_ns = row.duration_ns(_E2ES, unit_ns=NS_PER_S)
    if e2e_ns is None and ttft_ns is not None:
        e2e_ns = _until_last(ttft_ns, row)
    other: dict[str, object] = {
        "recorded_ttft_ns": ttft_ns,
        "recorded_e2e_ns": e2e_ns,
        "model": row.text("model"),
    }
    return ContentRequest(
        line=line,
        arrival_ns=(start_ns or 0) if timed else assumed_arrival_ns(line - 1, 0),
        input_tokens=row.tokens(_INPUTS),
        output_tokens=row.tokens(_OUTPUTS, lowest=0),
        other={name: value for name, value in other.items() if value is not None},
    )


def _until_last(ttft_ns: int, row: CheckedRow) -> int | None:
    """Return when the last token was there: the first, and all times between two after it."""
    gaps = row.values.get(_ITLS)
    if not isinstance(gaps, list):
        return None
    total = ttft_ns
    for place, gap in enumerate(gaps):
        step = CheckedRow({f"{_ITLS}[{place}]": gap}, faults=row.faults)
        total += step.duration_ns(f"{_ITLS}[{place}]", unit_ns=NS_PER_S) or 0
    return total


VLLM_BENCH = Reader(
    name="vllm-bench",
    suffixes=(".json", ".jsonl"),
    meaning="JSON: a detailed result of vLLM's serving benchmark, lists with an entry a request",
    content="none",
    sessions="none",
    assumes=f"without start_times, {ASSUMED_PACE}",
    sniff=looks_like_vllm_bench,
    read=read_vllm_bench,
    shapes=_SHAPES,
)
