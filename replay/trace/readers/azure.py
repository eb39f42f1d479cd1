"""Azure LLM inference traces: CSV of arrivals and lengths, of 2023, 2024 and of multimodal models.

    TIMESTAMP,ContextTokens,GeneratedTokens
    2023-11-16 18:17:03.9799600,4808,10

Times are dates in UTC, with seven digits of a second in 2023 and with an offset in 2024
(https://github.com/Azure/AzurePublicDataset); the multimodal trace has NumImages too. Nothing is
known of content or of sessions.
"""

from __future__ import annotations

import polars as pl

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.column_values import ISO, Telling, counts_in, times_in
from replay.trace.readers.content_requests import LENGTHS_ONLY, frame_trace, source_meta
from replay.trace.readers.length_tables import (
    lengths_in,
    others_of,
    read_lengths,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import HeaderShape, fits_any
from replay.trace.readers.source import Source

_COLUMNS = _TIME, _INPUT, _OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
_IMAGES = "NumImages"
_SHAPES = (HeaderShape(_COLUMNS),)


def looks_like_azure(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an Azure trace."""
    return fits_any(head, _SHAPES)


def read_azure(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an Azure CSV file: arrivals and lengths.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    table = read_lengths(source, problems, _COLUMNS)
    rows = Telling(problems, table.lines)
    known = [
        times_in(table.column(_TIME), rows, unit=ISO).alias("arrival_ns"),
        *lengths_in(table, rows, prompt=_INPUT, response=_OUTPUT),
    ]
    if _IMAGES in table.frame.columns:
        known.append(counts_in(table.column(_IMAGES), rows, lowest=0, highest=LARGEST_TOKENS))
    others, notes = others_of(table, (*_COLUMNS, _IMAGES), known)
    frame = pl.DataFrame(known + others)
    meta = source_meta(
        source, format_name="azure", content=LENGTHS_ONLY, notes=notes, clock_start_ns=0
    )
    return frame_trace(frame, table.lines, table, problems, meta, read=table.read)


AZURE = Reader(
    name="azure",
    suffixes=(".csv",),
    meaning="CSV: TIMESTAMP, ContextTokens, GeneratedTokens of Azure's traces of 2023 to 2025",
    content="none",
    sessions="none",
    assumes="dates without an offset are UTC; a row without generated tokens failed",
    sniff=looks_like_azure,
    read=read_azure,
    shapes=_SHAPES,
)
