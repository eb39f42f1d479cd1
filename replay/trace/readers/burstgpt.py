"""BurstGPT: CSV of requests to ChatGPT and GPT-4, times in whole seconds, lengths in tokens.

    Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
    5,ChatGPT,472,18,490,Conversation log

BurstGPT_3 has `Session ID` and `Elapsed time` (s, to the end of the response) behind `Timestamp`,
so columns are found by name. `Timestamp` counts from 0:00 of the first day; 0 `Response tokens`
say that a request failed (https://github.com/HPMLL/BurstGPT).
"""

from __future__ import annotations

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
from replay.trace.readers.length_tables import (
    lengths_in,
    others_of,
    read_lengths,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import HeaderShape, fits_any
from replay.trace.readers.source import Source

_TOTAL = "Total tokens"
_KIND = "Log Type"
_SESSION = "Session ID"
_ELAPSED = "Elapsed time"
_CONVERSATION = "Conversation log"
_NAMES = ("Timestamp", "Model", "Request tokens", "Response tokens", _TOTAL, _KIND)
_SHAPES = (HeaderShape(_NAMES),)


def looks_like_burstgpt(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a BurstGPT trace."""
    return fits_any(head, _SHAPES)


def read_burstgpt(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a BurstGPT file: lengths, and in the third sessions and measured times.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    table = read_lengths(source, problems, _NAMES)
    rows = Telling(problems, table.lines)
    known = [
        times_in(table.column("Timestamp"), rows, unit="s").alias("arrival_ns"),
        *lengths_in(table, rows, prompt="Request tokens", response="Response tokens"),
        names_in(table.column("Model"), rows).alias("model"),
        names_in(table.column(_KIND), rows),
    ]
    if _SESSION in table.frame.columns:
        known.append(_sessions(table, rows))
    if _ELAPSED in table.frame.columns:
        elapsed = times_in(table.column(_ELAPSED), rows, unit="s", required=False)
        known.append(elapsed.alias("recorded_e2e_ns"))
    _check_totals(table, rows, *known[1:3])
    others, notes = others_of(table, (*_NAMES, _SESSION, _ELAPSED), known)
    meta = source_meta(
        source,
        format_name="burstgpt",
        content=LENGTHS_ONLY,
        notes=notes,
        clock_start_ns=0,
        shared_ids=True,
    )
    return frame_trace(
        pl.DataFrame(known + others), table.lines, table, problems, meta, read=table.read
    )


def _sessions(table: FrameTable, rows: Telling) -> pl.Series:
    """Return the names of sessions; calls of the API have none."""
    names = names_in(table.column(_SESSION), rows)
    talks = (table.frame[_KIND] == _CONVERSATION).fill_null(False)
    return names.set(~talks, None).alias(SESSION)


def _check_totals(table: FrameTable, rows: Telling, prompt: pl.Series, response: pl.Series) -> None:
    """Tell where the total of a request that did not fail is not that of its lengths."""
    total = counts_in(table.column(_TOTAL), rows, lowest=0, highest=2 * LARGEST_TOKENS)
    wrong = (total != prompt + response) & (response > 0)
    for row in np.flatnonzero(wrong.fill_null(False).to_numpy()).tolist():
        rows.tell(
            row,
            f"{_TOTAL} must be {prompt[row]} + {response[row]}, what was asked and answered "
            f"(got {total[row]})",
        )


BURSTGPT = Reader(
    name="burstgpt",
    suffixes=(".csv",),
    meaning="CSV: Timestamp in s, Request tokens and Response tokens of BurstGPT 1, 2 and 3",
    content="none; prompts that grow are taken to continue their session, unless told not to",
    sessions="Session ID of conversations, in BurstGPT_3",
    assumes="a row without response tokens failed and is left out",
    sniff=looks_like_burstgpt,
    read=read_burstgpt,
    shapes=_SHAPES,
)
