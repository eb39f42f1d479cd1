"""Mooncake traces, written: what `replay.trace.readers.mooncake` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from replay.trace.blocks import dense_codes, flat_blocks
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.readers.mooncake_deltas import BLOCK_SIZE
from replay.trace.separation import skipping
from replay.units import NS_PER_MS
from replay.writing.whole import whole_file

_LARGEST_ID = 2**63 - 1


_HELD = frozenset({"request_id", "arrival_ns", "input_tokens", "output_tokens", "block_ids"})


def write_mooncake(
    trace: Trace, path: str | Path, *, block_size: int | None = None, force: bool = False
) -> list[str]:
    """Write the trace as JSON lines in Mooncake's format and return what it loses.

    Arrivals are cut to whole milliseconds: order stays, gaps move by less than one, and requests
    of one millisecond arrive together. Content is written as block ids of `block_size` tokens, 512
    by default, made where the trace has others, so that no two requests that share nothing have
    one in common; sessions, responses and other columns are not, but for `skips_lookup`.
    The file appears whole or not. Raises OutputExistsError where a file is there already,
    OutputError where writing fails, InputError for a trace of unknown content.
    """
    path = Path(path)
    size = block_size or BLOCK_SIZE
    frame = block_ids_of(trace, size).frame
    kept = [] if skipping(trace) is None else ["skips_lookup"]
    rows = frame.select(
        (pl.col("arrival_ns") // NS_PER_MS).alias("timestamp"),
        pl.col("input_tokens").alias("input_length"),
        pl.col("output_tokens").alias("output_length"),
        _readable_ids(frame["block_ids"]).alias("hash_ids"),
        *kept,
    )
    with whole_file(path, force=force) as file:
        rows.write_ndjson(file)
    return _lost(trace, size, kept)


def _lost(trace: Trace, size: int, kept: Sequence[str]) -> list[str]:
    arrival = trace.column("arrival_ns")
    fine = int((arrival % NS_PER_MS != 0).sum())
    lost = [f"what {fine:,} arrivals have below a millisecond"] if fine else []
    if trace.has_segments or trace.has_tokens or trace.meta.block_size != size:
        lost.append(f"content finer than blocks of {size} tokens")
    others = [name for name in trace.frame.columns if name not in _HELD.union(kept)]
    if others:
        lost.append(f"columns {', '.join(others)}")
    if size != BLOCK_SIZE:
        lost.append(f"the block size: read it with --trace-block-size {size}")
    return lost


def _readable_ids(lists: pl.Series) -> pl.Series:
    """Return ids that fit the format, which has signed ones: dense codes where some do not."""
    flat = flat_blocks(lists)
    if int(flat.ids.max(initial=0)) <= _LARGEST_ID:
        return lists
    codes, _ = dense_codes(flat.ids)
    return list_column(codes, flat.counts)
