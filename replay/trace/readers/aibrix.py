"""AIBrix workloads: JSON lines, the requests of a moment on each.

    {"timestamp": 21, "requests": [{"prompt": "Here is ...", "prompt_length": 9,
     "output_length": 22, "session_id": "0"}]}

(https://github.com/vllm-project/aibrix, benchmarks). Times are milliseconds from the start. A
prompt is text or messages; responses have lengths alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_logs import (
    ARRIVAL,
    SESSION,
    Reason,
    Row,
    api_log_trace,
    count_in,
    duration_in,
    first,
    told,
)
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import NUMBER, OBJECTS, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.units import NS_PER_MS

_TIME, _REQUESTS = "timestamp", "requests"
_SHAPES = (
    RowShape(
        (key(_TIME, kind=NUMBER), key(_REQUESTS, kind=OBJECTS)),
        never=frozenset(("hash_ids", "models", "block_size")),
    ),
)
_PROMPT = ("prompt_length", "Prompt Length")
_OUTPUT = ("output_length", "Output Length")


def looks_like_aibrix(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an AIBrix workload."""
    return fits_any(head, _SHAPES)


def read_aibrix(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of a workload, by the text of its prompts, or lengths alone.

    Raises TraceError that names the line of each request that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    rows: list[tuple[int, Row]] = []
    for line, row in walk_objects(source.data, problems):
        requests = row.get(_REQUESTS)
        if not isinstance(requests, list):
            problems.add(f"{_REQUESTS} must be a list (got {shown(requests)})", line=line)
            continue
        rows += [(line, {_TIME: row.get(_TIME), "request": one}) for one in requests]
    return api_log_trace(rows, source, options, problems, _unwrapped, format_name="aibrix")


def _unwrapped(row: Row) -> dict[str, Any] | Reason:
    asked = row["request"]
    if not isinstance(asked, Mapping):
        raise RowError(f"{_REQUESTS} must hold objects (got {shown(asked)})")
    arrival_ns = duration_in(row, _TIME, unit_ns=NS_PER_MS)
    if arrival_ns is None:
        raise RowError(f"{_TIME} must be milliseconds (got {shown(row[_TIME])})")
    prompt, session = first(asked, "prompt", "messages"), first(asked, SESSION)
    usage = told(
        prompt_tokens=count_in(asked, *_PROMPT), completion_tokens=count_in(asked, *_OUTPUT)
    )
    name = "prompt" if isinstance(prompt, str) else "messages"
    return told(
        request=None if prompt is None else {name: prompt},
        usage=usage or None,
        model=first(asked, "model"),
        **{ARRIVAL: arrival_ns, SESSION: None if session is None else str(session)},
    )


AIBRIX = Reader(
    name="aibrix",
    suffixes=(".jsonl",),
    meaning="JSON lines: workloads of AIBrix, the requests of a moment on each",
    content="text of prompts, where it is there; else lengths alone",
    sessions="session_id, else inferred by what prompts repeat",
    assumes="ChatML for prompts that are messages, unless a chat template is given",
    sniff=looks_like_aibrix,
    read=read_aibrix,
    takes=("tokenizer", "chat_template"),
    shapes=_SHAPES,
)
