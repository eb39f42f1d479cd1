"""Who shares each edge of the prefix tree: how many prompts, which one first, of how many sessions.

Trees are those of prompts alone (`PrefixTree.prompts_only`). Each walks all paths in stretches, so
that memory does not go with the length of the trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from replay.trace.tree import PrefixTree

_REQUESTS_AT_ONCE = 1 << 18
_EDGES_AT_ONCE = 1 << 20
_PLACES_AT_ONCE = 1 << 21


def requests_on(tree: PrefixTree) -> np.ndarray:
    """Return how many prompts contain each edge, int32[E]."""
    requests = np.zeros(tree.edges, np.int32)
    for start in range(0, len(tree.path_edges), _EDGES_AT_ONCE):
        np.add.at(requests, tree.path_edges[start : start + _EDGES_AT_ONCE], np.int32(1))
    return requests


def first_requests(tree: PrefixTree) -> np.ndarray:
    """Return the first request whose prompt contains each edge, int32[E]; -1 for none."""
    first = np.full(tree.edges, -1, np.int32)
    for start in reversed(range(0, tree.requests, _REQUESTS_AT_ONCE)):
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        offsets = tree.path_offsets[start : stop + 1]
        owner = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(offsets))
        edge = tree.path_edges[offsets[0] : offsets[-1]]
        first[edge[::-1]] = owner[::-1]  # of several assignments to one place the last one stands
    return first


def sessions_on(
    tree: PrefixTree, session: np.ndarray, shared: np.ndarray, requests: np.ndarray
) -> np.ndarray | None:
    """Return how many sessions' prompts contain each of the edges `shared`; None without sessions.

    `session` are ids, -1 for none; `requests` how many prompts contain each. Takes the edges in
    stretches of about as many places in paths.
    """
    if not (session >= 0).any():
        return None
    rank = np.full(tree.edges, -1, np.int32)
    rank[shared] = np.arange(len(shared), dtype=np.int32)
    uses = np.cumsum(requests, dtype=np.int64)
    counts = np.zeros(len(shared), np.int32)
    low = 0
    while low < len(shared):
        before = int(uses[low - 1]) if low else 0
        high = max(int(np.searchsorted(uses, before + _PLACES_AT_ONCE)), low + 1)
        edges, owners = _places_on(tree, rank, low, high)
        known = session[owners] >= 0
        pairs = pl.DataFrame({"edge": edges[known], "session": session[owners[known]]}).unique()
        counts[low:high] = np.bincount(pairs["edge"].to_numpy() - low, minlength=high - low)
        low = high
    return counts


def repeats_on(tree: PrefixTree, known_since: np.ndarray) -> np.ndarray:
    """Return how many prompts find each edge where nothing is ever evicted, int64[E].

    Those that look for it after the first request that leaves it, `known_since` int64[E], which
    may have it in its response.
    """
    repeats, looks_up = np.zeros(tree.edges, np.int64), tree.looks_up
    for start in range(0, tree.requests, _REQUESTS_AT_ONCE):
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        offsets = tree.path_offsets[start : stop + 1]
        owner = np.repeat(np.arange(start, stop), np.diff(offsets))
        edge = tree.path_edges[offsets[0] : offsets[-1]]
        found = (known_since[edge] < owner) & looks_up[owner]
        repeats += np.bincount(edge[found], minlength=tree.edges)
    return repeats


def _places_on(
    tree: PrefixTree, rank: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (edge by rank, request), int32 each, of every place on the edges low..high."""
    edges, owners = [], []
    for start in range(0, tree.requests, _REQUESTS_AT_ONCE):
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        offsets = tree.path_offsets[start : stop + 1]
        edge = rank[tree.path_edges[offsets[0] : offsets[-1]]]
        wanted = np.flatnonzero((edge >= low) & (edge < high))
        owner = np.searchsorted(offsets - offsets[0], wanted, side="right") - 1 + start
        edges.append(edge[wanted])
        owners.append(owner.astype(np.int32))
    return np.concatenate(edges), np.concatenate(owners)
