"""Paths of a prefix tree with an edge of their own at the end of some of them."""

from __future__ import annotations

import numpy as np

from replay.trace.tree import PrefixTree


def append_edges(tree: PrefixTree, extra: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (path_edges int32, offsets int64[R+1]) with edge `extra[r]`, where not -1, ending r.

    Of a tree without responses those are the ends of prompts, otherwise of prompts and responses.
    """
    more = extra >= 0
    lengths = np.diff(tree.path_offsets) + more
    offsets = np.zeros(tree.requests + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    path_edges = np.empty(int(offsets[-1]), np.int32)
    shift = np.repeat(offsets[:-1] - tree.path_offsets[:-1], np.diff(tree.path_offsets))
    path_edges[np.arange(len(tree.path_edges)) + shift] = tree.path_edges
    path_edges[offsets[1:][more] - 1] = extra[more]
    return path_edges, offsets
