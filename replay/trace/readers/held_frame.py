"""A frame in memory as a trace: by its own canonical columns, by a mapping, or row by row as JSON.

Rows count from 0, as a frame counts them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.errors import InputError, Problem, TraceError
from replay.trace.frame import SESSIONS_SOURCE, Trace, TraceMeta, canonical_trace
from replay.trace.parquet import check_blocks
from replay.trace.problems import ProblemList
from replay.trace.readers.column_tables import FrameTable
from replay.trace.readers.columns import trace_of_table
from replay.trace.readers.content_requests import LENGTHS_ONLY
from replay.trace.readers.options import ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source

if TYPE_CHECKING:
    from replay.config.columns import Columns

_HASHED_ROWS = 1 << 16  # at a time
_LINE = re.compile(r"\bline (\d+)")
CANONICAL = ("arrival_ns", "input_tokens", "output_tokens")
_CONTENT = (
    ("segments", "segments of the frame, exact to the token"),
    ("tokens", "token ids of the frame"),
    ("block_ids", "block ids of the frame, prefix-chained"),
)


def trace_of_canonical(frame: pl.DataFrame, *, name: str, block_size: int | None) -> Trace:
    """Return the trace in a frame that has the columns of `replay.schema.TRACE` already.

    Raises TraceError where a column is missing, of another type or out of range, or where block
    ids do not fit, and InputError for block ids without a block size.
    """
    if "block_ids" in frame.columns and block_size is None:
        raise InputError("block_ids need a block_size", hint="block_size=16, say: tokens in one")
    if "block_ids" not in frame.columns and block_size is not None:
        raise InputError("block_size has no effect without a column block_ids")
    content = next((what for column, what in _CONTENT if column in frame.columns), LENGTHS_ONLY)
    meta = TraceMeta(name, name, _digest(frame), "frame", block_size, content)
    if "session_id" in frame.columns:
        meta = replace(meta, sessions=SESSIONS_SOURCE)
    trace = canonical_trace(frame, meta)
    if trace.has_blocks:
        check_blocks(trace)
    return trace


def trace_of_columns(
    frame: pl.DataFrame, mapping: Columns, *, name: str, max_rejected: float
) -> Trace:
    """Return the trace in a frame whose columns a mapping names; raises as `read_columns` does."""
    problems = ProblemList(name, allowed=max_rejected)
    source = Source(name, name, b"", _digest(frame))
    lines = np.arange(1, frame.height + 1)
    table = FrameTable(source, frame, lines, frame.height, is_text=False)
    with _rows_from_zero(name):
        return _renumbered(trace_of_table(table, mapping, problems))


def trace_of_rows(frame: pl.DataFrame, reader: Reader, *, name: str, options: ReadOptions) -> Trace:
    """Return the trace that a format's reader finds in the rows of a frame, each a JSON object.

    Values that a row lacks are left out of its object. Raises what the reader raises.
    """
    reader.refuse_others(options)
    rows = (json.dumps(_whole(row), default=str) for row in frame.iter_rows(named=True))
    data = "".join(f"{row}\n" for row in rows).encode()
    source = Source(name, name, data, hashlib.sha256(data).hexdigest())
    with _rows_from_zero(name):
        return _renumbered(reader.read(source, options))


def _digest(frame: pl.DataFrame) -> str:
    """Return what tells a frame from others: the SHA-256 of its rows in Arrow's format."""
    hashed = hashlib.sha256(repr(frame.schema).encode())
    for part in frame.iter_slices(_HASHED_ROWS):
        anew = part[np.arange(part.height)]  # whatever buffers its rows lie in
        whole = anew.write_ipc_stream(None, compat_level=pl.CompatLevel.oldest())
        hashed.update(whole.getbuffer())
    return hashed.hexdigest()


def _whole(value: object) -> object:
    """Return a value without the nulls that a frame has where JSON has nothing."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items() if item is not None}
    return [_whole(item) for item in value] if isinstance(value, list) else value


@contextmanager
def _rows_from_zero(name: str) -> Iterator[None]:
    try:
        yield
    except TraceError as error:
        problems = [
            Problem(
                name if one.line is None else f"{name}, row {one.line - 1}",
                _LINE.sub(lambda found: f"row {int(found[1]) - 1}", one.message),
            )
            for one in error.problems
        ]
        raise TraceError(problems, total=error.total, hint=error.hint) from None


def _renumbered(trace: Trace) -> Trace:
    rejected = (replace(one, line=one.line - 1) for one in trace.rejected)
    return replace(trace, rejected=tuple(rejected))
