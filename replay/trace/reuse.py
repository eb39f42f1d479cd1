"""What an unbounded cache would find: every use of an edge, and whose earlier use it repeats.

Requests come one after another and nothing is ever evicted, so an edge is hit whole at every use
but its first. All sums run over edges; the size of a block costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.kernels.reuse import reuse_distances
from replay.trace.blocks import hot_requests
from replay.trace.tree import PrefixTree

GLOBAL_SHARE = 0.5  # a prefix that more than this share of requests starts with is global


@dataclass(frozen=True, slots=True)
class EdgeUses:
    """Every use of an edge in replay order, P of them, and the edges they are of.

    Per use: `request` and `edge` int64[P], `before` int64[P] the place of the edge's last use or
    -1, `distance_blocks` int64[P] the distinct blocks since then or -1, `hot` bool[P] whether the
    edge is used by more than about one request in a hundred.
    Per edge: `uses` int64[E], `tokens`, `blocks` and `full_blocks` int64[E].
    """

    tree: PrefixTree
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
        """Whether each use finds the edge in an unbounded cache, bool[P]."""
        return (self.before >= 0) & self.tree.looks_up[self.request]

    def hits_by_request(self, of_edge: np.ndarray) -> np.ndarray:
        """Return what each request hits, int64[R], of a quantity of edges such as `tokens`."""
        total = np.zeros(len(self.edge) + 1, np.int64)
        np.cumsum(np.where(self.hit, of_edge[self.edge], 0), out=total[1:])
        return np.diff(total[self.tree.path_offsets])


def edge_uses(tree: PrefixTree, block_size: int) -> EdgeUses:
    """Return every use of an edge by a prompt, with blocks of `block_size` tokens."""
    tree = tree.prompts_only()
    uses = np.bincount(tree.path_edges, minlength=tree.edges)
    blocks = -(-tree.edge_stop // block_size) - tree.edge_start // block_size
    blocks[uses == 0] = 0
    edge = tree.path_edges.astype(np.int64)
    before, distance = reuse_distances(tree.path_edges, blocks)
    return EdgeUses(
        tree=tree,
        request=np.repeat(np.arange(tree.requests), np.diff(tree.path_offsets)),
        edge=edge,
        before=before,
        distance_blocks=distance,
        hot=(uses > hot_requests(tree.requests))[edge],
        uses=uses,
        tokens=np.where(uses > 0, tree.edge_stop - tree.edge_start, 0),
        blocks=blocks,
        full_blocks=tree.edge_stop // block_size - tree.edge_start // block_size,
    )


def ideal_hit_rates(uses: EdgeUses, block_size: int) -> dict[str, float | None]:
    """Return the hit rate of an unbounded cache in each of its usual definitions.

    Rates over all tokens or blocks first, then means of each request's own rate (of full blocks:
    over the requests that have one), then the share of requests that hit anything.
    """
    input_tokens = uses.tree.input_tokens
    totals = {
        "token": (uses.hits_by_request(uses.tokens), input_tokens),
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


def hit_sources(uses: EdgeUses, session: np.ndarray | None) -> dict[str, float | None]:
    """Return the shares of hit tokens by who put them there; all None where nothing is hit.

    `global prefix` is what more than half of all requests start with; of the rest, `session` is
    what an earlier request of the same session had, `cross_request` what only others had. Without
    sessions the last two are None.
    """
    tokens = np.where(uses.hit, uses.tokens[uses.edge], 0)
    common = (uses.uses > GLOBAL_SHARE * uses.tree.requests)[uses.edge]
    shares: dict[str, float | None] = {
        "global_prefix_hit_token_share": ratio(tokens[common].sum(), tokens.sum()),
        "session_hit_token_share": None,
        "cross_request_hit_token_share": None,
    }
    if session is not None:
        pair = session[uses.request] * uses.tree.edges + uses.edge
        again = np.ones(len(pair), bool)
        again[np.unique(pair, return_index=True)[1]] = False
        own = tokens[again & ~common].sum()
        other = tokens[~again & ~common].sum()
        shares["session_hit_token_share"] = ratio(own, tokens.sum())
        shares["cross_request_hit_token_share"] = ratio(other, tokens.sum())
    return shares


def top_prefix(uses: EdgeUses) -> dict[str, int | float | None]:
    """Return the prefix that saves most tokens: its length times the uses that hit it."""
    hits = np.bincount(uses.edge[uses.hit], minlength=uses.tree.edges)
    saved = uses.tree.edge_stop * hits
    edge = int(saved.argmax())
    if saved[edge] == 0:
        return {"top_prefix_tokens": None, "top_prefix_requests": None, "top_prefix_block_id": None}
    return {
        "top_prefix_tokens": int(uses.tree.edge_stop[edge]),
        "top_prefix_requests": int(uses.uses[edge]),
        "top_prefix_block_id": int(uses.tree.edge_last_id[edge]),
    }


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
