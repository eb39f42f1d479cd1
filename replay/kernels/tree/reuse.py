"""Reuse distance of every use of an edge: how many other blocks came between two uses.

The distance of a block is the number of distinct blocks touched since its last use. Prompts are
touched from the root to the leaf, so all blocks of an edge have the same distance: those behind
a block when the edge was last used, and those before it in this use, are the rest of the edge.
A Fenwick tree over places in time holds the blocks of each edge at its latest use. Worked example
with edges A (2 blocks), B (3), C (1) used in the order A B A C B:

    place   0  1  2  3  4
    edge    A  B  A  C  B
    before -1 -1  0 -1  1      place of the edge's last use
    blocks -1 -1  4 -1  5      A: 3 of B, 1 other of A;  B: 2 of A, 1 of C, 2 others of B
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit


@jit
def reuse_distances(path_edges, edge_blocks):
    """Return (before, blocks), int64[P] each: the last use of each edge and the distance to it.

    Both are -1 at a first use. O(P log P), whatever the number of blocks on an edge.
    """
    places = path_edges.size
    latest = np.full(edge_blocks.size, -1, np.int64)
    before = np.full(places, -1, np.int64)
    blocks = np.full(places, -1, np.int64)
    tree = np.zeros(places + 1, np.int64)
    held = 0
    for place in range(places):
        edge = path_edges[place]
        own = edge_blocks[edge]
        last = latest[edge]
        if last >= 0:
            upto = 0
            at = last + 1
            while at > 0:
                upto += tree[at]
                at -= at & -at
            before[place] = last
            blocks[place] = held - upto + own - 1
            at = last + 1
            while at <= places:
                tree[at] -= own
                at += at & -at
        else:
            held += own
        at = place + 1
        while at <= places:
            tree[at] += own
            at += at & -at
        latest[edge] = place
    return before, blocks
