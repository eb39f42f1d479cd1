"""RAGPulse: JSON lines of a retrieval service, each prompt made of parts that have an id.

    {"timestamp": "27", "input_length": 3861, "output_length": 127, "hash_ids": {"sys_prompt":
     [8325, 8326, 11575], "passages_ids": [6123, 7239], "history": [15215], "web_search": [],
     "user_input": [23648]}, "session_id": "1758081660427-xa8r"}

Times are seconds (https://github.com/flashserve/RAGPulse, arXiv:2511.12979). How long each part is
stands in files beside the trace, 1_sys_prompt.jsonl and so on; with them prompts are known to the
token, but for a few (6 to 12 in the published trace) that join the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    SESSION,
    frame_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.segment_lists import segment_columns, segment_id
from replay.trace.readers.shapes import INTEGER, OBJECT, RowShape, fits_any, key
from replay.trace.readers.source import Source, read_source
from replay.trace.readers.source_columns import dropped_note, joined_values, scalar_columns
from replay.units import NS_PER_S

_SHAPES = (
    RowShape(
        (
            key("hash_ids", kind=OBJECT),
            key("input_length", kind=INTEGER),
            key("output_length", kind=INTEGER),
        )
    ),
)
_PARTS = ("sys_prompt", "passages_ids", "history", "web_search", "user_input")
_LENGTHS = (
    "1_sys_prompt.jsonl", "2_passages.jsonl", "3_history.jsonl", "4_user_input.jsonl",
    "5_web_search.jsonl",
)  # fmt: skip
_CONTENT = "parts of prompts, each as long as the files beside the trace say; responses have none"
_NO_LENGTHS = (
    f"how long the parts of prompts are is not known: {', '.join(_LENGTHS)} do not lie beside the "
    "trace; prompts are known by their lengths alone"
)
_JOINED = "belong to no part of their prompt: they are taken to stand last, and to be new"


def looks_like_ragpulse(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a RAGPulse trace."""
    return fits_any(head, _SHAPES)


