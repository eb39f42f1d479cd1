"""LLMServingSim traces: JSON lines of lengths and token ids, flat or by session.

    {"input_toks": 4, "output_toks": 2, "arrival_time_ns": 46926808,
     "input_tok_ids": [5971, 2927, 220, 1032], "output_tok_ids": [40914, 11]}
    {"session_id": "a", "arrival_time_ns": 0, "sub_requests":
     [{"input_toks": 4, "output_toks": 2, "tool_duration_ns": 1500000}, ...]}

Times are nanoseconds (https://github.com/casys-kaist/LLMServingSim). Token ids are optional, for
all requests or for none. When a sub-request ends the file cannot know, so the next one is taken to
arrive when its tool is done, as if the model had taken no time: earlier than it would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from replay.trace.frame import SESSIONS_NONE, SESSIONS_SOURCE, Trace, TraceMeta, canonical_trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.fields import (
    MOST_NS,
    MOST_TOKENS,
    integer_fault,
    integers_fault,
    missing_fault,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.named_sessions import with_turns
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns
from replay.trace.readers.text_requests import NO_RESPONSE

_LENGTHS = ("input_toks", "output_toks")
_TIME = "arrival_time_ns"
_SESSION, _PARTS, _TOOL = "session_id", "sub_requests", "tool_duration_ns"
_IDS = {"input_tok_ids": "input_toks", "output_tok_ids": "output_toks"}
_HELD = frozenset((*_LENGTHS, _TIME, _SESSION, _PARTS, *_IDS))
ASSUMED_GAPS = (
    "a sub-request arrives when the tool of the one before is done, as if the model took no time"
)


@dataclass(frozen=True, slots=True)
class _Request:
    line: int
    arrival_ns: int
    row: Mapping[str, Any]
    session: str | None = None
    other: dict[str, object] = field(default_factory=dict)


def looks_like_llmservingsim(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an LLMServingSim trace."""
    return (
        head.lstrip().startswith((b"{", b"["))
        and b'"input_toks"' in head
        and b'"output_toks"' in head
        and b'"arrival_time_ns"' in head
    )


