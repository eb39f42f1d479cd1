"""From paths in blocks to what eviction policies replay, and from their hits back to tokens."""

from __future__ import annotations

import numpy as np

from replay.cache.blocks import BlockPaths
from replay.kernels.policies.references import References


def references(paths: BlockPaths) -> References:
    """Return what the requests of `paths` use, without the edges on which no block ends."""
    used = paths.blocks > 0
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    keep = used[paths.path_edges]
    upto = np.zeros(len(keep) + 1, np.int32 if len(keep) < 2**31 else np.int64)
    np.cumsum(keep, out=upto[1:])
    offsets = np.append(upto[paths.start], upto[-1:]).astype(np.int64)
    del upto  # as long as all paths together
    edges = number[paths.path_edges[keep]]
    parent = np.full(int(used.sum()), -1, np.int32)
    parent[edges[1:]] = edges[:-1]
    parent[edges[offsets[:-1][np.diff(offsets) > 0]]] = -1
    return References(
        first=paths.first[used].astype(np.int64),
        blocks=paths.blocks[used].astype(np.int64),
        parent=parent,
        offsets=offsets,
        edges=edges,
        limit=np.ascontiguousarray(paths.match_blocks),
    )


def longest_request_blocks(refs: References) -> int:
    """Return the most blocks one request holds; an engine with fewer would refuse it."""
    upto = np.zeros(len(refs.edges) + 1, np.int64)
    np.cumsum(refs.blocks[refs.edges], out=upto[1:])
    return int(np.diff(upto[refs.offsets]).max(initial=0))


def hit_tokens(hit_blocks: np.ndarray, input_tokens: np.ndarray, block_size: int) -> np.ndarray:
    """Return the prompt tokens that `hit_blocks` save, int64[R]; one token is always computed."""
    return np.minimum(hit_blocks * block_size, input_tokens - 1)