def read_ragpulse(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace of RAGPulse rows, with the parts whose lengths lie beside the file.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    known = _lengths_beside(source)
    rows: list[_Row] = []
    read = told = 0
    for line, values in walk_objects(source.data, problems):
        read += 1
        checked = CheckedRow(values)
        row = _row(line, checked, known)
        told += len(checked.faults)
        for fault in checked.faults:
            problems.add(fault, line=line)
        if not checked.faults:
            rows.append(row)
            if not row.output_tokens:
                problems.leave_out(line, NO_RESPONSE)
    joined = sum(row.joined_tokens for row in rows)
    meta = source_meta(
        source,
        format_name="ragpulse",
        content=_CONTENT if known else LENGTHS_ONLY,
        notes=(f"{joined:,} tokens {_JOINED}",) if known else (_NO_LENGTHS,),
        shared_ids=True,
    )
    lines = np.array([row.line for row in rows], np.int64)
    frame, left_out = _frame(rows, has_content=bool(known))
    meta = meta.noting(*left_out)
    return frame_trace(frame, lines, source, problems, meta, read=read + problems.total - told)


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    arrival_ns: int
    input_tokens: int
    output_tokens: int
    session: str | None
    ids: Sequence[int] = ()
    tokens: Sequence[int] = ()
    joined_tokens: int = 0
    other: Mapping[str, object] = field(default_factory=dict)


def _row(line: int, row: CheckedRow, known: Mapping[int, int]) -> _Row:
    time = row.values.get("timestamp")
    if isinstance(time, str) and time.isdecimal() and len(time) < 19:  # as published
        row = CheckedRow({**row.values, "timestamp": int(time)}, faults=row.faults)
    arrival_ns = row.duration_ns("timestamp", unit_ns=NS_PER_S)
    if arrival_ns is None and not row.faults:
        row.lacks("timestamp")
    length = row.tokens("input_length")
    parts = row.within("hash_ids")
    if parts is None and not row.faults:
        row.lacks("hash_ids")
    ids: list[int] = []
    counts: dict[str, object] = {}
    for name in _PARTS if parts is not None else ():
        found = parts.integers(name, lowest=0, highest=2**63 - 1) or [] if parts else []
        ids += found
        counts[f"{name.removesuffix('_ids')}_parts"] = len(found)
    tokens = [known.get(part, -1) for part in ids] if known else []
    if -1 in tokens:
        row.faults.append(f"no file beside says how long part {ids[tokens.index(-1)]} is")
    joined = length - sum(tokens) if known else 0
    if joined < 0 and not row.faults:
        row.faults.append(f"input_length is {length} (got {sum(tokens)} tokens of parts)")
    return _Row(
        line=line,
        arrival_ns=arrival_ns or 0,
        input_tokens=length,
        output_tokens=row.tokens("output_length", lowest=0),
        session=row.text("session_id"),
        ids=ids,
        tokens=tokens,
        joined_tokens=max(0, joined),
        other=joined_values(row.rest("hash_ids"), counts),
    )


def _frame(rows: Sequence[_Row], *, has_content: bool) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the rows as a frame, and notes on what could not be kept."""
    frame = pl.DataFrame(
        {
            "arrival_ns": pl.Series([row.arrival_ns for row in rows], dtype=pl.Int64),
            "input_tokens": pl.Series([row.input_tokens for row in rows], dtype=pl.Int64),
            "output_tokens": pl.Series([row.output_tokens for row in rows], dtype=pl.Int64),
        }
    )
    sessions = pl.Series([row.session for row in rows], dtype=pl.String)
    if has_content:
        content = segment_columns([_segments(row) for row in rows])
        frame = frame.with_columns(sessions.alias(SESSION), *content)
    else:  # a prompt does not hold the one before, so nothing is to be assumed of sessions
        frame = frame.with_columns(sessions.alias("conversation"))
    other, dropped = scalar_columns([row.other for row in rows], taken=[*frame.columns, SESSION])
    return frame.with_columns(other), dropped_note(dropped)


def _segments(row: _Row) -> tuple[list[int], list[int]]:
    pairs = [(part, count) for part, count in zip(row.ids, row.tokens, strict=True) if count]
    if row.joined_tokens:
        own = segment_id("ragpulse", str(row.line), str(row.arrival_ns))
        pairs.append((own, row.joined_tokens))
    return [part for part, _ in pairs], [count for _, count in pairs]


def _lengths_beside(source: Source) -> dict[int, int]:
    """Return the tokens of each part by its id, empty where not all files lie beside the trace.

    Raises TraceError for a file whose rows are no id and length.
    """
    folder = Path(source.path).parent
    files = [folder / name for name in _LENGTHS]
    if not all(file.is_file() for file in files):
        return {}
    found: dict[int, int] = {}
    for file in files:
        problems = ProblemList(str(file))
        for line, row in walk_objects(read_source(file).data, problems):
            part = next((value for name, value in row.items() if name.endswith("_id")), None)
            tokens = row.get("token_length")
            if type(part) is not int or part < 0:
                problems.add(f"must have the id of a part (got {shown(row)})", line=line)
            elif type(tokens) is not int or not 0 <= tokens <= LARGEST_TOKENS:
                problems.add(f"token_length must be an integer (got {shown(tokens)})", line=line)
            else:
                found[part] = tokens
        problems.raise_any()
    return found


RAGPULSE = Reader(
    name="ragpulse",
    suffixes=(".jsonl",),
    meaning="JSON lines of RAGPulse: prompts of a retrieval service made of parts with ids",
    content="ids of the parts, where the files with their lengths lie beside; responses have none",
    sessions="session_id, where content is known",
    assumes="the few tokens that belong to no part stand last and are new",
    sniff=looks_like_ragpulse,
    read=read_ragpulse,
    shapes=_SHAPES,
)
