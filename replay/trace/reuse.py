"""What of the prompts repeats: every use of an edge, and how far back the last one lies.

Requests come one after another and nothing is ever evicted. All sums run over edges; the size of a
block costs nothing. Blocks are those that ids of prompts name, as in published traces: the full
ones, each on the edge that holds its last token, and what is left at the end of a prompt, which
only prompts that are equal up to there share. So no block is on two edges, and none is counted
twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.kernels.tree.reuse import reuse_distances
from replay.trace.blocks import hot_requests
from replay.trace.ceilings import content_hit_tokens, global_prefix_tokens, session_hit_tokens
from replay.trace.paths import append_edges
from replay.trace.tree import PrefixTree

TOP_PREFIX = (
    "top_prefix_tokens", "top_prefix_requests", "top_prefix_request_id", "top_prefix_block_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EdgeUses:
    """Every use of an edge by a prompt in replay order, P of them, and the edges they are of.

    The ends of prompts that are no full block are edges of their own behind those of the tree, of
    no tokens and one block. Per use: `request` and `edge` int64[P], `before` int64[P] the place of
    the edge's last use or -1, `distance_blocks` int64[P] the distinct blocks since then or -1,
    `hot` bool[P] whether the edge is used by more than about one request in a hundred. `offsets`
    int64[R+1]: the uses of request r are offsets[r]:offsets[r + 1].
    Per edge: `uses` int64[E], `tokens`, `blocks` and `full_blocks` int64[E].
    """

    tree: PrefixTree
    offsets: np.ndarray
    request: np.ndarray
    edge: np.ndarray
    before: np.ndarray
    distance_blocks: np.ndarray
    hot: np.ndarray
    uses: np.ndarray
    tokens: np.ndarray
    blocks: np.ndarray
    full_blocks: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """Whether an earlier prompt used the edge and this one looks for it, bool[P]."""
        return (self.before >= 0) & self.tree.looks_up[self.request]

    def hits_by_request(self, of_edge: np.ndarray) -> np.ndarray:
        """Return what each request repeats, int64[R], of a quantity of edges such as `blocks`."""
        total = np.zeros(len(self.edge) + 1, np.int64)
        np.cumsum(np.where(self.hit, of_edge[self.edge], 0), out=total[1:])
        return np.diff(total[self.offsets])


def edge_uses(tree: PrefixTree, block_size: int) -> EdgeUses:
    """Return every use of an edge by a prompt, with blocks of `block_size` tokens."""
    prompts = tree.prompts_only()
    last = prompts.path_edges[prompts.path_offsets[1:] - 1].astype(np.int64)
    left = tree.input_tokens % block_size > 0
    ends, which = np.unique(last[left], return_inverse=True)
    own = np.full(tree.requests, -1, np.int64)
    own[left] = tree.edges + which
    path_edges, offsets = append_edges(prompts, own)
    uses = np.bincount(path_edges, minlength=tree.edges + len(ends))
    full = tree.edge_stop // block_size - tree.edge_start // block_size
    full[uses[: tree.edges] == 0] = 0
    blocks = np.append(full, np.ones_like(ends))
    tokens = np.where(uses[: tree.edges] > 0, tree.edge_stop - tree.edge_start, 0)
    before, distance = reuse_distances(path_edges, blocks)
    return EdgeUses(
        tree=tree,
        offsets=offsets,
        request=np.repeat(np.arange(tree.requests), np.diff(offsets)),
        edge=path_edges.astype(np.int64),
        before=before,
        distance_blocks=distance,
        hot=(uses > hot_requests(tree.requests))[path_edges],
        uses=uses,
        tokens=np.append(tokens, np.zeros_like(ends)),
        blocks=blocks,
        full_blocks=np.append(full, np.zeros_like(ends)),
    )


def ideal_hit_rates(uses: EdgeUses, block_size: int) -> dict[str, float | None]:
    """Return the hit rate of an unbounded cache in each of its usual definitions.

    Of tokens it is the content ceiling, with responses; of blocks what the ids of prompts repeat,
    as published of traces. Rates over all tokens or blocks first, then means of each request's own
    rate (of full blocks: over the requests that have one), then the share of requests that hit
    anything.
    """
    input_tokens = uses.tree.input_tokens
    totals = {
        "token": (content_hit_tokens(uses.tree), input_tokens),
        "block": (uses.hits_by_request(uses.blocks), -(-input_tokens // block_size)),
        "full_block": (uses.hits_by_request(uses.full_blocks), input_tokens // block_size),
    }
    rates: dict[str, float | None] = {}
    for name, (hits, total) in totals.items():
        rates[f"ideal_{name}_hit_rate"] = ratio(hits.sum(), total.sum())
    for name, (hits, total) in totals.items():
        own = hits[total > 0] / total[total > 0]
        rates[f"ideal_mean_request_{name}_hit_rate"] = float(own.mean()) if len(own) else None
    rates["ideal_request_hit_rate"] = float((totals["token"][0] > 0).mean())
    return rates


def hit_sources(tree: PrefixTree, session: np.ndarray | None) -> dict[str, int | float | None]:
    """Return who put the tokens of the content ceiling there, in tokens and as shares of it.

    `session` and `cross_request` add up to it: what an earlier request of the same session was the
    first to contain, and what others were, as in the `requests` of a run. `global_prefix` is a part
    of both: what more than half of all requests start with. `session` int64[R] are ids, -1 where
    there is none; without any, None, the first two are None. Shares are None where nothing is hit.
    """
    content = content_hit_tokens(tree)
    total = int(content.sum())
    own = None if session is None else int(session_hit_tokens(tree, session).sum())
    tokens = {
        "session": own,
        "cross_request": None if own is None else total - own,
        "global_prefix": int(np.minimum(content, global_prefix_tokens(tree)).sum()),
    }
    facts: dict[str, int | float | None] = {
        f"{name}_hit_tokens": value for name, value in tokens.items()
    }
    for name, value in tokens.items():
        facts[f"{name}_hit_token_share"] = None if value is None else ratio(value, total)
    return facts


def top_prefix(uses: EdgeUses) -> dict[str, int | float | None]:
    """Return the prefix that saves most tokens: its length times the uses that hit it.

    It is named by the first request that has it, and by its last block where blocks have ids.
    """
    tree = uses.tree
    saved = tree.edge_stop * np.bincount(uses.edge[uses.hit], minlength=tree.edges)[: tree.edges]
    edge = int(saved.argmax())
    if saved[edge] <= 0:
        return dict.fromkeys(TOP_PREFIX)
    ids = tree.last_block_ids
    found = (
        int(tree.edge_stop[edge]),
        int(uses.uses[edge]),
        int(uses.request[np.flatnonzero(uses.edge == edge)[0]]),
        None if ids is None else int(ids[edge]),
    )
    return dict(zip(TOP_PREFIX, found, strict=True))


def weighted_quantiles(
    values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]
) -> list[float | None]:
    """Return quantiles of values that each stand for `weights` equal ones, linearly interpolated.

    Equal to `numpy.quantile` of the values written out, without writing them out.
    """
    total = int(weights.sum())
    if total == 0:
        return [None] * len(shares)
    order = np.argsort(values, kind="stable")
    upto = np.cumsum(weights[order])
    found: list[float | None] = []
    for share in shares:
        rank = (total - 1) * share
        low = int(rank)
        pair = np.searchsorted(upto, [low, min(low + 1, total - 1)], side="right")
        lower, upper = (float(values[order[at]]) for at in pair)
        found.append(lower + (upper - lower) * (rank - low))
    return found


def ratio(part: int, whole: int) -> float | None:
    """Return part over whole, None where whole is zero."""
    return float(part / whole) if whole else None
