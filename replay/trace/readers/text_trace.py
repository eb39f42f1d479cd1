"""Requests known by their text made into a trace of token ids, for all readers of text alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import (
    SESSIONS_INFERRED,
    SESSIONS_NONE,
    SESSIONS_SOURCE,
    Trace,
    TraceMeta,
    canonical_trace,
)
from replay.trace.lists import list_column
from replay.trace.media import token_ids
from replay.trace.problems import ProblemList
from replay.trace.readers.kept_requests import kept_requests, order_notes
from replay.trace.readers.named_sessions import SESSION, but_its_session, with_turns
from replay.trace.readers.source_columns import KeyNotes, dropped_note, scalar_columns
from replay.trace.readers.text_requests import NO_RESPONSE, TextRequest, writable
from replay.trace.readers.told_lengths import media_notes, told_lengths
from replay.trace.text import Splitter, content_of_text, load_splitter

if TYPE_CHECKING:
    from replay.trace.readers.options import ReadOptions
    from replay.trace.readers.source import Source


def text_trace(
    requests: Sequence[TextRequest],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    template: ChatTemplate | None = None,
    notes: Sequence[str] = (),
    clock_start_ns: int | None = None,
    sessions_inferred: bool = False,
) -> Trace:
    """Return the trace of these requests, each with the token ids of its prompt and response.

    `read` rows were in the file, and `problems` knows the faulty ones; a request without a
    response is put aside. `sessions_inferred` says that sessions have numbers and no names of the
    source. Raises TraceError where more is faulty than the options allow.
    """
    splitter = load_splitter(options.tokenizer)
    for request in requests:
        if not request.prompt:
            problems.add("the prompt is empty", line=request.line)
        elif not request.response and not request.response_tokens:
            problems.leave_out(request.line, NO_RESPONSE)
    ordered, late = kept_requests(requests, problems, read=read)
    frame, dropped, found = _frame(ordered, splitter, source)
    all_notes = [*notes, f"tokens are counted by {splitter.name}", *found]
    if template is not None:
        all_notes.append(f"prompts are written by {template.name}")
    all_notes += order_notes(late, clock_start_ns)
    all_notes += dropped_note(dropped)
    sessions = SESSIONS_NONE
    if "session_id" in frame.columns:
        sessions = SESSIONS_INFERRED if sessions_inferred else SESSIONS_SOURCE
        frame = frame.drop(SESSION) if sessions_inferred else frame
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format=format_name,
        block_size=None,
        content=content_of_text(splitter),
        sessions=sessions,
        rejected_rows=len(problems.put_aside),
        notes=tuple(all_notes),
        clock_start_ns=clock_start_ns,
        shared_ids=True,
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _frame(
    requests: Sequence[TextRequest], splitter: Splitter, source: Source
) -> tuple[pl.DataFrame, KeyNotes, list[str]]:
    """Return the requests as columns, what became of their keys, and notes on lengths."""
    prompts = token_ids(splitter, [request.prompt for request in requests])
    responses = token_ids(splitter, [request.response for request in requests])
    counts = np.array([len(tokens) for tokens in prompts])
    output, responses, notes = told_lengths(requests, responses, splitter, source)
    known = np.array([len(tokens) for tokens in responses])
    frame = pl.DataFrame(
        {
            "arrival_ns": [request.arrival_ns for request in requests],
            "input_tokens": counts,
            "output_tokens": output,
            "tokens": list_column(np.concatenate(prompts), counts),
        }
    )
    if known.any():
        frame = frame.with_columns(response_tokens=list_column(np.concatenate(responses), known))
    other, dropped = scalar_columns(
        [but_its_session(request.other, request.session) for request in requests],
        taken=[*frame.columns, SESSION],
    )
    frame = frame.with_columns(other)
    sessions = [writable(request.session) for request in requests]
    names = pl.Series(SESSION, sessions, pl.String)
    if names.null_count() < len(names):
        frame = with_turns(frame.with_columns(names), names)
    return frame, dropped, media_notes([request.prompt for request in requests]) + notes
