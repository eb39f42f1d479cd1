"""Mooncake traces, written: what `replay.trace.readers.mooncake` reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from replay.trace.blocks import dense_codes, flat_blocks
from replay.trace.content import block_ids_of, natural_block_size
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.readers.mooncake_deltas import BLOCK_SIZE
from replay.trace.separation import skipping
from replay.units import NS_PER_MS
from replay.writing.whole import whole_file

_LARGEST_ID = 2**63 - 1


_HELD = frozenset(
    ("request_id", "arrival_ns", "input_tokens", "output_tokens", "block_ids", "response_block_ids")
)


def write_mooncake(
    trace: Trace, path: str | Path, *, block_size: int | None = None, force: bool = False
) -> list[str]:
    """Write the trace as JSON lines in Mooncake's format and return what it loses.

    Arrivals are cut to whole milliseconds: order stays, gaps move by less than one, and requests
    of one millisecond arrive together. Content is written as block ids of `block_size` tokens, by
    default the trace's own, else 16, made where the trace has others; requests that share nothing
    have none in common. Known responses are in `response_hash_ids`, the ids of the full blocks they
    complete, which other programs pass over; sessions and other columns are not written, but for
    `skips_lookup`.
    The file appears whole or not. Raises OutputExistsError where a file is there already,
    OutputError where writing fails, InputError for a trace of unknown content.
    """
    path = Path(path)
    size = block_size or natural_block_size(trace)
    frame = block_ids_of(trace, size).frame
    names = [name for name in ("block_ids", "response_block_ids") if name in frame.columns]
    ids = _readable_ids([frame[name].fill_null([]) for name in names])
    kept = [] if skipping(trace) is None else ["skips_lookup"]
    rows = frame.select(
        (pl.col("arrival_ns") // NS_PER_MS).alias("timestamp"),
        pl.col("input_tokens").alias("input_length"),
        pl.col("output_tokens").alias("output_length"),
        *(
            one.alias(name)
            for name, one in zip(("hash_ids", "response_hash_ids"), ids, strict=False)
        ),
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


def _readable_ids(columns: list[pl.Series]) -> list[pl.Series]:
    """Return ids that fit the format, which has signed ones: dense codes where some do not."""
    lists = [flat_blocks(column) for column in columns]
    ids = np.concatenate([flat.ids for flat in lists])
    if int(ids.max(initial=0)) <= _LARGEST_ID:
        return columns
    codes = np.split(dense_codes(ids)[0], np.cumsum([len(flat.ids) for flat in lists])[:-1])
    return [list_column(own, flat.counts) for own, flat in zip(codes, lists, strict=True)]
