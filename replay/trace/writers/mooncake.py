"""Mooncake traces, written: what `replay.trace.readers.mooncake` reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from replay.trace.blocks import dense_codes, flat_blocks
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.readers.mooncake import BLOCK_SIZE
from replay.trace.whole_file import whole_file
from replay.units import NS_PER_MS

_LARGEST_ID = 2**63 - 1


def write_mooncake(
    trace: Trace, path: str | Path, *, block_size: int = BLOCK_SIZE, force: bool = False
) -> Path:
    """Write the trace as JSON lines in Mooncake's format and return the path.

    Arrivals are cut to whole milliseconds: order stays, gaps move by less than one, and requests
    of one millisecond arrive together. Content is written as block ids of `block_size` tokens,
    made where the trace has others; sessions, responses and the other columns are not written.
    The file appears whole or not. Raises OutputExistsError where a file is there already,
    OutputError where writing fails, InputError for a trace of unknown content.
    """
    path = Path(path)
    frame = block_ids_of(trace, block_size).frame
    rows = frame.select(
        timestamp=pl.col("arrival_ns") // NS_PER_MS,
        input_length="input_tokens",
        output_length="output_tokens",
        hash_ids=_readable_ids(frame["block_ids"]),
    )
    with whole_file(path, force=force) as file:
        rows.write_ndjson(file)
    return path


def _readable_ids(lists: pl.Series) -> pl.Series:
    """Return ids that fit the format, which has signed ones: dense codes where some do not."""
    flat = flat_blocks(lists)
    if int(flat.ids.max(initial=0)) <= _LARGEST_ID:
        return lists
    codes, _ = dense_codes(flat.ids)
    return list_column(codes, flat.counts)
