"""The prefix tree of a trace: every prompt as a short list of edges.

Everything downstream walks this tree. Its depth counts tokens, so one tree serves every block
size: the block that ends at token (i + 1) * B lies on the edge that holds that token.
Where content is known to the token (segments, token ids) the tree is exact to the token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from replay.errors import Problem, TraceError
from replay.kernels.tree.grow import (
    CHAINED,
    TWO_PARENTS,
    compress_edges,
    link_blocks,
    request_paths,
)
from replay.kernels.tree.radix import insert_units, order_edges
from replay.trace.block_units import units_of_blocks
from replay.trace.blocks import codes_as_seen, flat_blocks
from replay.trace.separation import apart, roots_of, skipping
from replay.trace.units import units_of

if TYPE_CHECKING:
    from replay.trace.frame import Trace


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """A path-compressed trie of all prompts, and of the responses where they are known.

    Edges (E): `edge_parent` int32, -1 at a root; `edge_start` and `edge_stop` int64, token depths;
    `edge_last_id` uint64, the source's id of what its last token lies in: a block where
    `ids_are_blocks`, else a segment or a token. A parent comes before its children. Requests (R):
    the edges of request r from the root are `path_edges[path_offsets[r]:path_offsets[r + 1]]`,
    int32; those of its prompt end at place `prompt_stops[r]`, int64, and what follows is the KV its
    response leaves, `output_tokens` - 1 tokens of it; nothing follows where that is unknown.
    `input_tokens` int64; `skips` bool says which requests ask for no reuse: they hit nothing,
    whatever is there.
    """

    edge_parent: np.ndarray
    edge_start: np.ndarray
    edge_stop: np.ndarray
    edge_last_id: np.ndarray
    path_offsets: np.ndarray
    path_edges: np.ndarray
    prompt_stops: np.ndarray
    input_tokens: np.ndarray
    skips: np.ndarray | None = None
    ids_are_blocks: bool = False

    @property
    def edges(self) -> int:
        """Number of edges."""
        return len(self.edge_parent)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.input_tokens)

    @property
    def looks_up(self) -> np.ndarray:
        """Which requests look for what they could reuse, bool[R]."""
        return np.ones(self.requests, np.bool_) if self.skips is None else ~self.skips

    @property
    def last_block_ids(self) -> np.ndarray | None:
        """The source's id of each edge's last block, uint64[E]; None where it has no block ids."""
        return self.edge_last_id if self.ids_are_blocks else None

    @property
    def has_responses(self) -> bool:
        """Whether the tree holds the response of any request."""
        return bool((self.prompt_stops < self.path_offsets[1:]).any())

    def prompts_only(self) -> PrefixTree:
        """Return the tree without responses: edges that no prompt uses keep their numbers."""
        if not self.has_responses:
            return self
        lengths = self.prompt_stops - self.path_offsets[:-1]
        offsets = np.zeros(self.requests + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        places = np.arange(offsets[-1]) + np.repeat(self.path_offsets[:-1] - offsets[:-1], lengths)
        return replace(
            self, path_offsets=offsets, path_edges=self.path_edges[places], prompt_stops=offsets[1:]
        )


def build_tree(trace: Trace) -> PrefixTree:
    """Return the prefix tree of a trace; a prompt of unknown content shares nothing.

    Content is taken from the finest source there is: segments, token ids, block ids. Requests
    that `replay.trace.separation` keeps apart share nothing either, whatever their content. Linear
    in segments, tokens or blocks. Raises TraceError where block ids turn out not to be
    prefix-chained, or where segments or tokens do not add up to the lengths.
    """
    if trace.has_segments or trace.has_tokens or trace.has_block_responses:
        return _tree_of_units(trace)
    if not trace.has_blocks:
        return _unshared(trace)
    assert trace.meta.block_size is not None
    input_tokens = trace.column("input_tokens")
    flat = flat_blocks(trace.frame["block_ids"])
    offsets, ids = flat.offsets, flat.ids.view(np.uint64)
    codes, distinct = apart(*codes_as_seen(ids), flat.requests, trace)
    fault, request, parent, tokens, children, ends, first = link_blocks(
        offsets, codes, input_tokens, trace.meta.block_size, distinct
    )
    if fault != CHAINED:
        what = "follows two different ids" if fault == TWO_PARENTS else "stands for two lengths"
        raise TraceError(
            [Problem(trace.meta.path, f"request {request}: a block id {what}")],
            hint="block ids must be prefix-chained: an id names a block and all that precedes it",
        )
    edge_of_code, is_head, edge_parent, start, stop, last = compress_edges(
        parent, tokens, children, ends
    )
    path_offsets, path_edges = request_paths(offsets, codes, edge_of_code, is_head)
    return PrefixTree(
        edge_parent=edge_parent,
        edge_start=start,
        edge_stop=stop,
        edge_last_id=ids[first[last]],
        path_offsets=path_offsets,
        path_edges=path_edges,
        prompt_stops=path_offsets[1:],
        input_tokens=input_tokens,
        skips=skipping(trace),
        ids_are_blocks=True,
    )


def _tree_of_units(trace: Trace) -> PrefixTree:
    names, roots = None, roots_of(trace)
    if trace.has_segments or trace.has_tokens:
        flat = units_of(trace)
    else:
        named = units_of_blocks(trace)
        flat, names = named.flat, named.names
    slots = 1 << max(10, (8 * trace.requests).bit_length())
    found = insert_units(
        flat.offsets, flat.prompt_stops, flat.units, flat.unit_tokens, roots, slots
    )
    parent, start, stop, last_unit, path_offsets, prompt_stops, path_edges = order_edges(
        *found, flat.units, flat.unit_tokens
    )
    return PrefixTree(
        edge_parent=parent,
        edge_start=start,
        edge_stop=stop,
        edge_last_id=last_unit if names is None else names[last_unit],
        path_offsets=path_offsets,
        path_edges=path_edges,
        prompt_stops=prompt_stops,
        input_tokens=trace.column("input_tokens"),
        skips=skipping(trace),
        ids_are_blocks=names is not None,
    )


def _unshared(trace: Trace) -> PrefixTree:
    input_tokens, requests = trace.column("input_tokens"), trace.requests
    return PrefixTree(
        edge_parent=np.full(requests, -1, np.int32),
        edge_start=np.zeros(requests, np.int64),
        edge_stop=input_tokens.copy(),
        edge_last_id=np.zeros(requests, np.uint64),
        path_offsets=np.arange(requests + 1, dtype=np.int64),
        path_edges=np.arange(requests, dtype=np.int32),
        prompt_stops=np.arange(1, requests + 1, dtype=np.int64),
        input_tokens=input_tokens,
        skips=skipping(trace),
    )
