"""The prefix tree of a trace: every prompt as a short list of edges.

Everything downstream walks this tree. Its depth counts tokens, so one tree serves every block
size: the block that ends at token (i + 1) * B lies on the edge that holds that token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from replay.errors import Problem, TraceError
from replay.kernels.factorize import codes_of_any_ids, codes_of_small_ids
from replay.kernels.tree import (
    CHAINED,
    TWO_PARENTS,
    compress_edges,
    link_blocks,
    request_paths,
)

if TYPE_CHECKING:
    from replay.trace.frame import Trace

_SMALL_ID_FACTOR = 4  # ids below this many times their number get a direct table


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """A path-compressed trie of all prompts.

    Edges (E): `edge_parent` int32, -1 at a root; `edge_start` and `edge_stop` int64, token depths;
    `edge_last_block` uint64, the source's id of the last block. A parent comes before its
    children. Requests (R): the edges of request r from the root are
    `path_edges[path_offsets[r]:path_offsets[r + 1]]`, int32; `input_tokens` int64.
    """

    edge_parent: np.ndarray
    edge_start: np.ndarray
    edge_stop: np.ndarray
    edge_last_block: np.ndarray
    path_offsets: np.ndarray
    path_edges: np.ndarray
    input_tokens: np.ndarray

    @property
    def edges(self) -> int:
        """Number of edges."""
        return len(self.edge_parent)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.input_tokens)


def build_tree(trace: Trace) -> PrefixTree:
    """Return the prefix tree of a trace; a prompt without block ids shares nothing.

    Linear in block ids. Raises TraceError where the ids turn out not to be prefix-chained.
    """
    input_tokens = trace.frame["input_tokens"].to_numpy().astype(np.int64)
    if "block_ids" not in trace.frame.columns or trace.meta.block_size is None:
        return _unshared(input_tokens)
    lists = trace.frame["block_ids"]
    offsets = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lists.list.len().fill_null(0).to_numpy(), out=offsets[1:])
    ids = lists.explode(empty_as_null=False, keep_nulls=False).to_numpy().view(np.uint64)
    codes, distinct = _codes(ids)
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
        edge_last_block=ids[first[last]],
        path_offsets=path_offsets,
        path_edges=path_edges,
        input_tokens=input_tokens,
    )


def _codes(ids: np.ndarray) -> tuple[np.ndarray, int]:
    largest = int(ids.max(initial=0))
    if largest < _SMALL_ID_FACTOR * max(len(ids), 1):
        return codes_of_small_ids(ids.view(np.int64), largest)
    slots = 1 << max(10, (len(ids) // 4).bit_length())
    return codes_of_any_ids(ids, slots)


def _unshared(input_tokens: np.ndarray) -> PrefixTree:
    requests = len(input_tokens)
    return PrefixTree(
        edge_parent=np.full(requests, -1, np.int32),
        edge_start=np.zeros(requests, np.int64),
        edge_stop=input_tokens.copy(),
        edge_last_block=np.zeros(requests, np.uint64),
        path_offsets=np.arange(requests + 1, dtype=np.int64),
        path_edges=np.arange(requests, dtype=np.int32),
        input_tokens=input_tokens,
    )
