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
from replay.trace.shared_edges import first_requests, requests_on, sessions_on

if TYPE_CHECKING:
    from replay.trace.tree import PrefixTree

_EDGES_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class EdgeTotals:
    """What a run did with each edge of the tree: int64[E] each."""

    hit_tokens: np.ndarray
    evicted_blocks: np.ndarray


def prefix_rows(tree: PrefixTree, plan: Plan, totals: EdgeTotals) -> Rows:
    """Return one row an edge that at least two prompts contain, in tree order."""
    tree = tree.prompts_only()
    requests = requests_on(tree)
    shared = narrowed(np.flatnonzero(requests > 1))
    requests = requests[shared]
    hit_tokens, evicted = totals.hit_tokens[shared], totals.evicted_blocks[shared]
    first = first_requests(tree)[shared]
    sessions = sessions_on(tree, narrowed(plan.table[:, layout.SESSION]), shared, requests)
    block_ids = tree.last_block_ids

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
                "last_block_id": pl.Series([None] * len(edge), dtype=pl.UInt64)
                if block_ids is None
                else block_ids[edge],
                "hit_tokens": hit_tokens[rows],
                "evicted_blocks": evicted[rows],
            }
        )

    return Rows(len(shared), make)


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
        tokens = simulation.totals[some, layout.REUSED] * of_block
        np.add.at(hit_tokens, edge, tokens[counted])
        np.add.at(evicted, edge, simulation.totals[some, layout.EVICTED][counted])
    return EdgeTotals(hit_tokens, evicted)