def read_llmservingsim(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an LLMServingSim file, exact to the token where it has token ids.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    requests: list[_Request] = []
    faulty = rows = 0
    for line, row in walk_objects(source.data, problems):
        rows += 1
        faults = _faults(row)
        faulty += len(faults)
        for fault in faults:
            problems.add(fault, line=line)
        if not faults:
            requests += _requests(line, row)
    read = rows + problems.total - faulty
    if not read:
        problems.add("no requests")
    for request in requests:
        if request.row["output_toks"] == 0:
            problems.leave_out(request.line, NO_RESPONSE)
    _check_alike(requests, problems)
    keep = problems.settle(np.array([request.line for request in requests], np.int64), read=read)
    kept = [request for request, good in zip(requests, keep, strict=True) if good]
    if not kept:
        problems.add("no request with a response")
        problems.raise_any()
    kept.sort(key=lambda request: request.arrival_ns)
    frame, notes = _frame(kept)
    has_ids = "tokens" in frame.columns
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format="llmservingsim",
        block_size=None,
        content="token ids of the source" if has_ids else "unknown: lengths only",
        sessions=SESSIONS_SOURCE if "session_id" in frame.columns else SESSIONS_NONE,
        rejected_rows=len(problems.put_aside),
        notes=notes,
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _faults(row: Mapping[str, object]) -> list[str]:
    if _PARTS not in row:
        return _request_faults(row, (*_LENGTHS, _TIME), "")
    faults = missing_fault(row, (_SESSION, _TIME))
    if faults:
        return faults
    faults = integer_fault(row, _TIME, 0, MOST_NS)
    if not isinstance(row[_SESSION], str | int) or isinstance(row[_SESSION], bool):
        faults.append(f"{_SESSION} must be text or an integer (got {shown(row[_SESSION])})")
    parts = row[_PARTS]
    if not isinstance(parts, list) or not parts:
        return [*faults, f"{_PARTS} must be a list of requests (got {shown(parts)})"]
    for at, part in enumerate(parts):
        label = f"{_PARTS}[{at}]"
        if not isinstance(part, dict):
            return [*faults, f"{label} must be an object (got {shown(part)})"]
        faults += _request_faults(part, _LENGTHS, f"{label}.")
    if not faults and row[_TIME] + sum(part.get(_TOOL) or 0 for part in parts) > MOST_NS:  # type: ignore[operator]
        faults.append(f"{_TOOL} adds up beyond the range of times")
    return faults


def _request_faults(row: Mapping[str, object], names: tuple[str, ...], label: str) -> list[str]:
    faults = [label + fault for fault in missing_fault(row, names)]
    if faults:
        return faults
    faults += integer_fault(row, "input_toks", 1, MOST_TOKENS, label=f"{label}input_toks")
    faults += integer_fault(row, "output_toks", 0, MOST_TOKENS, label=f"{label}output_toks")
    if _TIME in names:
        faults += integer_fault(row, _TIME, 0, MOST_NS)
    if row.get(_TOOL) is not None:
        faults += integer_fault(row, _TOOL, 0, MOST_NS, label=label + _TOOL)
    for name, length in _IDS.items():
        ids = row.get(name)
        if ids is None:
            continue
        faults += integers_fault(ids, 0, 2**32 - 1, label=label + name)
        if isinstance(ids, list) and type(row[length]) is int and len(ids) != row[length]:
            faults.append(f"{label}{length} is {row[length]} (got {len(ids)} {name})")
    return faults


def _requests(line: int, row: Mapping[str, Any]) -> list[_Request]:
    if _PARTS not in row:
        session = row.get(_SESSION)
        other = {name: value for name, value in row.items() if name not in _HELD}
        named = None if session is None else str(session)
        return [_Request(line, row[_TIME], row, named, other)]
    found, at = [], row[_TIME]
    for part in row[_PARTS]:
        other = {name: value for name, value in part.items() if name not in _HELD}
        found.append(_Request(line, at, part, str(row[_SESSION]), other))
        at += part.get(_TOOL) or 0
    return found


def _check_alike(requests: list[_Request], problems: ProblemList) -> None:
    """Count the requests without prompt ids in a file where others have them."""
    bare = [one for one in requests if one.row.get("input_tok_ids") is None]
    if len(bare) < len(requests):
        for request in bare:
            problems.add("lacks input_tok_ids, which other rows have", line=request.line)


def _frame(requests: list[_Request]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    rows = [request.row for request in requests]
    columns = {
        "arrival_ns": pl.Series([request.arrival_ns for request in requests], dtype=pl.Int64),
        "input_tokens": [row["input_toks"] for row in rows],
        "output_tokens": [row["output_toks"] for row in rows],
    }
    if rows[0].get("input_tok_ids") is not None:
        columns["tokens"] = _ids(rows, "input_tok_ids")
    if any(row.get("output_tok_ids") is not None for row in rows):
        columns["response_tokens"] = _ids(rows, "output_tok_ids")
    other, dropped = scalar_columns([request.other for request in requests])
    frame = pl.DataFrame(columns).with_columns(other)
    names = pl.Series("source_session_id", [request.session for request in requests], pl.String)
    if names.null_count() == len(names):
        return frame, dropped_note(dropped)
    parts = any(_TOOL in row for row in rows)
    notes = ((ASSUMED_GAPS,) if parts else ()) + dropped_note(dropped)
    return with_turns(frame.with_columns(names), names), notes


def _ids(rows: list[Mapping[str, Any]], name: str) -> pl.Series:
    lists = [np.array(row.get(name) or [], np.uint32) for row in rows]
    return list_column(np.concatenate(lists), np.array([len(ids) for ids in lists]))


LLMSERVINGSIM = Reader(
    name="llmservingsim",
    suffixes=(".jsonl",),
    meaning="JSON lines: lengths, arrival in ns, token ids of prompts and responses, or sessions",
    content="token ids of the source, where it has them",
    sessions="session_id of rows with sub_requests",
    assumes="a sub-request arrives when the tool of the one before is done",
    sniff=looks_like_llmservingsim,
    read=read_llmservingsim,
)
