"""Requests whose lengths and content a source says in numbers, made into a trace, for all readers.

What text_requests does for text: rows in order of arrival, sessions by name, block ids checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import polars as pl

from replay.trace.blocks import flat_blocks
from replay.trace.frame import (
    MOST_TOKENS,
    SESSIONS_NONE,
    SESSIONS_SOURCE,
    Rejected,
    Trace,
    TraceMeta,
    canonical_trace,
)
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList
from replay.trace.readers.block_checks import check_chained
from replay.trace.readers.named_sessions import SESSION, with_turns
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns

NO_RESPONSE = "no response: a failed request"
NO_OUTPUT = "the source has no lengths of responses; assumed: one token each"
LENGTHS_ONLY = "unknown: lengths only"
_LISTS: dict[str, type[np.integer]] = {
    "block_ids": np.uint64, "tokens": np.uint32, "response_tokens": np.uint32,
    "segments": np.uint64, "segment_tokens": np.int32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """One request: `line` is where it stands, `session` the name of its conversation.

    Content is `block_ids`, one for each block of the prompt, or `tokens`, as many as the lengths
    say, or `segments` of these lengths with that of the response; None where the source has none.
    `other` are the source's own values, by column.
    """

    line: int
    arrival_ns: int
    input_tokens: int
    output_tokens: int
    block_ids: Sequence[int] | None = None
    tokens: Sequence[int] | None = None
    response_tokens: Sequence[int] | None = None
    segments: Sequence[int] | None = None
    segment_tokens: Sequence[int] | None = None
    response_segment: int | None = None
    session: str | None = None
    other: Mapping[str, object] = field(default_factory=dict)


class Rows(Protocol):
    """Where rows come from: a source, or a table in one."""

    def put_aside(self, problems: ProblemList) -> tuple[Rejected, ...]:
        """Return the rows that were put aside, as they stand."""


def content_trace(
    requests: Sequence[ContentRequest],
    source: Source,
    problems: ProblemList,
    meta: TraceMeta,
    *,
    read: int,
    note_disorder: bool = True,
) -> Trace:
    """Return the trace of these requests; `read` rows were in the file, `problems` knows the bad.

    `meta` says all but what is found here: sessions, rejected rows and some notes. Raises
    TraceError where more is faulty than the problems allow.
    """
    if not requests:
        return frame_trace(
            _empty(), np.zeros(0, np.int64), source, problems, meta,
            read=read, note_disorder=note_disorder,
        )  # fmt: skip
    frame = pl.DataFrame(
        {
            "arrival_ns": [request.arrival_ns for request in requests],
            "input_tokens": [request.input_tokens for request in requests],
            "output_tokens": [request.output_tokens for request in requests],
        },
        schema=dict.fromkeys(("arrival_ns", "input_tokens", "output_tokens"), pl.Int64),
    )
    for name, dtype in _LISTS.items():
        lists = [getattr(request, name) for request in requests]
        if any(entry is not None for entry in lists):
            frame = frame.with_columns(_list_column(lists, dtype).alias(name))
    responses = [request.response_segment for request in requests]
    if any(segment is not None for segment in responses):
        frame = frame.with_columns(pl.Series("response_segment", responses, pl.UInt64))
    sessions = pl.Series(SESSION, [request.session for request in requests], pl.String)
    other, dropped = scalar_columns(
        [request.other for request in requests], taken=[*frame.columns, SESSION]
    )
    frame = frame.with_columns(sessions, *other)
    return frame_trace(
        frame,
        np.array([request.line for request in requests], np.int64),
        source,
        problems,
        meta.noting(*dropped_note(dropped)),
        read=read,
        note_disorder=note_disorder,
    )


def frame_trace(
    frame: pl.DataFrame,
    lines: np.ndarray,
    source: Rows,
    problems: ProblemList,
    meta: TraceMeta,
    *,
    read: int,
    note_disorder: bool = True,
) -> Trace:
    """Return a frame with canonical columns as a trace, faulty rows left out, in order of arrival.

    `lines` places the rows; sessions are named in `source_session_id`, where the frame has it.
    Block ids are checked to be prefix-chained. Raises as `content_trace`.
    """
    if not read:
        problems.add("no requests")
    _check_lengths(frame, lines, problems)
    frame, lines = _settled(frame, lines, problems, read=read)
    if "block_ids" in frame.columns:
        assert meta.block_size is not None
        check_chained(
            flat_blocks(frame["block_ids"]),
            problems,
            input_tokens=frame["input_tokens"].to_numpy().astype(np.int64),
            block_size=meta.block_size,
            lines=lines,
        )
        frame, lines = _settled(frame, lines, problems, read=read)
    late = int((np.diff(frame["arrival_ns"].to_numpy()) < 0).sum())
    if late:
        frame = frame.sort("arrival_ns", maintain_order=True)
    if late and note_disorder:
        meta = meta.noting(
            f"the source is not in order of time ({late:,} rows arrive before the one above)"
        )
    frame, sessions = _with_sessions(frame)
    meta = replace(meta, sessions=sessions, rejected_rows=len(problems.put_aside))
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def source_meta(
    source: Source,
    *,
    format_name: str,
    content: str,
    block_size: int | None = None,
    notes: Sequence[str] = (),
    clock_start_ns: int | None = None,
    shared_ids: bool = False,
) -> TraceMeta:
    """Return what is known of a trace before its rows are put together."""
    return TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format=format_name,
        block_size=block_size,
        content=content,
        notes=tuple(notes),
        clock_start_ns=clock_start_ns,
        shared_ids=shared_ids,
    )


def _check_lengths(frame: pl.DataFrame, lines: np.ndarray, problems: ProblemList) -> None:
    """Tell lengths that no trace has, which may be the sum of what a source says."""
    for name in ("input_tokens", "output_tokens"):
        values = frame[name].to_numpy()

        def message(row: int, *, name: str = name, values: np.ndarray = values) -> str:
            return f"{name} must be at most {MOST_TOKENS} (got {values[row]})"

        problems.add_rows(np.flatnonzero(values > MOST_TOKENS), message, lines=lines)


def _settled(
    frame: pl.DataFrame, lines: np.ndarray, problems: ProblemList, *, read: int
) -> tuple[pl.DataFrame, np.ndarray]:
    keep = problems.settle(lines, read=read)
    if not keep.any():
        problems.add("no request with a response")
        problems.raise_any()
    return (frame, lines) if keep.all() else (frame.filter(keep), lines[keep])


def _list_column(lists: Sequence[Sequence[int] | None], dtype: type[np.integer]) -> pl.Series:
    counts = np.array([len(entry or ()) for entry in lists], np.int64)
    given = [np.array(entry, dtype) for entry in lists if entry]
    return list_column(np.concatenate([np.zeros(0, dtype), *given]), counts)


def _with_sessions(frame: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    names = frame.get_column(SESSION, default=None)
    if names is None or names.null_count() == len(names):
        return frame.drop(SESSION, strict=False), SESSIONS_NONE
    return with_turns(frame, names), SESSIONS_SOURCE


def _empty() -> pl.DataFrame:
    return pl.DataFrame(
        schema=dict.fromkeys(("arrival_ns", "input_tokens", "output_tokens"), pl.Int64)
    )
