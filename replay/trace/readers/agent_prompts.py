"""Prompts of coding agents, whose logs tell what was said and counted, but not all that was sent.

An agent sends its system prompt and its tools, which its log leaves out, then the conversation so
far. The provider counted each prompt, so lengths are its counts, and content is segments:

* The **start** of a conversation's first prompt is what the messages in the log do not account
  for. Calls of one version, model and folder are taken to start alike: as far as the provider read
  from its cache, or all the way where it read nothing (nothing was there, or it had expired).
* A call that **goes on** from an earlier one holds that one's prompt, then its response, then what
  was added; the response is not there where the prompt grew by less than it is long.
* A call that does not go on (compacted, rewound, edited) shares the start, and whatever more of
  the prompt before it the provider read from its cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from replay.errors import Problem
from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.api_usage import Usage
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.content_requests import SESSION, frame_trace, source_meta
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.segment_lists import segment_columns, segment_id
from replay.trace.readers.source import EmptyFileError, Source
from replay.trace.readers.source_clock import A_DATE, date_ns
from replay.trace.readers.source_columns import (
    dropped_note,
    joined_values,
    scalar_columns,
)
from replay.trace.text import load_splitter

CALL = "call_id"
_CONTENT = "the conversation in the log, in lengths that the provider counted"
_NO_PROMPT = "no tokens of a prompt were counted: not a call of a model"
_NO_RESPONSE = "no response: a failed request"


@dataclass(frozen=True, slots=True)
class AgentCall:
    """One call of a model: `line` is where it stands, `usage` what the provider counted of it.

    `name` is the same in every file that tells of this call. `start` is what calls have in common
    whose unknown starts are one. `added` is the text that is new in its prompt, since the call at
    place `after`; None where it is the first of its conversation. `goes_on` says that the log
    shows its prompt to hold all of that one. `other` are the source's own values, by column.
    """

    line: int
    arrival_ns: int
    session: str
    name: str
    start: tuple[str, ...]
    usage: Usage
    added: str
    after: int | None = None
    goes_on: bool = False
    other: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """Content of one prompt: uint64 `segments` of `tokens` int64 each; `start` leads them all."""

    segments: np.ndarray
    tokens: np.ndarray
    start: int

    def cut(self, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the segments of the first tokens, and how many of each."""
        ends = np.cumsum(self.tokens)
        count = int(np.searchsorted(ends, tokens)) + 1 if tokens else 0
        kept = self.tokens[:count].copy()
        if count:
            kept[-1] -= ends[count - 1] - tokens
        return self.segments[:count], kept


@dataclass(slots=True)
class _Counts:
    """What the notes say."""

    start_tokens: int = 0
    apart: int = 0
    lost_responses: int = 0


def time_of(row: Mapping[str, Any]) -> int:
    """Return the `timestamp` of a line in ns since 1970; raises RowError for what is no date."""
    value = row.get("timestamp")
    found = date_ns(value) if isinstance(value, str) else None
    if found is None:
        raise RowError(f"timestamp must be {A_DATE} (got {shown(value)})")
    return found


def agent_trace(
    calls: Sequence[AgentCall],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    notes: Sequence[str] = (),
) -> Trace:
    """Return the trace of the calls in a log, whose `after` are earlier places in the sequence.

    `read` calls were in the file, and `problems` knows the faulty ones; those of which nothing was
    counted are put aside. Raises TraceError where more is faulty than the options allow, and
    EmptyFileError for a log without calls, of which a folder may have many.
    """
    for call in calls:
        if not call.usage.input_tokens:
            problems.leave_out(call.line, _NO_PROMPT)
        elif not call.usage.output_tokens:
            problems.leave_out(call.line, _NO_RESPONSE)
    if not problems.total and all(call.line in problems.put_aside for call in calls):
        what = "no call of a model with a response" if calls else "no requests"
        raise EmptyFileError([Problem(source.path, what)])
    splitter = load_splitter(options.tokenizer)
    firsts = [place for place, call in enumerate(calls) if call.after is None]
    counted = splitter.split([calls[place].added for place in firsts])
    spoken = {place: len(tokens) for place, tokens in zip(firsts, counted, strict=True)}
    counts = _Counts()
    prompts: list[_Prompt] = []
    for place, call in enumerate(calls):
        before = None if call.after is None else prompts[call.after]
        prompts.append(_prompt(call, calls, before, spoken.get(place, 0), counts))
    frame, left_out = _frame(calls, prompts)
    meta = source_meta(
        source,
        format_name=format_name,
        content=_CONTENT,
        notes=(*notes, *_notes(counts, splitter.name), *left_out),
        clock_start_ns=0,
        shared_ids=True,
    )
    lines = np.array([call.line for call in calls], np.int64)
    return frame_trace(frame, lines, source, problems, meta, read=read, note_disorder=False)


