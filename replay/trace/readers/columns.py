"""Any CSV, JSON lines or Parquet file whose columns a YAML file gives their meaning.

    columns: {arrival: {name: ts, unit: ms}, input_tokens: usage.prompt_tokens,
              output_tokens: usage.completion_tokens, session: user, block_ids: hashes}
    block_size: 64

The YAML file is checked as `replay.config.columns` says; no file is recognised as this format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.blocks import flat_blocks
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList
from replay.trace.readers.block_checks import fresh_id, hint_at_sizes
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.column_tables import Table, read_table
from replay.trace.readers.column_values import (
    ISO,
    Telling,
    counts_in,
    ids_in,
    names_in,
    times_in,
    tokens_in,
)
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    SESSION,
    frame_trace,
    source_meta,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, source_name

if TYPE_CHECKING:
    from replay.config.columns import ColumnNames, Columns

_YEAR_2001_NS = 10**18  # times on a clock of the file's own are far below
_NO_COLUMNS = "a table of any columns needs --columns, a YAML file that says what they mean"


def looks_like_columns(head: bytes) -> bool:  # noqa: ARG001
    """Return False: what columns mean cannot be seen."""
    return False


def read_columns(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a table whose columns the options name a mapping for.

    Raises InputError without a mapping, ConfigError for a broken one, UnknownNameError where it
    names a column that is not there, TraceError for rows that are faulty.
    """
    if options.columns is None:
        raise InputError(_NO_COLUMNS)
    from replay.config.columns import Columns
    from replay.config.load import load_document

    mapping = load_document(options.columns, Columns)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    table = read_table(source, problems, kind=mapping.format, delimiter=mapping.delimiter)
    rows = Telling(problems, table.lines)
    frame = pl.DataFrame(list(_known(table, mapping.columns, rows)))
    if not frame.height and not problems.total:
        problems.add("no requests")
    keep = problems.settle(table.lines, read=table.read)
    frame, lines = frame.filter(keep), table.lines[keep]
    frame, notes = _with_content(frame, mapping, Telling(problems, lines), source.sha256)
    others, dropped = table.rest(_used(mapping.columns))
    frame = frame.with_columns(_renamed(series.filter(pl.Series(keep)), frame) for series in others)
    content = LENGTHS_ONLY
    if mapping.columns.block_ids:
        content = "block ids of the source" + ("" if mapping.block_ids_chained else ", chained")
    elif mapping.columns.tokens:
        content = "token ids of the source"
    meta = source_meta(
        source,
        format_name="columns",
        content=content,
        block_size=mapping.block_size,
        notes=(*notes, *dropped_note(dropped)),
        clock_start_ns=_clock_start_ns(frame, mapping.columns),
    )
    aside = _Aside(table, problems)
    return frame_trace(frame, lines, aside.source(), problems, meta, read=table.read)
