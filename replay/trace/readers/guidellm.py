"""GuideLLM's reports: a JSON document of benchmarks, each with the requests that it kept.

    {"metadata": {...}, "benchmarks": [{"requests": {"successful": [{"request_id": "r1",
     "request_args": "{\"body\": {\"prompt\": \"Hi\", ...}}", "output": "a b c", "info": {"timings":
     {"request_start": 1.0, "first_token_iteration": 1.2, "request_end": 1.4}}, "input_metrics":
     {"text_tokens": 5, "cached_tokens": 0}, "output_metrics": {"text_tokens": 3}}]}}]}

(https://github.com/vllm-project/guidellm). Only as many requests are kept as the benchmark was
told to sample. Times are seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    Reason,
    Row,
    api_log_trace,
    count_in,
    duration_in,
    first,
    lasted,
    mapping_in,
    told,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.head import head_rows
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import OBJECTS, RowShape, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_S

_SHAPE = RowShape((key("benchmarks", kind=OBJECTS),))
_KEPT = "successful"
_START = ("request_start", "request_start_time", "start_time")
_FIRST = ("first_token_iteration", "first_iteration", "first_token_time")
_END = ("request_end", "request_end_time", "end_time")
_NO_REQUESTS = "the report kept no requests: benchmarks sample them as --sample-requests says"


def looks_like_guidellm(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such a report."""
    for row in head_rows(head):
        benchmarks = row.get("benchmarks")
        if _SHAPE.has(row) and isinstance(benchmarks, list):
            return any(isinstance(one, Mapping) and "requests" in one for one in benchmarks[:1])
    return b'"guidellm_version"' in head


def read_guidellm(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the successful requests of all benchmarks in a report.

    Raises TraceError that numbers each request that breaks the format, where more do than the
    options allow, and for a report that kept none.
    """
    rows, source = _rows_of(source)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    problems.hint("line numbers count the successful requests of the report")
    numbered = enumerate(rows, start=1)
    return api_log_trace(numbered, source, options, problems, _unwrapped, format_name="guidellm")


def _rows_of(source: Source) -> tuple[list[dict[str, Any]], Source]:
    """Return the requests of all benchmarks, and a source of one a line."""
    problems = ProblemList(source.path)
    source = as_lines(source, problems)
    rows: list[dict[str, Any]] = []
    for line, document in walk_objects(source.data, problems):
        benchmarks = document.get("benchmarks")
        if not isinstance(benchmarks, list):
            problems.add(f"benchmarks must be a list (got {shown(benchmarks)})", line=line)
            continue
        for benchmark in benchmarks:
            try:
                requests = (
                    mapping_in(benchmark, "requests") if isinstance(benchmark, Mapping) else {}
                )
            except RowError as error:
                problems.add(str(error), line=line)
                continue
            kept = requests.get(_KEPT) or []
            if not isinstance(kept, list) or not all(isinstance(one, Mapping) for one in kept):
                problems.add(f"{_KEPT} must be a list of requests (got {shown(kept)})", line=line)
            else:
                rows += [dict(one) for one in kept]
    if not rows and not problems.total:
        problems.add(_NO_REQUESTS)
    problems.raise_any()
    text = "\n".join(json.dumps(row) for row in rows)
    return rows, replace(source, data=text.encode())


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    timings = mapping_in(mapping_in(row, "info", "scheduler_info"), "timings", "request_timings")
    timings = timings or row
    start_ns = duration_in(timings, *_START, unit_ns=NS_PER_S)
    if start_ns is None:
        raise RowError(f"lacks {_START[0]} (got {', '.join(map(shown, timings)) or 'no keys'})")
    asked = mapping_in(row, "request_args")
    body = mapping_in(asked, "body", "payload", "json") or asked
    inputs, outputs = mapping_in(row, "input_metrics"), mapping_in(row, "output_metrics")
    cached = count_in(inputs, "cached_tokens")
    usage = told(
        prompt_tokens=count_in({**row, **inputs}, "text_tokens", "total_tokens", "prompt_tokens"),
        completion_tokens=count_in({**row, **outputs}, "text_tokens", "output_tokens"),
        prompt_tokens_details=None if cached is None else {"cached_tokens": cached},
    )
    known = any(name in body for name in ("prompt", "messages", "input"))
    prompt = row.get("prompt")
    return told(
        request=dict(body) if known else {"prompt": prompt} if isinstance(prompt, str) else None,
        response=first(row, "output"),
        usage=usage or None,
        request_id=first(row, "request_id"),
        recorded_ttft_ns=lasted(start_ns, duration_in(timings, *_FIRST, unit_ns=NS_PER_S)),
        recorded_e2e_ns=lasted(start_ns, duration_in(timings, *_END, unit_ns=NS_PER_S)),
        **{ARRIVAL: start_ns},
    )


GUIDELLM = Reader(
    name="guidellm",
    suffixes=(".json",),
    meaning="JSON: GuideLLM's report of benchmarks, with the requests that it kept",
    content="text of prompts and responses, where it was kept; else lengths alone",
    sessions="inferred by what prompts repeat",
    assumes="ChatML for messages, unless a chat template is given",
    sniff=looks_like_guidellm,
    read=read_guidellm,
    takes=("tokenizer", "chat_template"),
    shapes=(_SHAPE,),
)
