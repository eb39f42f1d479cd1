"""What an eviction policy replays: for every request the edges of its path, in blocks.

A policy without a clock sees nothing but this: request after request, and of each the stretches of
blocks it uses, root first. Worked example, blocks of 4 tokens:

    request 0: 12 tokens    edge 0: blocks 0 1    edge 1: block 2
    request 1:  8 tokens    edge 0: blocks 0 1    it ends on a block boundary: limit 1
    request 2: 16 tokens    edge 0: blocks 0 1    edge 2: blocks 2 3
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class References(NamedTuple):
    """Edges (E) and the requests (R) that use them, P uses in all; every edge has a block.

    Edges: `first` int64[E], index along the prompt of the first block; `blocks` int64[E];
    `parent` int32[E], the edge before it on every path, -1 at a root. A parent has a smaller
    number than its children. Requests: request r uses `edges[offsets[r]:offsets[r + 1]]`, int32,
    root first, prompt and then response; a look-up returns at most `limit[r]` blocks, int64[R].
    """

    first: np.ndarray
    blocks: np.ndarray
    parent: np.ndarray
    offsets: np.ndarray
    edges: np.ndarray
    limit: np.ndarray