def _prompt(
    call: AgentCall,
    calls: Sequence[AgentCall],
    before: _Prompt | None,
    spoken_tokens: int,
    counts: _Counts,
) -> _Prompt:
    length = call.usage.input_tokens or 0
    if before is None:
        return _first(call, length, max(0, length - spoken_tokens), counts)
    assert call.after is not None
    earlier = calls[call.after]
    whole = int(before.tokens.sum())
    if call.goes_on and length >= whole:
        segments, tokens = [before.segments], [before.tokens]
        grown, said = length - whole, earlier.usage.output_tokens or 0
        if said and grown >= said:
            segments.append(_ids("response", earlier.name))
            tokens.append(np.array([said]))
            grown -= said
        else:
            counts.lost_responses += bool(said)
    else:
        counts.apart += 1
        kept = min(max(before.start, call.usage.hit_tokens or 0), whole, length)
        found = before.cut(kept)
        segments, tokens = [found[0]], [found[1]]
        grown = length - kept
    if grown:
        segments.append(_ids("said", call.added) if call.added else _ids("unknown", call.name))
        tokens.append(np.array([grown]))
    return _Prompt(np.concatenate(segments), np.concatenate(tokens), before.start)


def _first(call: AgentCall, length: int, start: int, counts: _Counts) -> _Prompt:
    """Return the first prompt of a conversation: what is shared of its start, its own, the rest."""
    counts.start_tokens += start
    shared = min(start, call.usage.hit_tokens or start)
    parts = (
        (("start", *call.start), shared),
        (("start of", call.name), start - shared),
        (("said", call.added), length - start),
    )
    known = [(_ids(*names), tokens) for names, tokens in parts if tokens]
    empty = np.zeros(0, np.uint64)
    segments = np.concatenate([empty, *(ids for ids, _ in known)])
    return _Prompt(segments, np.array([tokens for _, tokens in known], np.int64), start)


def _ids(*names: str) -> np.ndarray:
    """Return the one segment of that name as an array."""
    return np.array([segment_id(*names)], np.uint64)


def _frame(
    calls: Sequence[AgentCall], prompts: Sequence[_Prompt]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the calls as a frame, and notes on what could not be kept."""
    usages = [call.usage for call in calls]
    content = segment_columns([(prompt.segments, prompt.tokens) for prompt in prompts])
    frame = pl.DataFrame(
        {
            "arrival_ns": pl.Series([call.arrival_ns for call in calls], dtype=pl.Int64),
            "input_tokens": pl.Series([use.input_tokens or 0 for use in usages], dtype=pl.Int64),
            "output_tokens": pl.Series([use.output_tokens or 0 for use in usages], dtype=pl.Int64),
            "response_segment": pl.Series(
                [segment_id("response", call.name) for call in calls], dtype=pl.UInt64
            ),
            SESSION: pl.Series([call.session for call in calls], dtype=pl.String),
        }
    )
    own = [joined_values(call.other, call.usage.columns() | {CALL: call.name}) for call in calls]
    other, dropped = scalar_columns(own, taken=frame.columns)
    return frame.with_columns(*content, *other), dropped_note(dropped)


def _notes(counts: _Counts, splitter: str) -> list[str]:
    found = [
        f"{counts.start_tokens:,} tokens of first prompts are in none of their messages: the log "
        "holds neither the system prompt nor the tools, and prompts are as long as the provider "
        f"counted (messages are counted by {splitter})",
        "assumed: sessions of one version, model and folder start alike, as far as the provider "
        "read from its cache, all the way where it read nothing",
    ]
    if counts.apart:
        found.append(
            f"{counts.apart:,} prompts do not hold the one before (compacted, rewound, edited); "
            "assumed: they share its start, and what the provider read from its cache"
        )
    if counts.lost_responses:
        found.append(
            f"{counts.lost_responses:,} responses do not come back whole in the next prompt, "
            "which grew by less: their reasoning was left out"
        )
    return found
