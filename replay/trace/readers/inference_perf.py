"""inference-perf's report of each request: a JSON array, request and response as they were sent.

    [{"start_time": 100.0, "end_time": 100.4, "request": "{\"prompt\": \"Hi\", ...}",
      "response": "", "info": {"request_metrics": {"text": {"input_tokens": 5}}, "response_metrics":
      {"output_tokens": 3, "output_token_times": [100.2, 100.3, 100.4], "server_usage": {...}}},
      "error": null}]

(https://github.com/kubernetes-sigs/inference-perf, per_request_lifecycle_metrics.json; older
reports have the counts in `info` itself). Times are seconds on a clock of the benchmark's own.
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
    count_in,
    duration_in,
    first,
    lasted,
    mapping_in,
    told,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import NUMBER, OBJECT, TEXT, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_S

_SHAPES = (
    RowShape(
        (
            key("start_time", kind=NUMBER),
            key("end_time", kind=NUMBER),
            key("request", kind=TEXT),
            key("info", kind=OBJECT),
        )
    ),
)
_TOKEN_TIMES = ("output_token_times", "chunk_times")


def looks_like_inference_perf(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of such a report."""
    return fits_any(head, _SHAPES)


def read_inference_perf(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of the requests in a report, by their text, or lengths alone.

    Raises TraceError that names the entry of each request that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    rows = walk_objects(source.data, problems)
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="inference-perf")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    if row.get("error"):
        return Reason(f"a failed request: {shown(row['error'])}")
    start_ns, end_ns = _time(row, "start_time"), _time(row, "end_time")
    info = mapping_in(row, "info")
    answered = mapping_in(info, "response_metrics") or info
    usage = dict(mapping_in(answered, "server_usage")) or told(
        prompt_tokens=_prompt_tokens(info), completion_tokens=count_in(answered, "output_tokens")
    )
    times = next((answered[name] for name in _TOKEN_TIMES if answered.get(name)), None)
    begun_ns = None
    if isinstance(times, list):
        begun_ns = duration_in({"first": times[0]}, "first", unit_ns=NS_PER_S)
    asked = mapping_in(row, "request")
    return told(
        request=dict(asked) or None,
        response=first(row, "response"),
        usage=usage or None,
        adapter=first(info, "lora_adapter"),
        recorded_ttft_ns=lasted(start_ns, begun_ns),
        recorded_e2e_ns=lasted(start_ns, end_ns),
        **{ARRIVAL: start_ns},
    )


def _prompt_tokens(info: Row) -> Any:
    counted = mapping_in(mapping_in(info, "request_metrics"), "text")
    return count_in(counted, "input_tokens") if counted else count_in(info, "input_tokens")


def _time(row: Mapping[str, Any], name: str) -> int:
    found = duration_in(row, name, unit_ns=NS_PER_S)
    if found is None:
        raise RowError(f"{name} must be seconds (got {shown(row.get(name))})")
    return found


INFERENCE_PERF = Reader(
    name="inference-perf",
    suffixes=(".json",),
    meaning="JSON: inference-perf's report of each request of a benchmark",
    content="text of prompts and responses, where it was kept; else lengths alone",
    sessions="inferred by what prompts repeat",
    assumes="ChatML for messages, unless a chat template is given",
    sniff=looks_like_inference_perf,
    read=read_inference_perf,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
)
