"""Requests as the logs of APIs have them: text, or lengths alone, and what the provider counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from replay.errors import InputError
from replay.trace.chat import Chat, prompt_text, response_text
from replay.trace.chat_template import ChatTemplate
from replay.trace.frame import SESSIONS_NONE, SESSIONS_SOURCE, Trace, TraceMeta, canonical_trace
from replay.trace.problems import ProblemList
from replay.trace.readers.api_usage import Usage
from replay.trace.readers.kept_requests import kept_requests, order_notes
from replay.trace.readers.named_sessions import SESSION, but_its_session, with_turns
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import (
    KeyNotes,
    dropped_note,
    joined_values,
    scalar_columns,
)
from replay.trace.readers.text_requests import (
    NO_RESPONSE,
    UNDATED_NOTE,
    TextRequest,
    date_of,
    template_of,
    writable,
)
from replay.trace.readers.text_trace import text_trace

LENGTHS_ONLY = "unknown: lengths only, as the provider counted them"
_ASSUMED_LENGTHS = (
    "the source has no responses; assumed: each is as long as the request allows, "
    "one token where it sets no limit"
)
_NO_TEXT = "has no text of its prompt, which other rows have"
_NO_LENGTHS = "has neither the text of its prompt nor the tokens that the provider counted"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request of a log; `line` is where it stands.

    What was said is a `chat`, which a template writes, or a `prompt` that is text as it is with
    its `response`; with neither, the text is not there. `wanted_tokens` is the longest response it
    allowed, `other` are the source's own values.
    """

    line: int
    arrival_ns: int
    prompt: str | None = None
    response: str = ""
    chat: Chat | None = None
    usage: Usage = field(default_factory=Usage)
    session: str | None = None
    wanted_tokens: int | None = None
    other: Mapping[str, object] = field(default_factory=dict)

    @property
    def has_text(self) -> bool:
        """Whether the text of its prompt is there."""
        return self.prompt is not None or self.chat is not None


def logged_trace(
    requests: Sequence[LoggedRequest],
    source: Source,
    options: ReadOptions,
    problems: ProblemList,
    *,
    format_name: str,
    read: int,
    notes: Sequence[str] = (),
    clock_start_ns: int | None = None,
    sessions_inferred: bool = False,
) -> Trace:
    """Return the trace of these requests: by their text, by lengths where no request has any.

    Chats are written by the template of the options, on the day of each request where the clock
    counts from 1970. What the provider counted is kept as `recorded_input_tokens`,
    `recorded_hit_tokens` and `recorded_output_tokens`; notes compare them with the tokens of the
    text. Raises TraceError where some requests have text and others none.
    """
    if not any(request.has_text for request in requests):
        return _trace_of_lengths(
            requests, source, problems,
            format_name=format_name, read=read, notes=notes, clock_start_ns=clock_start_ns,
        )  # fmt: skip
    template = template_of(options)
    assumed = _responses_assumed(requests)
    if assumed:
        notes = [*notes, _ASSUMED_LENGTHS]
    texts = []
    for request in requests:
        written = _written(request, template, problems, dated=clock_start_ns is not None)
        if written is not None:
            texts.append(_as_text(request, *written, assumed=assumed))
    chats = any(request.chat is not None for request in requests)
    if chats and template.asks_date and clock_start_ns is None:
        notes = [*notes, UNDATED_NOTE]
    trace = text_trace(
        texts, source, options, problems,
        format_name=format_name, read=read, template=template if chats else None, notes=notes,
        clock_start_ns=clock_start_ns, sessions_inferred=sessions_inferred,
    )  # fmt: skip
    return _compared(trace)


def _written(
    request: LoggedRequest, template: ChatTemplate, problems: ProblemList, *, dated: bool
) -> tuple[str, str] | None:
    """Return prompt and response as text; what hinders that is added to `problems`."""
    if request.chat is None:
        if request.prompt is None:
            problems.add(_NO_TEXT, line=request.line)
            return None
        return request.prompt, request.response
    now = date_of(request.arrival_ns, dated=dated)
    try:
        prompt = prompt_text(template, request.chat, now)
        return prompt, response_text(template, request.chat, prompt, now)
    except InputError as error:  # the template refuses these messages
        problems.add(error.message, line=request.line)
    except RecursionError:
        problems.add("nested too deeply", line=request.line)
    return None


def _responses_assumed(requests: Sequence[LoggedRequest]) -> bool:
    """Return whether these are requests alone, as the input of a batch is."""
    return not any(
        request.response
        or request.usage.output_tokens
        or (request.chat is not None and request.chat.reply)
        for request in requests
    )


def _as_text(request: LoggedRequest, prompt: str, response: str, *, assumed: bool) -> TextRequest:
    tokens = None
    if assumed:
        tokens = request.wanted_tokens or 1
    elif not response or request.usage.hidden_tokens:
        tokens = request.usage.output_tokens
    return TextRequest(
        line=request.line,
        arrival_ns=request.arrival_ns,
        prompt=prompt,
        response=response,
        session=request.session,
        response_tokens=tokens,
        counted_tokens=request.usage.output_tokens,
        other=joined_values(request.other, request.usage.columns()),
    )


def _compared(trace: Trace) -> Trace:
    """Return the trace with notes on how its counts of tokens differ from the provider's."""
    notes = [
        note
        for what, name in (("prompts", "input_tokens"), ("responses", "output_tokens"))
        if (note := _comparison(trace, what, name))
    ]
    return trace.changed(trace.frame, trace.meta.noting(*notes)) if notes else trace


def _comparison(trace: Trace, what: str, name: str) -> str | None:
    if f"recorded_{name}" not in trace.frame.columns:
        return None
    known = trace.frame.filter(pl.col(f"recorded_{name}") > 0)
    recorded = int(known[f"recorded_{name}"].sum())
    if not recorded:
        return None
    counted = int(known[name].cast(pl.Int64).sum())
    return (
        f"{what} have {counted / recorded:.3f} times the tokens that the provider counted "
        f"({counted:,} for {recorded:,}, in {known.height:,} of {trace.requests:,} requests)"
    )


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
    kept, late = kept_requests(requests, problems, read=read)
    frame, dropped = _frame_of_lengths(kept)
    all_notes = [*notes, *dropped_note(dropped)]
    all_notes += order_notes(late, clock_start_ns)
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
    counted = [
        joined_values(but_its_session(request.other, request.session), request.usage.columns())
        for request in requests
    ]
    other, dropped = scalar_columns(counted, taken=[*frame.columns, SESSION])
    frame = frame.with_columns(other).drop("recorded_input_tokens", "recorded_output_tokens")
    sessions = [writable(request.session) for request in requests]
    names = pl.Series(SESSION, sessions, pl.String)
    if names.null_count() < len(names):
        frame = with_turns(frame.with_columns(names), names)
    return frame, dropped
