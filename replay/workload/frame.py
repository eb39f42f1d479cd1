"""Drawn requests as a canonical trace: in order of arrival, prompts written out as segments."""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.kernels.tree.prompts import write_prompts
from replay.progress import Hook
from replay.trace.frame import (
    MOST_SPAN_NS,
    SESSIONS_SOURCE,
    Trace,
    TraceMeta,
    canonical_trace,
)
from replay.trace.lists import list_column
from replay.units import NS_PER_S
from replay.workload.messages import Messages
from replay.workload.profiles import NamedProfile
from replay.workload.requests import KINDS, Requests

CONTENT = "segments of the generator, exact to the token"
FORMAT = "generated"
_ROWS_AT_ONCE = 100_000


def to_trace(
    named: NamedProfile,
    requests: Requests,
    rows: np.ndarray,
    *,
    messages: Messages,
    notes: tuple[str, ...],
    progress: Hook,
) -> Trace:
    """Return requests in order of arrival as a trace; `rows` are their places among all drawn.

    A parent that is not among them is none. The clock starts at the first arrival.
    """
    exact_ns = np.rint(requests.arrival_s * NS_PER_S)
    if not np.all(np.abs(exact_ns) < MOST_SPAN_NS):
        raise InputError(
            "requests would arrive over more years than a trace may span, 73",
            hint="a higher --rate or fewer --requests",
        )
    arrival_ns = exact_ns.astype(np.int64)
    tick = named.profile.arrivals.tick
    if tick:
        arrival_ns -= arrival_ns % tick
    arrival_ns -= arrival_ns[0]
    parts = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        progress("Writing prompts", start, len(rows))
        some = requests.take(np.arange(start, min(start + _ROWS_AT_ONCE, len(rows))))
        parts.append(_prompts(some, messages))
    names = pl.Series([client.name for client in named.profile.clients])
    frame = pl.DataFrame(
        {
            "request_id": np.arange(len(rows)),
            "arrival_ns": arrival_ns,
            "session_id": _numbered(requests.sessions),
            "turn": requests.turns.astype(np.int32),
            "parent_request_id": _parents(requests.parents, rows),
            "input_tokens": requests.input_tokens.astype(np.int32),
            "output_tokens": requests.output_tokens.astype(np.int32),
            "response_segment": requests.response_segments,
            "kind": pl.Series(KINDS).gather(requests.kinds),
            "forgotten_tokens": requests.forgotten_tokens.astype(np.int32),
            "client": names.gather(requests.clients),
        }
    )
    frame = pl.concat([frame, pl.concat(parts)], how="horizontal")
    meta = TraceMeta(
        path=named.path,
        name=named.name,
        sha256=named.fingerprint,
        format=FORMAT,
        block_size=None,
        content=CONTENT,
        sessions=SESSIONS_SOURCE,
        notes=notes,
    )
    return canonical_trace(frame, meta)


def _numbered(sessions: np.ndarray) -> np.ndarray:
    """Return session numbers that count from zero as sessions come into the trace."""
    _, first, number = np.unique(sessions, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[number]


def _parents(parents: np.ndarray, rows: np.ndarray) -> pl.Series:
    """Return the new places of parents, null where they were left out."""
    places = np.full(max(int(rows.max()), int(parents.max())) + 2, -1, np.int64)
    places[rows] = np.arange(len(rows))
    found = places[parents]  # NO_PARENT reads the last place, which no row has
    return pl.Series(found).replace(-1, None)


def _prompts(requests: Requests, messages: Messages) -> pl.DataFrame:
    """Return the columns `segments` and `segment_tokens`."""
    offsets = np.zeros(len(requests) + 1, np.int64)
    np.cumsum(requests.prompt_segments, out=offsets[1:])
    segments, tokens = np.empty(offsets[-1], np.uint64), np.empty(offsets[-1], np.int32)
    write_prompts(
        requests.tips,
        requests.heads,
        messages.stops(requests.heads),
        requests.forgotten_tokens,
        offsets,
        messages.segments,
        messages.tokens,
        messages.previous,
        messages.starts,
        segments,
        tokens,
    )
    counts = requests.prompt_segments
    return pl.DataFrame(
        {
            "segments": list_column(segments, counts),
            "segment_tokens": list_column(tokens, counts),
        }
    )
