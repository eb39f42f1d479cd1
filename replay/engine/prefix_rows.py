"""The table `prefixes`: what the run did with each edge that at least two prompts contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.engine.outcome import narrowed
from replay.engine.plan import Plan
from replay.engine.simulate import Simulation
from replay.kernels import layout
from replay.runs.rows import Rows

if TYPE_CHECKING:
    from replay.trace.tree import PrefixTree

_REQUESTS_AT_ONCE = 1 << 18
_EDGES_AT_ONCE = 1 << 20
_PLACES_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True)
class EdgeTotals:
    """What a run did with each edge of the tree: int64[E] each."""

    hit_tokens: np.ndarray
    evicted_blocks: np.ndarray


def prefix_rows(tree: PrefixTree, plan: Plan, totals: EdgeTotals) -> Rows:
    """Return one row an edge that at least two prompts contain, in tree order."""
    tree = tree.prompts_only()
    requests = _requests_on(tree)
    shared = narrowed(np.flatnonzero(requests > 1))
    requests = requests[shared]
    hit_tokens, evicted = totals.hit_tokens[shared], totals.evicted_blocks[shared]
    first = _first_requests(tree)[shared]
    sessions = _sessions_on(tree, plan, shared, requests)

    def make(start: int, stop: int) -> pl.DataFrame:
        rows = slice(start, stop)
        edge = shared[rows].astype(np.int64)
        parent = tree.edge_parent[edge].astype(np.int64)
        return pl.DataFrame(
            {
                "prefix_id": edge,
                "parent_prefix_id": pl.Series(parent).set(pl.Series(parent < 0), None),
                "start_tokens": tree.edge_start[edge],
                "stop_tokens": tree.edge_stop[edge],
                "requests": requests[rows].astype(np.int64),
                "sessions": pl.Series([None] * len(edge), dtype=pl.Int64)
                if sessions is None
                else sessions[rows].astype(np.int64),
                "first_request_id": first[rows].astype(np.int64),
                "last_block_id": tree.edge_last_id[edge],
                "hit_tokens": hit_tokens[rows],
                "evicted_blocks": evicted[rows],
            }
        )

    return Rows(len(shared), make)


def _requests_on(tree: PrefixTree) -> np.ndarray:
    """Return how many prompts contain each edge, int32[E]."""
    requests = np.zeros(tree.edges, np.int32)
    for start in range(0, len(tree.path_edges), _EDGES_AT_ONCE):
        np.add.at(requests, tree.path_edges[start : start + _EDGES_AT_ONCE], np.int32(1))
    return requests


def _first_requests(tree: PrefixTree) -> np.ndarray:
    """Return the first request whose prompt contains each edge, int32[E]; -1 for none."""
    first = np.full(tree.edges, -1, np.int32)
    for start in reversed(range(0, tree.requests, _REQUESTS_AT_ONCE)):
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        offsets = tree.path_offsets[start : stop + 1]
        owner = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(offsets))
        edge = tree.path_edges[offsets[0] : offsets[-1]]
        first[edge[::-1]] = owner[::-1]  # of several assignments to one place the last one stands
    return first


def edge_totals(tree: PrefixTree, plan: Plan, simulation: Simulation) -> EdgeTotals:
    """Return hit tokens and evicted blocks of each tree edge, tails counted where they hang."""
    size, paths = int(plan.rules[layout.BLOCK_SIZE]), plan.paths
    hit_tokens, evicted = np.zeros(tree.edges, np.int64), np.zeros(tree.edges, np.int64)
    for start in range(0, len(paths.first), _EDGES_AT_ONCE):
        some = slice(start, start + _EDGES_AT_ONCE)
        of_block = np.full(len(paths.first[some]), size, np.int64)
        if plan.rules[layout.PARTIAL_BLOCKS]:
            tail = np.arange(start, start + len(of_block)) >= tree.edges
            rest = paths.stop_tokens[some] - paths.first[some].astype(np.int64) * size
            of_block = np.where(tail, rest, of_block)
        counted = paths.tree_edge[some] >= 0
        edge = paths.tree_edge[some][counted]
        tokens = simulation.edges[some, layout.REUSED] * of_block
        np.add.at(hit_tokens, edge, tokens[counted])
        np.add.at(evicted, edge, simulation.edges[some, layout.EVICTED][counted])
    return EdgeTotals(hit_tokens, evicted)


def _sessions_on(
    tree: PrefixTree, plan: Plan, shared: np.ndarray, requests: np.ndarray
) -> np.ndarray | None:
    """Return how many sessions' prompts contain each shared edge; None without sessions.

    Takes the edges in stretches of about as many places in paths, so that memory does not go
    with the length of the trace.
    """
    session = narrowed(plan.table[:, layout.SESSION])
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
