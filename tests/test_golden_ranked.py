"""Ranked policies on the conversation trace: figures of an independent prototype, and our own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from replay.cache.blocks import block_paths
from replay.cache.hints import Hints, RecomputeCost, hints_of
from replay.cache.ranked_policies import RANKED_POLICIES, lru_by_rank, replay_ranked
from replay.cache.references import references
from replay.kernels.policies.references import References
from replay.units import NS_PER_S
from tests.shared_data import CONVERSATION, conversation, needs

pytestmark = needs(CONVERSATION)

BLOCKS = 288_500


@cache
def case() -> tuple[References, Hints]:
    """Return the trace with its partial blocks and without responses, and hints for all."""
    trace, tree = conversation()
    outputs = trace.column("output_tokens")
    rules = {"block_size": 512, "partial_blocks": True, "responses": False}
    cost = RecomputeCost(linear_ns=23_798, context_ns=905)  # so that no refit moves the figures
    hints = hints_of(trace, 512, cost=cost, ttl_ns=120 * NS_PER_S)
    thirds = (np.arange(trace.requests) % 3).astype(np.int64)
    return references(block_paths(tree, outputs, **rules)), replace(hints, priority=thirds)


PUBLISHED = {
    "lfu": {100_000: 0.3631, 50_000: 0.3438, 30_000: 0.2759, 10_000: 0.1318, 1_000: 0.0481},
    "lfu_perfect": {100_000: 0.3630, 50_000: 0.3430, 30_000: 0.2796},
    "length_aware": {
        100_000: 0.3345, 50_000: 0.2602, 30_000: 0.2028, 10_000: 0.1123, 1_000: 0.0504
    },
    "fifo_leaf": {3_000: 0.0653, 10_000: 0.2109, 30_000: 0.3258},
    "slru_hits": {3_000: 0.0680, 10_000: 0.1820, 30_000: 0.3193},
    "min": {3_000: 0.2916, 10_000: 0.3664, 30_000: 0.3664},
    "min_bypass": {1_000: 0.1906, 10_000: 0.3664},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "capacity", "rate"),
    [(name, capacity, rate) for name, row in PUBLISHED.items() for capacity, rate in row.items()],
)
def test_block_hit_rates_of_an_independent_prototype(name, capacity, rate):
    refs, hints = case()
    hit = replay_ranked(refs, name, capacity, hints).hit_blocks.sum() / BLOCKS
    assert abs(hit - rate) < 0.0006  # it takes blocks one by one and pins none


# Hit and evicted blocks at 1,000, 10,000 and 30,000 blocks; no policy strands any here.
PINNED = {
    "lfu": [(13_871, 273_629), (38_004, 240_496), (79_613, 178_887)],
    "lfu_perfect": [(22_320, 265_180), (54_034, 224_466), (80_750, 177_750)],
    "fifo_leaf": [(12_842, 274_658), (60_852, 217_648), (93_985, 164_515)],
    "slru_hits": [(12_847, 274_653), (52_520, 225_980), (92_106, 166_394)],
    "gdsf": [(12_729, 274_771), (57_106, 221_394), (91_579, 166_921)],
    "pgdsf": [(15_730, 271_770), (64_004, 214_496), (93_601, 164_899)],
    "length_aware": [(14_495, 273_005), (32_285, 246_215), (58_487, 200_013)],
    "workload_aware": [(15_620, 271_880), (60_035, 218_465), (92_745, 165_755)],
    "ttl": [(12_847, 274_653), (55_279, 224_046), (55_279, 224_046)],
    "random": [(14_889, 272_611), (39_514, 238_986), (64_973, 193_527)],
    "priority": [(14_573, 272_927), (53_707, 224_793), (72_457, 186_043)],
    "min": [(51_705, 235_795), (105_710, 172_790), (105_710, 152_790)],
    "min_bypass": [(55_019, 92_007), (105_710, 172_790), (105_710, 152_790)],
}


@pytest.mark.parametrize("name", PINNED)
def test_hits_and_evictions_stay_what_they_are(name):
    refs, hints = case()
    got = [
        (int(outcome.hit_blocks.sum()), outcome.evicted_blocks, outcome.stranded_blocks)
        for outcome in (replay_ranked(refs, name, c, hints) for c in (1_000, 10_000, 30_000))
    ]
    assert got == [(*one, 0) for one in PINNED[name]]


def test_every_policy_is_pinned():
    assert set(PINNED) == {policy.name for policy in RANKED_POLICIES}


@pytest.mark.parametrize(
    ("capacity", "hits"), [(3_000, 20_076), (10_000, 62_812), (30_000, 94_746)]
)
def test_gdsf_of_uniform_cost(capacity, hits):
    refs, hints = case()
    even = replace(hints, cost=RecomputeCost(1, 0))
    assert replay_ranked(refs, "gdsf", capacity, even).hit_blocks.sum() == hits


def test_one_recency_queue_is_lru_ranked_by_last_use():
    refs, hints = case()
    forever = replace(hints, ttl_ns=10**18)
    for capacity in (1_000, 10_000, 30_000):
        listed = replay_ranked(refs, "ttl", capacity, forever)
        ranked = lru_by_rank(refs, capacity, hints)
        assert np.array_equal(listed.hit_blocks, ranked.hit_blocks)
        assert listed.evicted_blocks == ranked.evicted_blocks
