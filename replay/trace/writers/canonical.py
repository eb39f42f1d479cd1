"""Canonical Parquet, as a format among the others."""

from __future__ import annotations

from pathlib import Path

from replay.trace.content import block_ids_of
from replay.trace.frame import CONTENT_COLUMNS, Trace
from replay.trace.parquet import write_trace

_IDS = ("block_ids", "response_block_ids")


def write_canonical(
    trace: Trace, path: str | Path, *, block_size: int | None = None, force: bool = False
) -> list[str]:
    """Write the trace as canonical Parquet and return what is lost: nothing, unless asked for.

    With `block_size`, prompts and responses are kept as block ids of that size alone. Raises
    OutputExistsError where a file is there already, OutputError where writing fails, InputError
    for a block size and a trace of unknown content.
    """
    if block_size is None:
        write_trace(trace, path, force=force)
        return []
    blocks = block_ids_of(trace, block_size)
    finer = [name for name in CONTENT_COLUMNS if name in trace.frame.columns and name not in _IDS]
    write_trace(blocks.changed(blocks.frame.drop(finer)), path, force=force)
    lost = [f"columns {', '.join(finer)}"] if finer else []
    if finer or trace.meta.block_size != block_size:
        lost.insert(0, f"content finer than blocks of {block_size} tokens")
    return lost
