"""Tables of lengths: text with a header of known names, and a request in each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.column_tables import FrameTable, read_table
from replay.trace.readers.column_values import Telling, counts_in
from replay.trace.readers.content_requests import NO_RESPONSE, SESSION
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import beside


def read_lengths(
    source: Source, problems: ProblemList, names: Sequence[str], *, delimiter: str = ","
) -> FrameTable:
    """Return the table in a file of text; columns may stand in any order, beside others.

    Adds to the problems what breaks a row; raises TraceError where a column is missing.
    """
    table = read_table(source, problems, kind="csv", delimiter=delimiter)
    assert isinstance(table, FrameTable)
    missing = [name for name in names if name not in table.frame.columns]
    if missing:
        got = ", ".join(map(shown, table.frame.columns)) or "nothing"
        problems.add(f"the header lacks {', '.join(missing)} (got {got})", line=1)
        problems.hint("--columns reads tables of other columns")
        problems.raise_any()
    return table


def lengths_in(
    table: FrameTable, rows: Telling, *, prompt: str, response: str
) -> tuple[pl.Series, pl.Series]:
    """Return the columns of these names as input_tokens and output_tokens, Int64.

    Null where a fault was told. A row without a response is left out, whatever its prompt; an
    empty prompt with a response is a fault.
    """
    inputs, outputs = (
        counts_in(table.column(name), rows, lowest=0, highest=LARGEST_TOKENS).alias(meant)
        for name, meant in ((prompt, "input_tokens"), (response, "output_tokens"))
    )
    failed = (outputs == 0).fill_null(False).to_numpy()
    for row in np.flatnonzero(failed).tolist():
        rows.problems.leave_out(int(rows.lines[row]), NO_RESPONSE)
    empty = (inputs == 0).fill_null(False).to_numpy()
    for row in np.flatnonzero(empty & ~failed).tolist():
        rows.tell(row, f"{prompt} must be at least 1 where there is a response (got 0)")
    return inputs, outputs


def others_of(
    table: FrameTable, used: Sequence[str], known: Sequence[pl.Series]
) -> tuple[list[pl.Series], tuple[str, ...]]:
    """Return the columns that are not used, under names that none of `known` has, and notes."""
    return beside(table.rest(used)[0], [SESSION, *(column.name for column in known)])
