"""A part of a trace: a window of time, or a random sample of sessions or requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from replay.errors import InputError, UnknownNameError
from replay.trace.frame import Trace
from replay.units import format_duration

SAMPLED_BY = ("session", "request")
_NOTHING = "the trace would have no requests left"


def window(trace: Trace, start_ns: int, stop_ns: int) -> Trace:
    """Return the requests that arrive from `start_ns` on and before `stop_ns`, from zero again.

    What came before is unknown to the result: sessions that run into the window start within it,
    and its first requests find less to reuse than they did. Raises InputError for a window that
    is empty.
    """
    if not 0 <= start_ns < stop_ns:
        raise InputError(
            f"a window must end after it starts (got {format_duration(start_ns)} to "
            f"{format_duration(stop_ns)})"
        )
    arrival = trace.column("arrival_ns")
    keep = (arrival >= start_ns) & (arrival < stop_ns)
    if not keep.any():
        raise InputError(
            f"no request arrives between {format_duration(start_ns)} and "
            f"{format_duration(stop_ns)}: {_NOTHING}",
            hint=f"the trace is {format_duration(int(arrival[-1]))} long",
        )
    note = (
        f"window from {format_duration(start_ns)} to {format_duration(stop_ns)}: "
        f"{int(keep.sum()):,} of {trace.requests:,} requests"
    )
    return kept_rows(trace, keep, note)


def sample(trace: Trace, share: float, *, by: str, seed: int) -> Trace:
    """Return a random share of the sessions, whole, or of the requests one by one.

    By session, reuse within sessions stays as it is, and reuse across them thins out; by request,
    both do. A request without a session is one of its own. Deterministic for a seed; a smaller
    share is part of a larger one. Raises InputError for a share out of (0, 1], or by session
    where there are none, UnknownNameError for another way of sampling.
    """
    if by not in SAMPLED_BY:
        raise UnknownNameError("way of sampling", by, SAMPLED_BY)
    if not 0 < share <= 1:
        raise InputError(f"a sample must be a share above 0 and up to 1 (got {share:g})")
    if by == "session" and not trace.has_sessions:
        raise InputError(
            "the trace has no sessions to sample by", hint="--by request samples single requests"
        )
    unit = np.arange(trace.requests)
    if by == "session":
        known = trace.frame["session_id"].is_not_null().to_numpy()
        session = trace.frame["session_id"].fill_null(0).to_numpy()
        _, code = np.unique(np.where(known, session, -1 - unit), return_inverse=True)
        first = np.full(code.max() + 1, trace.requests)
        np.minimum.at(first, code, unit)
        unit = first[code]  # the session's first request draws for all of it
    keep = np.random.default_rng(seed).random(trace.requests)[unit] < share
    if not keep.any():
        raise InputError(f"a sample of {share:g}: {_NOTHING}", hint="take a larger share")
    note = (
        f"sample of {share:g} by {by} (seed {seed}): {int(keep.sum()):,} of {trace.requests:,} "
        "requests; reuse across sessions is less than in the whole"
    )
    return kept_rows(trace, keep, note)


def kept_rows(trace: Trace, keep: np.ndarray, note: str) -> Trace:
    """Return the requests to keep, bool[R], counted and timed from zero; lost parents are null."""
    place = np.cumsum(keep) - 1
    frame = trace.frame.filter(pl.Series(keep))
    columns = [
        pl.Series("request_id", np.arange(frame.height, dtype=np.int64)),
        frame["arrival_ns"] - frame["arrival_ns"][0],
    ]
    if "parent_request_id" in frame.columns:
        parent = frame["parent_request_id"]
        row = parent.fill_null(0).to_numpy()
        known = parent.is_not_null().to_numpy() & keep[row]
        moved = pl.Series("parent_request_id", place[row].astype(np.int64))
        columns.append(moved.set(pl.Series(~known), None))
    if "turn" in frame.columns and "session_id" in frame.columns:
        turn = (pl.col("request_id").cum_count().over("session_id") - 1).cast(pl.Int32)
        columns.append(
            frame.with_columns(columns[0])
            .select(pl.when(pl.col("session_id").is_not_null()).then(turn).alias("turn"))
            .to_series()
        )
    meta = trace.meta.noting(note)
    if meta.clock_start_ns is not None:
        meta = replace(meta, clock_start_ns=meta.clock_start_ns + int(frame["arrival_ns"][0]))
    return trace.changed(frame.with_columns(columns), meta)
