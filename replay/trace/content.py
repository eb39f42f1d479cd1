"""Block ids of any size, from whatever a trace knows of its content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from replay.errors import InputError
from replay.kernels.content import number_blocks
from replay.trace.blocks import codes_as_seen, flat_blocks
from replay.trace.frame import Trace, canonical_trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList
from replay.trace.separation import apart, separating_columns
from replay.trace.tree import build_tree


def block_ids_of(trace: Trace, block_size: int) -> Trace:
    """Return the trace with prefix-chained `block_ids` of `block_size` tokens.

    Ids that are of this size already stay as they are. Others are made from segments, token ids
    or block ids of another size, whichever the trace has first, and count from zero in order of
    first appearance. A partial last block shares its id with whole prompts that are equal alone.
    Requests that share nothing (`replay.trace.separation`) have no id in common: where they do,
    all ids are counted anew.
    Linear in blocks. Raises InputError for a block size below one and for a trace of unknown
    content, TraceError where content and lengths disagree.
    """
    if block_size < 1:
        raise InputError(f"block_size must be at least 1 (got {block_size})")
    if not trace.has_content:
        raise InputError(
            "the trace says nothing of content: it has no block ids, segments or tokens",
            hint="requests known by length alone cannot be told to share a block",
        )
    if trace.has_blocks:
        _check_counts(trace)
        if trace.meta.block_size == block_size:
            return _with_ids_apart(trace)
    counts = -(-trace.column("input_tokens") // block_size)
    tree = build_tree(trace)
    ids = number_blocks(
        tree.path_offsets,
        tree.prompt_stops,
        tree.path_edges,
        tree.edge_start,
        tree.edge_stop,
        block_size,
        int(counts.sum()),
    )
    meta = replace(trace.meta, block_size=block_size).noting(*_notes(trace, block_size))
    made = canonical_trace(trace.frame.with_columns(block_ids=list_column(ids, counts)), meta)
    return replace(made, rejected=trace.rejected)


def _with_ids_apart(trace: Trace) -> Trace:
    flat = flat_blocks(trace.frame["block_ids"])
    codes, size = codes_as_seen(flat.ids)
    own, distinct = apart(codes, size, flat, trace)
    if distinct == size:
        return trace
    ids = list_column(own.astype(np.uint64), flat.counts).alias("block_ids")
    kept = " and ".join(separating_columns(trace))
    note = f"block ids were counted anew: prompts of another {kept} have none in common"
    return trace.changed(trace.frame.with_columns(ids), trace.meta.noting(note))


def _check_counts(trace: Trace) -> None:
    size = trace.meta.block_size
    assert size is not None
    wanted = -(-trace.column("input_tokens") // size)
    given = trace.frame["block_ids"].list.len().fill_null(0).to_numpy().astype(np.int64)
    problems = ProblemList(trace.meta.path)
    problems.add_rows(
        np.flatnonzero(given != wanted),
        lambda row: f"request {row}: needs {wanted[row]} block ids of {size} (got {given[row]})",
        lines=None,
    )
    problems.raise_any()


def _notes(trace: Trace, block_size: int) -> tuple[str, ...]:
    if trace.has_segments or trace.has_tokens:
        source = "segments" if trace.has_segments else "token ids"
        return (f"block ids of {block_size} tokens made from {source}",)
    size = trace.meta.block_size
    assert size is not None
    made = f"block ids of {block_size} tokens made from block ids of {size}"
    if block_size % size == 0:
        return (made,)
    return (f"{made}: prompts that part within {size} tokens are taken to part at their start",)
