"""LFU, LRU and the optimum against libCacheSim's C code where it is installed: equal hits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from replay.cache.hints import Hints, RecomputeCost
from replay.cache.ranked_policies import lru_by_rank, optimum_hit_blocks, replay_ranked
from replay.kernels.policies.references import References
from tests import libcachesim_oracle as oracle

pytest.importorskip("libcachesim")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("oracle")


@cache
def written(folder: Path, kind: str) -> tuple[References, Hints, Path]:
    """Return requests of one block each, hints, and the file of the blocks they access."""
    ids = oracle.zipf() if kind == "zipf" else oracle.flattened(oracle.sessions())
    hints = Hints(
        arrival_ns=np.zeros(len(ids), np.int64), block_tokens=16, cost=RecomputeCost(1, 0)
    )
    path = oracle.write_oracle_general(ids, folder / f"{kind}.oracle")
    return oracle.single_block_requests(ids), hints, path


@pytest.mark.parametrize("capacity", [25, 300, 3_000, 12_000])
@pytest.mark.parametrize("kind", ["zipf", "sessions"])
def test_hits_of_single_blocks_are_those_of_libcachesim(folder, kind, capacity):
    refs, hints, path = written(folder, kind)
    lfu = replay_ranked(refs, "lfu", capacity, hints)
    assert lfu.found_blocks == lfu.hit_blocks.sum() == oracle.hits(path, "lfu", capacity)
    lru = lru_by_rank(refs, capacity, hints).hit_blocks.sum()
    assert lru == oracle.hits(path, "lru", capacity)
    optimum = optimum_hit_blocks(refs, capacity).sum()
    assert optimum == oracle.hits(path, "optimum", capacity)
