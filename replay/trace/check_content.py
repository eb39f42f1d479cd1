"""What the doctor knows of a trace's content: what repeats, how soon, and what all share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.trace.blocks import hot_requests
from replay.trace.ceilings import content_hit_tokens
from replay.trace.frame import Trace
from replay.trace.reuse import weighted_quantiles
from replay.trace.tree import PrefixTree

COMMON_SHARE = 0.5
REUSE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class ContentFacts:
    """Facts of content, in an unbounded cache that keeps responses too where they are known.

    `ideal_hit_tokens` int64[R] what each prompt finds; `ideal_hit_rate` of all prompt tokens.
    `repeated_share` of requests equal an earlier one in arrival, lengths and content. More than
    half of all requests start with `common_tokens`, which `common_share` of them do. `reuse_ns` is
    the time in which nine tenths of reuse happen, hot prefixes left out, and `cold_share` the
    share of prompt tokens that arrive in so much time from the start; None where nothing is
    reused.
    """

    ideal_hit_tokens: np.ndarray
    ideal_hit_rate: float
    repeated_share: float
    common_tokens: int
    common_share: float
    reuse_ns: int
    cold_share: float | None


def content_facts(trace: Trace, tree: PrefixTree) -> ContentFacts:
    """Return what the tree of a trace says of its content; linear in edges but for sorting."""
    prompts = tree.prompts_only()
    owner = np.repeat(np.arange(tree.requests), np.diff(prompts.path_offsets))
    edge = prompts.path_edges
    tokens = (tree.edge_stop - tree.edge_start)[edge]
    hits = content_hit_tokens(tree)

    uses = np.bincount(edge, minlength=tree.edges)
    common = uses > COMMON_SHARE * tree.requests
    deepest = int(np.where(common, tree.edge_stop, 0).argmax()) if common.any() else 0
    reuse_ns = _reuse_ns(trace, edge, owner, tokens, hot=uses > hot_requests(tree.requests))
    return ContentFacts(
        ideal_hit_tokens=hits,
        ideal_hit_rate=float(hits.sum() / tree.input_tokens.sum()),
        repeated_share=_repeated_share(trace, prompts),
        common_tokens=int(tree.edge_stop[deepest]) if common.any() else 0,
        common_share=float(uses[deepest] / tree.requests) if common.any() else 0.0,
        reuse_ns=reuse_ns or 0,
        cold_share=None if reuse_ns is None else _cold_share(trace, tree, reuse_ns),
    )


def _repeated_share(trace: Trace, prompts: PrefixTree) -> float:
    last = prompts.path_edges[prompts.path_offsets[1:] - 1]
    rows = np.stack(
        [trace.column("arrival_ns"), trace.column("input_tokens"), trace.column("output_tokens"),
         last.astype(np.int64)], axis=1,
    )  # fmt: skip
    return 1 - len(np.unique(rows, axis=0)) / len(rows)


def _reuse_ns(
    trace: Trace, edge: np.ndarray, owner: np.ndarray, tokens: np.ndarray, *, hot: np.ndarray
) -> int | None:
    """Return the time in which nine tenths of reused tokens are used again."""
    order = np.argsort(edge, kind="stable")
    again = np.flatnonzero(edge[order][1:] == edge[order][:-1]) + 1
    later, earlier = order[again], order[again - 1]
    cool = ~hot[edge[later]]
    arrival = trace.column("arrival_ns")
    times = (arrival[owner[later]] - arrival[owner[earlier]])[cool]
    found = weighted_quantiles(times, tokens[later][cool], (REUSE_SHARE,))[0]
    return None if found is None else round(found)


def _cold_share(trace: Trace, tree: PrefixTree, reuse_ns: int) -> float:
    early = trace.column("arrival_ns") < reuse_ns
    return float(tree.input_tokens[early].sum() / tree.input_tokens.sum())
