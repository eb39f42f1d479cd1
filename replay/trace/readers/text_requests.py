"""Requests known by their text: made into token ids, for all readers of text alike."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.trace.chat_template import UNDATED, ChatTemplate, load_template
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
from replay.trace.readers.named_sessions import SESSION, but_its_session, with_turns
from replay.trace.readers.source_columns import KeyNotes, dropped_note, scalar_columns
from replay.trace.readers.told_lengths import media_notes, told_lengths
from replay.trace.text import Splitter, content_of_text, load_splitter
from replay.units import NS_PER_S

if TYPE_CHECKING:
    from replay.trace.readers.options import ReadOptions
    from replay.trace.readers.source import Source

START_GAP_NS = 1 * NS_PER_S
TURN_GAP_NS = 30 * NS_PER_S
ASSUMED_PACE = "a conversation starts each second, and a turn follows 30 s after the one before it"
ASSUMED_TIMES = f"the source has no times; assumed: {ASSUMED_PACE}"
NO_RESPONSE = "no response: a failed request"
UNDATED_NOTE = (
    "the chat template asks for the day, which the source's clock does not tell; assumed: "
    f"{UNDATED:%Y-%m-%d}"
)


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One request as text: `line` is where it stands, `session` the name of its conversation.

    `response_tokens` is the length of the response, for one whose text is not all there. Where it
    is None, the text is counted, and held against `counted_tokens`, the source's own count.
    `other` are the source's own values, by column.
    """

    line: int
    arrival_ns: int
    prompt: str
    response: str
    session: str | None = None
    response_tokens: int | None = None
    counted_tokens: int | None = None
    other: Mapping[str, object] = field(default_factory=dict)


def assumed_arrival_ns(conversation: int, turn: int) -> int:
    """Return when a turn of a conversation arrives, both counted from 0, in a file of no times."""
    return conversation * START_GAP_NS + turn * TURN_GAP_NS


def date_of(arrival_ns: int, *, dated: bool) -> datetime:
    """Return the time of a request for its template, in UTC; `dated` says it counts from 1970."""
    return datetime.fromtimestamp(arrival_ns // NS_PER_S, UTC) if dated else UNDATED


def template_of(options: ReadOptions) -> ChatTemplate:
    """Return the template that turns messages into prompts under these options."""
    return load_template(options.chat_template, options.tokenizer)


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
    if not read:
        problems.add("no requests")
    lines = np.array([request.line for request in requests], np.int64)
    keep = problems.settle(lines, read=read)
    kept = [request for request, good in zip(requests, keep, strict=True) if good]
    if not kept:
        problems.add("no request with a response")
        problems.raise_any()
    arrivals = [request.arrival_ns for request in kept]
    order = sorted(range(len(kept)), key=arrivals.__getitem__)
    late = sum(after < before for before, after in itertools.pairwise(arrivals))
    ordered = [kept[place] for place in order]
    frame, dropped, found = _frame(ordered, splitter, source)
    all_notes = [*notes, f"tokens are counted by {splitter.name}", *found]
    if template is not None:
        all_notes.append(f"prompts are written by {template.name}")
    if late and clock_start_ns is not None:
        all_notes.append(
            f"the source is not in order of time ({late:,} rows arrive before the one above)"
        )
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


def writable(name: str | None) -> str | None:
    """Return a name as UTF-8 can write it: JSON may hold half of a surrogate pair."""
    return None if name is None else name.encode(errors="backslashreplace").decode()
