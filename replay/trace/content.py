"""Block ids of any size, from whatever a trace knows of its content."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.kernels.tree.content import number_blocks
from replay.trace.blocks import codes_as_seen, flat_blocks
from replay.trace.frame import Trace, canonical_trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList
from replay.trace.separation import apart, separating_columns
from replay.trace.tree import PrefixTree, build_tree

ENGINE_BLOCK = 16  # of content that is known to the token: the default of vLLM


def natural_block_size(trace: Trace) -> int:
    """Return the block size that keeps a trace's hits: its own, else that of an engine."""
    return trace.meta.block_size or ENGINE_BLOCK


def block_ids_of(trace: Trace, block_size: int) -> Trace:
    """Return the trace with prefix-chained `block_ids` of `block_size` tokens.

    Where responses are known, `response_block_ids` are those of the full blocks they complete. Ids
    that are of this size already stay as they are. Others are made from segments, token ids or
    block ids of another size, whichever the trace has first, and count from zero in order of first
    appearance, those of prompts first. A partial last block shares its id with whole prompts that
    are equal alone. Requests that share nothing (`replay.trace.separation`) have no id in common:
    where they do, all ids are counted anew. Linear in blocks. Raises InputError for a block size
    below one and for a trace of unknown content, TraceError where content and lengths disagree.
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
    tree = build_tree(trace)
    lists = _with_responses(tree, block_size) if tree.has_responses else _prompts(tree, block_size)
    meta = replace(trace.meta, block_size=block_size).noting(*_notes(trace, block_size))
    frame = trace.frame.drop("response_block_ids", strict=False).with_columns(lists)
    return replace(canonical_trace(frame, meta), rejected=trace.rejected)


def _prompts(tree: PrefixTree, block_size: int) -> list[pl.Series]:
    counts = -(-tree.input_tokens // block_size)
    ids = _numbered(tree, tree.prompt_stops, block_size, int(counts.sum()))
    return [list_column(ids, counts).alias("block_ids")]


def _with_responses(tree: PrefixTree, block_size: int) -> list[pl.Series]:
    """Return ids of prompts, and of the full blocks that responses complete."""
    ends = tree.path_offsets[1:]
    tokens = tree.edge_stop[tree.path_edges[ends - 1]]
    counts = -(-tokens // block_size)
    ids = _numbered(tree, ends, block_size, int(counts.sum()))
    owner = np.repeat(np.arange(tree.requests), counts)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)
    full = tree.input_tokens // block_size
    whole = place < full[owner]
    left = tree.input_tokens % block_size > 0
    # The ends of prompts that are no full block: named by the edge, as those of paths are.
    last = tree.path_edges[tree.prompt_stops - 1][left]
    tails = np.unique(last, return_inverse=True)[1].astype(np.uint64) + np.uint64(len(ids))
    prompts = np.insert(ids[whole], np.cumsum(full)[left], tails)
    response = ~whole & (place < (tokens // block_size)[owner])
    completed = np.bincount(owner[response], minlength=tree.requests)
    # Counted anew, prompts first, so that their ids are those of prompts alone.
    codes = codes_as_seen(np.concatenate([prompts, ids[response]]))[0].astype(np.uint64)
    own, others = np.split(codes, [len(prompts)])
    return [
        list_column(own, full + left).alias("block_ids"),
        list_column(others, completed).alias("response_block_ids"),
    ]


def _numbered(tree: PrefixTree, stops: np.ndarray, block_size: int, total: int) -> np.ndarray:
    """Return the ids of the blocks of all paths up to `stops`, uint64[total]."""
    return number_blocks(
        tree.path_offsets,
        stops,
        tree.path_edges,
        tree.edge_start,
        tree.edge_stop,
        block_size,
        total,
    )


def _with_ids_apart(trace: Trace) -> Trace:
    lists = {
        name: flat_blocks(trace.frame[name])
        for name in ("block_ids", "response_block_ids")
        if name in trace.frame.columns
    }
    owners = np.concatenate([flat.requests for flat in lists.values()])
    codes, size = codes_as_seen(np.concatenate([flat.ids for flat in lists.values()]))
    own, distinct = apart(codes, size, owners, trace)
    if distinct == size:
        return trace
    parts = np.split(own.astype(np.uint64), [len(lists["block_ids"].ids)])
    ids = [
        list_column(part, flat.counts).alias(name)
        for (name, flat), part in zip(lists.items(), parts, strict=False)
    ]
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
