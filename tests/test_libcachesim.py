"""Policies against libCacheSim's C code where it is installed: equal numbers of hits."""

from __future__ import annotations

import heapq
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from replay.cache.blocks import block_paths
from replay.cache.queue_policies import replay_queue
from replay.cache.references import references
from replay.kernels.policies.references import References
from tests import libcachesim_oracle as oracle
from tests.naive.queues import NAIVE
from tests.shared_data import CONVERSATION, conversation, needs

pytest.importorskip("libcachesim")

NAMES = ["fifo", "clock", "sieve", "s3fifo", "2q", "arc"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("oracle")


@cache
def written(folder: Path, kind: str) -> tuple[References, Path]:
    """Return a trace and the file of the blocks it accesses."""
    if kind == "zipf":
        refs = oracle.single_block_requests(oracle.zipf())
    elif kind == "sessions":
        refs = oracle.sessions()
    else:
        trace, tree = conversation()
        outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
        rules = {"block_size": 512, "partial_blocks": True, "responses": False}
        refs = references(block_paths(tree, outputs, **rules))
    return refs, oracle.write_oracle_general(oracle.flattened(refs), folder / kind)


CASES = [
    *[pytest.param("zipf", capacity) for capacity in (20, 200, 2_000, 8_000)],
    *[pytest.param("sessions", capacity) for capacity in (25, 300, 3_000, 12_000)],
    *[
        pytest.param("conversation", capacity, marks=needs(CONVERSATION))
        for capacity in (100, 3_000, 10_000, 30_000)
    ],
]


@pytest.mark.parametrize(("kind", "capacity"), CASES)
@pytest.mark.parametrize("name", NAMES)
def test_found_blocks_are_the_hits_of_libcachesim(folder, name, kind, capacity):
    refs, path = written(folder, kind)
    assert replay_queue(refs, name, capacity).found_blocks == oracle.hits(path, name, capacity)


@pytest.mark.parametrize("name", NAMES)
def test_twins_have_the_hits_of_libcachesim(folder, name):
    refs, path = written(folder, "sessions")
    twin = NAIVE[name](300)
    found = sum(twin.access(block) for block in oracle.flattened(refs).tolist())
    assert found == oracle.hits(path, name, 300)


def naive_optimum(ids: np.ndarray, capacity: int) -> int:
    """Return the hits when the block used again last is evicted."""
    following = oracle.next_accesses(ids)
    resident: dict[int, int] = {}
    furthest: list[tuple[int, int]] = []
    hits = 0
    for block, after in zip(ids.tolist(), following.tolist(), strict=True):
        hits += block in resident
        if block not in resident and len(resident) == capacity:
            while True:
                negated, victim = heapq.heappop(furthest)
                if resident.get(victim) == -negated:
                    del resident[victim]
                    break
        resident[block] = len(ids) if after < 0 else after
        heapq.heappush(furthest, (-resident[block], block))
    return hits


@pytest.mark.parametrize("capacity", [300, 3_000])
def test_files_know_the_next_access(folder, capacity):
    refs, path = written(folder, "sessions")
    expected = naive_optimum(oracle.flattened(refs), capacity)
    assert oracle.hits(path, "optimum", capacity) == expected
