"""Which edges stay in the cache for good, from the prefixes a scenario pins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from replay.cache.blocks import BlockPaths
from replay.errors import InputError
from replay.trace.tree import PrefixTree


def check_pins(tree: PrefixTree, prefix_ids: Sequence[int]) -> None:
    """Raise InputError for an id that is no edge of the tree."""
    for one in prefix_ids:
        if one >= tree.edges:
            raise InputError(
                f"cache.pinned_prefixes: the trace has no prefix {one}, only {tree.edges:,} "
                f"(0 to {tree.edges - 1})",
                hint="ids are those of the `prefixes` table of a run of the same trace",
            )


def pinned_edges(tree: PrefixTree, paths: BlockPaths, prefix_ids: Sequence[int]) -> np.ndarray:
    """Return which edges of `paths` lie on a pinned prefix, bool[E].

    A prefix is pinned from its root to the end of the edge that `prefix_ids` names; the partial
    block that ends there too, where `paths` has such. Raises InputError for an unknown id.
    """
    check_pins(tree, prefix_ids)
    named = np.zeros(tree.edges, bool)
    named[list(prefix_ids)] = True
    pinned = named.copy()
    for edge in range(tree.edges - 1, -1, -1):  # a parent comes before its children
        if pinned[edge] and tree.edge_parent[edge] >= 0:
            pinned[tree.edge_parent[edge]] = True
    extra = paths.tree_edge[tree.edges :]
    tails = np.where(extra >= 0, named[extra], False)
    return np.concatenate([pinned, tails])
