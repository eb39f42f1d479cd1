"""Token-id traces, written: what `replay.trace.readers.llmservingsim` reads, in its flat form."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from replay.errors import InputError
from replay.trace.frame import Trace
from replay.trace.separation import NEVER_SHARED, deciding_columns, separating_columns
from replay.trace.tokens import tokens_of
from replay.writing.whole import whole_file

_HELD = frozenset(
    {"request_id", "arrival_ns", "input_tokens", "output_tokens", "tokens", "response_tokens"}
)


def write_llmservingsim(
    trace: Trace, path: str | Path, *, block_size: int | None = None, force: bool = False
) -> list[str]:
    """Write the trace as JSON lines of token ids, exact to the nanosecond; return what is lost.

    Token ids are made from segments where the trace has none; a trace of lengths is written
    without ids; the columns that keep requests apart, and `skips_lookup`, are written beside.
    Raises InputError for a block size, and for a trace that knows block ids alone;
    OutputExistsError where a file is there already, OutputError where writing fails.
    """
    if block_size is not None:
        raise InputError("the llmservingsim format holds tokens, no blocks", hint="no --block-size")
    if trace.has_segments and not trace.has_tokens:
        trace = tokens_of(trace)
    if trace.has_blocks and not trace.has_tokens:
        raise InputError(
            "the trace knows block ids, and the llmservingsim format holds token ids",
            hint="write it as parquet or mooncake",
        )
    columns = [
        pl.col("input_tokens").alias("input_toks"),
        pl.col("output_tokens").alias("output_toks"),
        pl.col("arrival_ns").alias("arrival_time_ns"),
    ]
    if trace.has_tokens:
        columns.append(pl.col("tokens").alias("input_tok_ids"))
    if "response_tokens" in trace.frame.columns:
        columns.append(pl.col("response_tokens").alias("output_tok_ids"))
    decide = [name for name in deciding_columns(trace) if name not in _HELD]
    columns += map(pl.col, decide)
    with whole_file(Path(path), force=force) as file:
        trace.frame.select(columns).write_ndjson(file)
    others = [name for name in trace.frame.columns if name not in _HELD.union(decide)]
    lost = [f"columns {', '.join(others)}"] if others else []
    if set(separating_columns(trace)) - set(NEVER_SHARED):
        named = ",".join(separating_columns(trace))
        lost.append(f"what separates requests: read it with --separate-by {named}")
    return lost
