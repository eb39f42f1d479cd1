"""Content by assumption, for traces with sessions and lengths: longer prompts continue a session.

What a client of a chat model does: it sends all that was said so far, and something new.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.frame import Trace
from replay.trace.lists import list_column

ASSUMED = "assumed: a prompt longer than all that its session said before contains it"


def may_assume(trace: Trace) -> bool:
    """Return whether a trace has sessions and lengths, and nothing that says what prompts hold."""
    return trace.has_sessions and not trace.has_content


def continue_sessions(trace: Trace) -> Trace:
    """Return the trace with segments: each prompt is the session so far, then what is new.

    A request continues the one before it in its session when its prompt is longer than that one's
    prompt and response together; otherwise it starts anew, and so does one without a session.
    Raises InputError where there are no sessions, or where the content is known already.
    """
    if trace.has_content:
        raise InputError(
            "the trace says what its prompts contain: nothing is to be assumed",
            hint="leave trace.content out",
        )
    if not trace.has_sessions:
        raise InputError(
            "the trace has no sessions that could be continued", hint="leave trace.content out"
        )
    session = trace.frame["session_id"].rank("dense").fill_null(0).to_numpy().astype(np.int64)
    order = np.argsort(session, kind="stable")
    session = session[order]
    input_tokens = trace.column("input_tokens")[order]
    output_tokens = trace.column("output_tokens")[order]
    said = np.append(0, (input_tokens + output_tokens)[:-1])
    follows = (session > 0) & (session == np.append(-1, session[:-1])) & (input_tokens > said)
    places = np.arange(len(order))
    first = np.maximum.accumulate(np.where(follows, 0, places))
    # Two segments a request, in order: what is new in its prompt, and its response.
    tokens = np.stack([input_tokens - np.where(follows, said, 0), output_tokens], axis=1).ravel()
    counts = 2 * (places - first) + 1
    at = np.repeat(2 * first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    back = np.argsort(order, kind="stable")
    frame = trace.frame.with_columns(
        segments=list_column(at.astype(np.uint64), counts).gather(back),
        segment_tokens=list_column(tokens[at].astype(np.int32), counts).gather(back),
        response_segment=pl.Series((2 * places + 1).astype(np.uint64)).gather(back),
    )
    note = f"content is {ASSUMED} ({int(follows.sum()):,} of {trace.requests:,} requests continue)"
    meta = replace(trace.meta, content=ASSUMED, shared_ids=False)  # segments count in this trace
    return trace.changed(frame, meta.noting(note))
