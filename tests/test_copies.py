"""Interleaved copies of a trace: each behaves as the original, and they share nothing."""

from __future__ import annotations

import numpy as np

from benchmarks.copies import interleaved
from replay.cache.queue_policies import replay_queue
from tests.libcachesim_oracle import flattened, sessions


def test_copies_are_interleaved_and_share_no_block():
    one = sessions(requests=200, open_at_once=8)
    three = interleaved(one, 3)
    edges = len(one.blocks)
    for copy in range(3):
        requests = range(copy, 600, 3)
        own = [three.edges[three.offsets[r] : three.offsets[r + 1]] for r in requests]
        assert np.array_equal(np.concatenate(own), one.edges + copy * edges)
        assert np.array_equal(three.limit[copy::3], one.limit)
        parents = three.parent[copy * edges : (copy + 1) * edges]
        assert np.array_equal(np.where(parents < 0, -1, parents - copy * edges), one.parent)
    assert np.array_equal(three.blocks, np.tile(one.blocks, 3))
    assert len(np.unique(flattened(three))) == 3 * len(np.unique(flattened(one)))


def test_where_nothing_is_evicted_every_copy_hits_like_the_original():
    one = sessions(requests=200, open_at_once=8)
    capacity = 3 * int(one.blocks.sum())
    hits = replay_queue(interleaved(one, 3), "fifo", capacity).hit_blocks.reshape(200, 3)
    alone = replay_queue(one, "fifo", capacity).hit_blocks
    assert np.array_equal(hits, np.repeat(alone[:, None], 3, axis=1))
