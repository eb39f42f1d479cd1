"""Number the blocks of prompts, of any size, from the edges of their prefix tree.

A full block that ends at depth d is named by d and the edge that holds token d - 1; what is left
at the end of a prompt by the edge the prompt ends on. Every request uses an edge whole or not at
all, so the full blocks that end on one get consecutive ids when the edge is first used, and two
numbers an edge are all there is to remember. Worked example, blocks of 4 tokens:

    request 0: edges 0..6 and 6..13    block ends 4 | 8 12, 13 left    ids 0 1 2 3
    request 1: edges 0..6 and 6..8     block ends 4 | 8                ids 0 4
    request 2: edge 0..6               block ends 4, 6 left            ids 0 5
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_NEVER = -1


@jit
def number_blocks(path_offsets, prompt_stops, path_edges, edge_start, edge_stop, block_size, total):
    """Return uint64[total], the block ids of all prompts end to end, in order of appearance.

    `total` is the number of blocks of all prompts, a partial last one of each included.
    """
    ids = np.empty(total, np.uint64)
    full = np.full(edge_start.size, _NEVER, np.int64)  # id of the first full block on the edge
    partial = np.full(edge_start.size, _NEVER, np.int64)
    unused = 0
    to = 0
    for request in range(prompt_stops.size):
        for place in range(path_offsets[request], prompt_stops[request]):
            edge = path_edges[place]
            blocks = edge_stop[edge] // block_size - edge_start[edge] // block_size
            if full[edge] == _NEVER:
                full[edge] = unused
                unused += blocks
            for block in range(blocks):
                ids[to] = full[edge] + block
                to += 1
        last = path_edges[prompt_stops[request] - 1]
        if edge_stop[last] % block_size:
            if partial[last] == _NEVER:
                partial[last] = unused
                unused += 1
            ids[to] = partial[last]
            to += 1
    return ids
