"""Block hashes as vLLM names them, against its own, and its worked example block by block."""

from __future__ import annotations

import importlib
import json
from functools import cache
from pathlib import Path

import pytest

import replay
from replay.errors import InputError, UnknownNameError
from replay.trace.vllm_hashes import VLLM_ALGORITHMS, vllm_event_id
from tests.naive import pool as naive

VECTORS = Path(__file__).parent / "golden" / "vllm_vectors.json"
PACKAGES = {"sha256": (), "sha256_cbor": ("cbor2", "xxhash"), "xxhash_cbor": ("cbor2", "xxhash")}
KINDS = {
    "plain": {},
    "cache_salt='s1'": {"cache_salt": "s1"},
    "lora(name='a',path='/x/a')": {"lora": ("a", "/x/a")},
}


@cache
def vectors() -> dict:
    return json.loads(VECTORS.read_text())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("algorithm", VLLM_ALGORITHMS)
def test_hashes_equal_those_of_vllm(algorithm, kind):
    for package in PACKAGES[algorithm]:
        pytest.importorskip(package)
    known = vectors()[algorithm]
    seed = None if known["seed"] == "vllm-none-hash" else known["seed"]
    hashes = replay.vllm_block_hashes(
        range(100, 140), known["block_size"], algorithm=algorithm, seed=seed, **KINDS[kind]
    )
    assert [one.hex() for one in hashes] == known[kind]


def test_adapter_and_salt_are_both_told_apart():
    both = replay.vllm_block_hashes(range(8), 4, lora=("a", "/x/a"), cache_salt="s1")
    others = [
        replay.vllm_block_hashes(range(8), 4, **one)
        for one in ({}, {"lora": ("a", "/x/a")}, {"cache_salt": "s1"}, {"seed": "1"})
    ]
    assert len({one for hashes in (both, *others) for one in hashes}) == 10


def test_what_cannot_be_hashed_is_an_input_error(monkeypatch):
    with pytest.raises(UnknownNameError, match="hash algorithm of vLLM"):
        replay.vllm_block_hashes([1], 1, algorithm="md5")
    with pytest.raises(InputError, match="xxhash_cbor needs"):
        replay.vllm_block_hashes([1], 1, algorithm="xxhash_cbor")
    with pytest.raises(InputError, match="block_size must be at least 1"):
        replay.vllm_block_hashes([1], 0)
    with pytest.raises(InputError, match=r"tokens\[1\]"):
        replay.vllm_block_hashes([1, -1], 1)
    monkeypatch.setitem(importlib.import_module("sys").modules, "cbor2", None)
    with pytest.raises(InputError, match="sha256_cbor needs the package cbor2"):
        replay.vllm_block_hashes([1], 1, algorithm="sha256_cbor")


class Recording(naive.Pool):
    """The naive pool with numbered blocks, writing down what it stores and removes."""

    def __init__(self, capacity: int, *rest) -> None:
        super().__init__(capacity, *rest)
        self.number = {id(block): at + 1 for at, block in enumerate(self.free)}
        self.events: list[tuple] = []

    def name(self, key: tuple) -> int:
        return vllm_event_id(replay.vllm_block_hashes(key, 4)[-1])

    def publish(self, block, key, owner) -> None:
        super().publish(block, key, owner)
        self.events.append(("BlockStored", self.name(key)))

    def evict(self, block, whose, when_ns) -> None:
        self.events.append(("BlockRemoved", self.name(block.key)))
        super().evict(block, whose, when_ns)


def one_by_one(events: list[dict]) -> list[tuple]:
    """Return events of several blocks as one event a block."""
    return [(event["type"], one) for event in events for one in event["block_hashes"]]


def test_the_worked_example_goes_block_by_block(monkeypatch):
    monkeypatch.setattr(naive, "Pool", Recording)
    cache = naive.Cache(naive.Rules(block_size=4, capacity=5))
    pool = cache.pool
    for index, step in enumerate(vectors()["worked_example_capacity_5_blocks_of_4"]):
        request = naive.Request(index, 0, tuple(step["tokens"]), (), 1)
        pool.events.clear()
        found = cache.look_up(request)
        assert 4 * found.count == step["hit"]
        wanted = cache.blocks(len(request.prompt)) - found.count
        assert (wanted + found.idle <= cache.free) == step["admitted"]
        if step["admitted"]:
            cache.hold(request, found)
            cache.take(request, wanted)
            cache.publish(request, len(request.prompt))
            assert [pool.number[id(block)] for block in request.table] == step["block_ids"]
            cache.release(request)
        assert pool.events == one_by_one(step["events"])
        assert [pool.number[id(block)] for block in pool.free] == step["free_queue_after"]
        assert [block.key is not None for block in pool.free] == step["free_queue_hashed"]
