"""Several traces made one: ids renamed where they are a file's own, joined where they are shared.

Block ids, segments and sessions are a file's own and get new names, unless its source says that
they mean the same in every file (`TraceMeta.shared_ids`); sessions then go by the names in
`source_session_id`. Token ids mean the same everywhere. Files that share a clock keep their
distance in time; others all start at zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.added_notes import added_notes
from replay.trace.blocks import dense_codes, flat_blocks
from replay.trace.frame import SESSIONS_NONE, Trace, TraceMeta, canonical_trace
from replay.trace.lists import list_column
from replay.trace.sessions import infer_sessions

SOURCE_FILE = "source_file"
SOURCE_SESSION = "source_session_id"
_CONTENT = ("block_ids", "segments", "tokens")
_IDS = ("block_ids", "response_block_ids")
_PART = "_part"
_SHOWN_NOTES = 12
_HINT = "convert both to blocks of one size first: replay convert --block-size N"


def merge_traces(traces: Sequence[Trace], *, path: str, name: str) -> Trace:
    """Return one trace with the requests of all, in order of arrival; ties keep the order given.

    The column `source_file` names where each request is from. Raises InputError where some know
    content that others do not, or block sizes differ: hit rates of a mixture mean nothing. Where
    some have sessions, they are inferred for the others.
    """
    if len(traces) == 1:
        return traces[0]
    _check_alike(traces)
    if any(trace.has_sessions for trace in traces):
        traces = [infer_sessions(trace) for trace in traces]
    shared = all(trace.meta.shared_ids for trace in traces)
    clocks = [trace.meta.clock_start_ns for trace in traces]
    known = [clock for clock in clocks if clock is not None]
    earliest = min(known) if len(known) == len(clocks) else None
    starts = [0 if earliest is None else (clock or 0) - earliest for clock in clocks]
    merged = _stacked(traces, starts)
    if "block_ids" in merged.columns and not shared:
        merged = merged.with_columns(_renamed_blocks(merged))
    if "segments" in merged.columns and not shared:
        merged = merged.with_columns(_renamed_segments(merged))
    joined = shared and SOURCE_SESSION in merged.columns
    if "session_id" in merged.columns:
        session = pl.struct(_PART, "session_id")
        if joined:  # but of those that were inferred, which have no name
            unnamed = pl.col(SOURCE_SESSION).is_null()
            session = pl.struct(SOURCE_SESSION, pl.when(unnamed).then(session))
        codes = pl.when(pl.col("session_id").is_not_null()).then(session.rank("dense") - 1)
        merged = merged.with_columns(session_id=codes.cast(pl.Int64))
    meta = _meta(traces, path=path, name=name, clock_start_ns=earliest, shared_ids=shared)
    trace = canonical_trace(merged.drop(_PART), meta)
    if joined:
        trace = _with_turns(trace)
    return replace(trace, rejected=tuple(row for part in traces for row in part.rejected))


def _check_alike(traces: Sequence[Trace]) -> None:
    def known(trace: Trace) -> str:
        return ", ".join(name for name in _CONTENT if name in trace.frame.columns) or "lengths only"

    first = traces[0]
    for other in traces[1:]:
        if known(other) != known(first):
            raise InputError(
                f"{first.meta.name} and {other.meta.name} do not know the same of their content "
                f"(got {known(first)} and {known(other)})",
                hint="leave out those that know less, or replay them on their own",
            )
        if other.meta.block_size != first.meta.block_size:
            raise InputError(
                f"{first.meta.name} and {other.meta.name} have blocks of different sizes "
                f"(got {first.meta.block_size} and {other.meta.block_size})",
                hint=_HINT,
            )


def _stacked(traces: Sequence[Trace], starts: Sequence[int]) -> pl.DataFrame:
    """Return the rows of all, one file after another; parents count rows of the whole."""
    frames, rows = [], 0
    for part, (trace, start) in enumerate(zip(traces, starts, strict=True)):
        frame = trace.frame.drop("request_id").with_columns(
            pl.col("arrival_ns") + start, pl.lit(part, pl.Int32).alias(_PART)
        )
        if SOURCE_FILE not in frame.columns:
            frame = frame.with_columns(pl.lit(trace.meta.name).alias(SOURCE_FILE))
        if "parent_request_id" in frame.columns:
            frame = frame.with_columns(pl.col("parent_request_id") + rows)
        frames.append(frame)
        rows += trace.requests
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        what = str(error).splitlines()[0]
        raise InputError(f"columns of these traces do not go together ({what})") from error


def _renamed_blocks(frame: pl.DataFrame) -> list[pl.Series]:
    part = frame[_PART].to_numpy()
    names = [name for name in _IDS if name in frame.columns]
    lists = [flat_blocks(frame[name]) for name in names]
    ids = np.concatenate([flat.ids for flat in lists])
    codes = _codes_by_part(ids, np.concatenate([part[flat.requests] for flat in lists]))
    stops = np.cumsum([len(flat.ids) for flat in lists])
    return [
        list_column(own, flat.counts).alias(name)
        for name, flat, own in zip(names, lists, np.split(codes, stops[:-1]), strict=True)
    ]


def _renamed_segments(frame: pl.DataFrame) -> list[pl.Series]:
    flat, part = flat_blocks(frame["segments"]), frame[_PART].to_numpy()
    if "response_segment" not in frame.columns:
        codes = _codes_by_part(flat.ids, part[flat.requests])
        return [list_column(codes, flat.counts).alias("segments")]
    known = frame["response_segment"].is_not_null().to_numpy()
    responses = frame["response_segment"].fill_null(0).to_numpy()
    codes = _codes_by_part(
        np.concatenate([flat.ids, responses[known]]),
        np.concatenate([part[flat.requests], part[known]]),
    )
    renamed = np.zeros(frame.height, np.uint64)
    renamed[known] = codes[len(flat.ids) :]
    return [
        list_column(codes[: len(flat.ids)], flat.counts).alias("segments"),
        pl.Series("response_segment", renamed).set(pl.Series(~known), None),
    ]


def _codes_by_part(ids: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return ids counted on from file to file; `part` must not be in order."""
    codes = np.zeros(len(ids), np.uint64)
    start = 0
    for number in np.unique(part):
        own = part == number
        dense, count = dense_codes(ids[own])
        codes[own] = dense.astype(np.uint64) + np.uint64(start)
        start += count
    return codes


