"""Bidaw's interactive conversations: a round of a user in each row, values apart by spaces.

    user_id time_stamp(seconds) query_length response_length round_index
    17 7200 26 38 0

`query_length` is what the user asks in this round, without what was said before, so prompts are
made here: all earlier queries and responses of the user, then this query. The source's own
scripts add up histories alike, and count a unit of length as the KV of one token. Rounds of a user
count from 0 (https://github.com/ShipengHu-777/Interactive-conversation-workload, FAST'26).
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.column_tables import FrameTable
from replay.trace.readers.column_values import Telling, counts_in, names_in, times_in
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    SESSION,
    frame_trace,
    source_meta,
)
from replay.trace.readers.length_tables import lengths_in, others_of, read_lengths
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import HeaderShape, fits_any
from replay.trace.readers.source import Source

_USER = "user_id"
_TIME = "time_stamp(seconds)"
_ROUND = "round_index"
_NAMES = (_USER, _TIME, "query_length", "response_length", _ROUND)
_PART = "_part"
_SHAPES = (HeaderShape(_NAMES, spaced=True),)
_SPACES = re.compile(rb"[ \t]+")
_EDGES = re.compile(rb"^ | (?=\r?$)", re.MULTILINE)
_ODD = (b"\t", b"  ", b" \n", b" \r", b"\n ")


def looks_like_bidaw(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a part of Bidaw's trace."""
    return fits_any(head, _SHAPES)


def read_bidaw(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in one part of Bidaw's, or in several that were put together.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    spaced = replace(source, data=_single_spaced(source.data))
    table, part = _parts(read_lengths(spaced, problems, _NAMES, delimiter=" "))
    rows = Telling(problems, table.lines)
    known = [
        times_in(table.column(_TIME), rows, unit="s").alias("arrival_ns"),
        *lengths_in(table, rows, prompt="query_length", response="response_length"),
        names_in(table.column(_USER), rows).alias(SESSION),
        counts_in(table.column(_ROUND), rows, lowest=0, highest=LARGEST_TOKENS),
    ]
    for row in np.flatnonzero(known[3].is_null().to_numpy()).tolist():
        rows.tell(row, f"lacks {_USER}")
    known[1] = known[1].alias("query_length")
    frame = pl.DataFrame([*known, part])
    frame = frame.with_columns(_links()).with_columns(_history())
    _check_rounds(frame, rows)
    late = int((frame["_starts"] & (frame[_ROUND] > 0)).sum())
    keep = problems.settle(table.lines, read=table.read)
    frame, lines = frame.filter(keep), table.lines[keep]
    others, renamed = others_of(table, _NAMES, known)
    others = [column.filter(pl.Series(keep)) for column in others]
    frame = _with_prompts(frame, Telling(problems, lines)).with_columns(others)
    meta = source_meta(
        source,
        format_name="bidaw",
        content=LENGTHS_ONLY,
        notes=(*_notes(late), *renamed),
        clock_start_ns=0,
        shared_ids=True,
    )
    return frame_trace(frame, lines, source, problems, meta, read=table.read)


def _single_spaced(data: bytes) -> bytes:
    """Return the text with one space between values and none around them; lines stay lines."""
    if not data.startswith(b" ") and not data.endswith(b" ") and not any(o in data for o in _ODD):
        return data
    return _EDGES.sub(b"", _SPACES.sub(b" ", data))


def _parts(table: FrameTable) -> tuple[FrameTable, pl.Series]:
    """Return the table without further headers, and how many were before each row."""
    header = (table.frame[_USER] == _USER) & (table.frame[_ROUND] == _ROUND)
    header = header.fill_null(False)
    part = header.cum_sum().cast(pl.Int64).alias(_PART)
    if not header.any():
        return table, part
    lines = table.lines[~header.to_numpy()]
    read = table.read - int(header.sum())
    return replace(table, frame=table.frame.filter(~header), lines=lines, read=read), part.filter(
        ~header
    )


def _links() -> list[pl.Expr]:
    """Return, for each row, what its user's row before is like; whether it starts a history.

    It does where the row before is of another part, and where it is not the round before.
    """
    before = pl.col(_ROUND).shift(1).over(SESSION)
    first = (pl.col(_PART) != pl.col(_PART).shift(1).over(SESSION)).fill_null(True)
    follows = pl.col(_ROUND) == before + 1
    return [
        before.alias("_before"),
        pl.col("arrival_ns").shift(1).over(SESSION).alias("_before_ns"),
        (first & ~follows.fill_null(False)).alias("_starts"),
        (~first & ~follows).fill_null(False).alias("_breaks"),
    ]


def _history() -> pl.Expr:
    """Return which of its user's histories each row is of; rows put aside later count as well."""
    return pl.col("_starts").cast(pl.Int64).cum_sum().over(SESSION).alias("_history")


def _check_rounds(frame: pl.DataFrame, rows: Telling) -> None:
    """Tell where rounds of a user do not count on in a part, or go back in time."""
    for row in np.flatnonzero(frame["_breaks"].to_numpy()).tolist():
        user, got = frame[SESSION][row], frame[_ROUND][row]
        rows.tell(
            row,
            f"{_ROUND} of user {user} must be {frame['_before'][row] + 1}, one more than in the "
            f"row of that user before (got {got})",
        )
    back = ~frame["_starts"] & (frame["arrival_ns"] < frame["_before_ns"]).fill_null(False)
    for row in np.flatnonzero(back.to_numpy()).tolist():
        user, got = frame[SESSION][row], frame[_ROUND][row]
        rows.tell(row, f"round {got} of user {user} is before the round it follows")


def _with_prompts(frame: pl.DataFrame, rows: Telling) -> pl.DataFrame:
    """Return the frame with prompts of all that a user said and was told, and the query."""
    said = pl.col("query_length") + pl.col("output_tokens")
    frame = frame.with_columns(
        input_tokens=said.cum_sum().over(SESSION, "_history") - pl.col("output_tokens")
    )
    for row in np.flatnonzero((frame["input_tokens"] > LARGEST_TOKENS).to_numpy()).tolist():
        rows.tell(
            row,
            f"with all that was said before, the prompt has {frame['input_tokens'][row]} tokens",
        )
    return frame.drop("_before", "_before_ns", "_starts", "_breaks", "_history", _PART)


def _notes(late: int) -> tuple[str, ...]:
    made = "prompts are all earlier queries and responses of a user, and the query"
    if not late:
        return (made,)
    return (
        made,
        f"{late:,} users start after round 0: their prompts lack what was said before; parts of "
        "the trace that are put together into one file have it",
    )


BIDAW = Reader(
    name="bidaw",
    suffixes=(),
    meaning="text: user_id, time_stamp(seconds), query_length, response_length, round_index",
    content="none; prompts are taken to continue their session, unless told not to",
    sessions="user_id",
    assumes="a prompt is all earlier queries and responses of its user, then the query; lengths, "
    "whose unit the source does not name, are tokens",
    sniff=looks_like_bidaw,
    read=read_bidaw,
    shapes=_SHAPES,
)
