"""What prompts share inside a block: an assumption for traces that only know whole blocks.

An id of a block of 512 tokens hides that two prompts part 300 tokens into it, so a cache that
matches single tokens seems to find less than it would. Two things can be assumed of it: that all
prompts below the same parent start with a system prompt of a known length, and that two prompts
which part in a block agree on a share of it. Every block then becomes two segments: the head that
all children of its parent have in common, and the rest that is its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from replay.errors import InputError
from replay.trace.blocks import codes_as_seen, flat_blocks
from replay.trace.frame import Trace
from replay.trace.lists import list_column


def share_within_blocks(trace: Trace, *, system_prompt_tokens: int, shared_part: float) -> Trace:
    """Return the trace with segments in place of its block ids, heads of blocks shared.

    The first `system_prompt_tokens` tokens of all prompts below the same parent block are equal;
    beyond them, prompts that part agree on `shared_part` (0..1) of the block they part in, rounded
    down. Raises InputError for a trace without block ids.
    """
    block_size = trace.meta.block_size
    if not trace.has_blocks or block_size is None:
        raise InputError(
            "the trace has no block ids, so nothing is hidden in blocks",
            hint="leave trace.system_prompt_tokens and trace.shared_block_part out",
        )
    flat = flat_blocks(trace.frame["block_ids"])
    codes, _ = codes_as_seen(flat.ids)
    place = np.arange(len(codes)) - np.repeat(flat.offsets[:-1], flat.counts)
    tokens = np.full(len(codes), block_size, np.int64)
    used = flat.counts > 0
    whole = (flat.counts[used] - 1) * block_size
    tokens[flat.offsets[1:][used] - 1] = trace.column("input_tokens")[used] - whole
    system = np.clip(system_prompt_tokens - place * block_size, 0, block_size)
    head = np.minimum(np.maximum(system, int(shared_part * block_size)), tokens)
    parent = np.full(len(codes), -1, np.int64)
    parent[1:] = codes[:-1]
    parent[flat.offsets[:-1][used]] = -1
    segments = np.stack([2 * parent + 3, 2 * codes.astype(np.int64)], axis=1).ravel()
    lengths = np.stack([head, tokens - head], axis=1).ravel()
    kept = lengths > 0
    upto = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(kept, out=upto[1:])
    counts = np.diff(upto[2 * flat.offsets])
    known = trace.frame.drop("block_ids", "response_block_ids", strict=False)
    frame = known.with_columns(
        list_column(segments[kept].astype(np.uint64), counts).alias("segments"),
        list_column(lengths[kept].astype(np.int32), counts).alias("segment_tokens"),
    )
    meta = replace(trace.meta, shared_ids=False)  # segments are numbered in this trace
    said = [_said(system_prompt_tokens, shared_part)]
    if trace.has_block_responses:
        said.append("responses were left out: nothing is assumed of the blocks they complete")
    return trace.changed(frame, meta.noting(*said))


def _said(system_prompt_tokens: int, shared_part: float) -> str:
    parts = []
    if system_prompt_tokens:
        parts.append(f"all prompts share their first {system_prompt_tokens:,} tokens")
    if shared_part:
        parts.append(f"prompts that part in a block agree on {shared_part:.0%} of it")
    return f"content assumed inside blocks: {'; '.join(parts)}"