def _with_turns(trace: Trace) -> Trace:
    """Return the trace with turns counted anew, for sessions that run from file to file."""
    turn = (pl.col("request_id").cum_count().over("session_id") - 1).cast(pl.Int32)
    before = pl.col("request_id").shift(1).over("session_id")
    known = pl.col("session_id").is_not_null()
    parent = (
        pl.coalesce("parent_request_id", before)
        if "parent_request_id" in trace.frame.columns
        else before
    )
    frame = trace.frame.with_columns(
        turn=pl.when(known).then(turn), parent_request_id=pl.when(known).then(parent)
    )
    return trace.changed(frame)


def _meta(
    traces: Sequence[Trace],
    *,
    path: str,
    name: str,
    clock_start_ns: int | None,
    shared_ids: bool,
) -> TraceMeta:
    metas = [trace.meta for trace in traces]
    formats = sorted({meta.format for meta in metas})
    digest = hashlib.sha256("".join(meta.sha256 for meta in metas).encode()).hexdigest()
    clock = "on their common clock" if clock_start_ns is not None else "all start at zero"
    ids = "ids are shared" if shared_ids else "ids are each file's own"
    notes = added_notes(meta.notes for meta in metas)
    shown = [f"merged from {len(metas)} files ({clock}; {ids})", *notes[:_SHOWN_NOTES]]
    if len(notes) > _SHOWN_NOTES:
        shown.append(f"and {len(notes) - _SHOWN_NOTES:,} more notes on single files")
    sessions = list(
        dict.fromkeys(meta.sessions for meta in metas if meta.sessions != SESSIONS_NONE)
    )
    named = {meta.separate_by for meta in metas}
    return TraceMeta(
        path=path,
        name=name,
        sha256=digest,
        format="+".join(formats),
        block_size=metas[0].block_size,
        content="; ".join(dict.fromkeys(meta.content for meta in metas)),
        sessions="; ".join(sessions) or SESSIONS_NONE,
        rejected_rows=sum(meta.rejected_rows for meta in metas),
        notes=tuple(shown),
        clock_start_ns=clock_start_ns,
        shared_ids=shared_ids,
        separate_by=named.pop() if len(named) == 1 else None,
    )
