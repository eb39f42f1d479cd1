"""Requests as the logs of APIs have them: text, or lengths alone, and what the provider counted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import SESSIONS_NONE, SESSIONS_SOURCE, Trace, TraceMeta, canonical_trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_usage import Usage
from replay.trace.readers.named_sessions import SESSION, with_turns
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import (
    KeyNotes,
    dropped_note,
    joined_values,
    scalar_columns,
)
from replay.trace.readers.text_requests import NO_RESPONSE, TextRequest, text_trace, writable

LENGTHS_ONLY = "unknown: lengths only, as the provider counted them"
_ASSUMED_LENGTHS = (
    "the source has no responses; assumed: each is as long as the request allows, "
    "one token where it sets no limit"
)
_NO_TEXT = "has no text of its prompt, which other rows have"
_NO_LENGTHS = "has neither the text of its prompt nor the tokens that the provider counted"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request of a log: `line` is where it stands, `prompt` None where its text is not there.

    `wanted_tokens` is the longest response it allowed, `other` are the source's own values.
    """

    line: int
    arrival_ns: int
    prompt: str | None
    response: str
    usage: Usage = field(default_factory=Usage)
    session: str | None = None
    wanted_tokens: int | None = None
    other: Mapping[str, object] = field(default_factory=dict)


def logged_trace(
    requests: Sequence[LoggedRequest],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    template: ChatTemplate | None,
    notes: Sequence[str] = (),
    clock_start_ns: int | None = None,
) -> Trace:
    """Return the trace of these requests: by their text, by lengths where no request has any.

    What the provider counted is kept as `recorded_input_tokens`, `recorded_hit_tokens` and
    `recorded_output_tokens`; a note compares the first with the tokens of the text. Raises
    TraceError where some requests have text and others none.
    """
    if any(request.prompt is not None for request in requests):
        assumed = _responses_assumed(requests)
        if assumed:
            notes = [*notes, _ASSUMED_LENGTHS]
        texts = []
        for request in requests:
            if request.prompt is None:
                problems.add(_NO_TEXT, line=request.line)
            else:
                texts.append(_as_text(request, request.prompt, assumed=assumed))
        trace = text_trace(
            texts, source, options, problems,
            format_name=format_name, read=read, template=template, notes=notes,
            clock_start_ns=clock_start_ns,
        )  # fmt: skip
        return _compared(trace)
    return _trace_of_lengths(
        requests, source, problems,
        format_name=format_name, read=read, notes=notes, clock_start_ns=clock_start_ns,
    )  # fmt: skip


def _responses_assumed(requests: Sequence[LoggedRequest]) -> bool:
    """Return whether these are requests alone, as the input of a batch is."""
    return not any(request.response or request.usage.output_tokens for request in requests)


def _as_text(request: LoggedRequest, prompt: str, *, assumed: bool) -> TextRequest:
    tokens = None
    if assumed:
        tokens = request.wanted_tokens or 1
    elif not request.response or request.usage.hidden_tokens:
        tokens = request.usage.output_tokens
    return TextRequest(
        line=request.line,
        arrival_ns=request.arrival_ns,
        prompt=prompt,
        response=request.response,
        session=request.session,
        response_tokens=tokens,
        other=joined_values(request.other, request.usage.columns()),
    )


def _compared(trace: Trace) -> Trace:
    """Return the trace with a note on how its count of tokens differs from the provider's."""
    if "recorded_input_tokens" not in trace.frame.columns:
        return trace
    known = trace.frame.filter(pl.col("recorded_input_tokens") > 0)
    recorded = int(known["recorded_input_tokens"].sum())
    if not recorded:
        return trace
    counted = int(known["input_tokens"].cast(pl.Int64).sum())
    note = (
        f"prompts have {counted / recorded:.3f} times the tokens that the provider counted "
        f"({counted:,} for {recorded:,}, in {known.height:,} of {trace.requests:,} requests)"
    )
    return trace.changed(trace.frame, trace.meta.noting(note))


def _trace_of_lengths(
    requests: Sequence[LoggedRequest],
    source: Source,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    notes: Sequence[str],
    clock_start_ns: int | None,
) -> Trace:
    for request in requests:
        if not request.usage.input_tokens:
            problems.add(_NO_LENGTHS, line=request.line)
        elif not request.usage.output_tokens:
            problems.leave_out(request.line, NO_RESPONSE)
    if not read:
        problems.add("no requests")
    lines = np.array([request.line for request in requests], np.int64)
    keep = problems.settle(lines, read=read)
    kept = [request for request, good in zip(requests, keep, strict=True) if good]
    if not kept:
        problems.add("no request with a response")
        problems.raise_any()
    late = sum(b.arrival_ns < a.arrival_ns for a, b in itertools.pairwise(kept))
    kept.sort(key=lambda request: request.arrival_ns)
    frame, dropped = _frame_of_lengths(kept)
    all_notes = [*notes, *dropped_note(dropped)]
    if late and clock_start_ns is not None:
        all_notes.append(
            f"the source is not in order of time ({late:,} rows arrive before the one above)"
        )
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format=format_name,
        block_size=None,
        content=LENGTHS_ONLY,
        sessions=SESSIONS_SOURCE if "session_id" in frame.columns else SESSIONS_NONE,
        rejected_rows=len(problems.put_aside),
        notes=tuple(all_notes),
        clock_start_ns=clock_start_ns,
        shared_ids=True,
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _frame_of_lengths(requests: Sequence[LoggedRequest]) -> tuple[pl.DataFrame, KeyNotes]:
    frame = pl.DataFrame(
        {
            "arrival_ns": [request.arrival_ns for request in requests],
            "input_tokens": [request.usage.input_tokens for request in requests],
            "output_tokens": [request.usage.output_tokens for request in requests],
        }
    )
    counted = [joined_values(request.other, request.usage.columns()) for request in requests]
    other, dropped = scalar_columns(counted, taken=[*frame.columns, SESSION])
    frame = frame.with_columns(other).drop("recorded_input_tokens", "recorded_output_tokens")
    sessions = [writable(request.session) for request in requests]
    names = pl.Series(SESSION, sessions, pl.String)
    if names.null_count() < len(names):
        frame = with_turns(frame.with_columns(names), names)
    return frame, dropped
