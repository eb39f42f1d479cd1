"""The prefix tree seen in KV blocks: which blocks end on which edge, for one block size.

A block belongs to the edge that holds its last token, so an edge that spans tokens s..t owns
blocks s // B up to t // B, whatever the block size. The cache then never looks at tokens again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.trace.paths import append_edges
from replay.trace.tree import PrefixTree


@dataclass(frozen=True, slots=True)
class BlockPaths:
    """Edges and paths in blocks, with tails and responses appended as edges of their own.

    Edges: the tree's E edges come first; `first` and `blocks` int64, in a plan int32 (index of the
    first block along the prompt, number of blocks), `stop_tokens` alike. Requests (R): path_edges
    [start:prompt_stop] is the prompt (with its tail, in partial mode), [prompt_stop:stop] the
    response; `prompt_blocks`, `match_blocks` (the most a look-up may return, 0 where none is made)
    and `path_blocks` int64. `tree_edge` int64 maps every edge to the tree edge it reports to, -1
    for responses.
    """

    first: np.ndarray
    blocks: np.ndarray
    stop_tokens: np.ndarray
    path_edges: np.ndarray
    start: np.ndarray
    prompt_stop: np.ndarray
    stop: np.ndarray
    prompt_blocks: np.ndarray
    match_blocks: np.ndarray
    path_blocks: np.ndarray
    tree_edge: np.ndarray


def block_paths(
    tree: PrefixTree,
    output_tokens: np.ndarray,
    *,
    block_size: int,
    partial_blocks: bool,
    responses: bool,
) -> BlockPaths:
    """Return the tree in blocks of `block_size` tokens.

    Full blocks only, as engines cache them, and at least one token left to compute; with
    `partial_blocks` the partial last block of a prompt counts too, found again by an identical
    prompt only, and responses are left out. A response of m tokens leaves KV for m - 1: the last
    one sampled is never computed. Responses the tree does not know get an edge of their own.
    """
    tokens = tree.input_tokens
    if not responses:
        tree = tree.prompts_only()
    full, tail = tokens // block_size, tokens % block_size
    first, stop = tree.edge_start // block_size, tree.edge_stop // block_size
    parts = [(first, stop - first, tree.edge_stop, np.arange(tree.edges))]
    extra = np.full(tree.requests, -1, np.int64)
    prompt_blocks, match_blocks, path_blocks = full, (tokens - 1) // block_size, full
    if partial_blocks:
        last_edge = tree.path_edges[tree.path_offsets[1:] - 1].astype(np.int64)
        owners, which = np.unique(last_edge[tail > 0], return_inverse=True)
        extra[tail > 0] = tree.edges + which
        owner_stop = tree.edge_stop[owners]
        parts.append((owner_stop // block_size, np.ones_like(owners), owner_stop, owners))
        prompt_blocks = match_blocks = path_blocks = full + (tail > 0)
    elif responses:
        last = tokens + output_tokens - 1
        path_blocks = last // block_size
        unknown = np.flatnonzero((tree.prompt_stops == tree.path_offsets[1:]) & (last > tokens))
        extra[unknown] = tree.edges + np.arange(len(unknown))
        nowhere = np.full(len(unknown), -1, np.int64)
        parts.append((full[unknown], (path_blocks - full)[unknown], last[unknown], nowhere))
    match_blocks = np.where(tree.looks_up, match_blocks, 0)
    path_edges, offsets = append_edges(tree, extra)
    start, end = offsets[:-1], offsets[1:]
    known = start + (tree.prompt_stops - tree.path_offsets[:-1])
    first, blocks, stop_tokens, tree_edge = map(np.concatenate, zip(*parts, strict=True))
    return BlockPaths(
        first=first,
        blocks=blocks,
        stop_tokens=stop_tokens,
        path_edges=path_edges,
        start=start,
        prompt_stop=end if partial_blocks else known,
        stop=end,
        prompt_blocks=prompt_blocks,
        match_blocks=match_blocks,
        path_blocks=path_blocks,
        tree_edge=tree_edge,
    )
