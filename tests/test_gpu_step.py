"""Where a step's time goes, and when a prefix is faster fetched than computed again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.gpu.backends import Wanted, compile_cost
from replay.gpu.breakdown import Step, break_down
from replay.gpu.cost import time_steps, uniform_steps
from replay.gpu.recompute import Tier, break_even_tokens, recompute_ns, tiers_of
from replay.gpu.replica import Replica
from replay.gpu.spec import load_gpu, load_host, load_link, load_model

REPLICA = Replica(load_gpu("h100-sxm"), load_model("llama-3.1-8b"))
COST = compile_cost("roofline", Wanted(REPLICA, 8192, 300)).cost


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.integers(0, 90_000), st.integers(0, 250), st.integers(1, 9_000))
def test_the_parts_of_a_step_are_the_step(new, cached, decodes, context):
    step = Step(new, cached, decodes, context)
    found = break_down(REPLICA, COST, step)
    assert sum(found.parts_ns.values()) == pytest.approx(found.total_ns, abs=1.01)
    assert found.correction_ns == 0.0
    assert all(part > 0 for part in found.parts_ns.values())
    assert found.total_ns >= found.floor_ns
    assert found.interval_ns == found.total_ns


def test_stages_take_their_sum_and_a_new_step_can_start_after_one():
    replica = Replica(REPLICA.gpu, REPLICA.model, pipeline_parallel=4)
    cost = compile_cost("roofline", Wanted(replica, 8192, 300)).cost
    one, four = (
        break_down(r, c, Step(2048, 0, 0, 0)) for r, c in ((REPLICA, COST), (replica, cost))
    )
    handed = four.parts_ns["between stages"]
    assert four.total_ns == pytest.approx(one.total_ns + handed, abs=2)
    assert four.interval_ns == pytest.approx(one.total_ns / 4 + handed / 3, rel=1e-6)


def test_recomputing_a_prefix_is_what_it_adds_to_the_prompt():
    whole = time_steps(COST, uniform_steps([8192, 8192, 512], [0, 8192, 16384], head=False))
    suffix = time_steps(COST, uniform_steps(512, 16384, head=False))
    assert recompute_ns(COST, 16384, 512) == pytest.approx(int(whole.sum()) - int(suffix[0]))
    assert recompute_ns(COST, 0, 512) == 0.0


def test_loading_moves_each_gpus_part_over_its_own_link_and_drives_are_shared():
    memory, drive, four = (
        load_link("pcie5-x16"),
        load_link("nvme-gen4"),
        Replica(REPLICA.gpu, REPLICA.model, 4),
    )
    own = Tier("host memory", (memory,), (False,), True)
    size = 131_072 * 10_000
    rate = memory.effective_bytes_per_s
    assert own.load_ns(REPLICA, 10_000) == pytest.approx(memory.fixed_ns + size / rate * 1e9)
    assert own.load_ns(four, 10_000) == pytest.approx(memory.fixed_ns + size / 4 / rate * 1e9)
    disk = Tier("SSD", (drive, memory), (True, False), True)
    expected = drive.fixed_ns + memory.fixed_ns + size / drive.effective_bytes_per_s * 1e9
    assert disk.load_ns(four, 10_000) == pytest.approx(expected)
    assert disk.load_ns(four, 0) == 0.0


@pytest.mark.parametrize("host", ["dgx-h100", "pcie4-server", "gh200-node"])
def test_the_break_even_is_where_loading_stops_being_slower(host):
    for tier in tiers_of(load_host(host)):
        found = break_even_tokens(REPLICA, COST, tier, suffix=512)
        if not tier.links:
            assert found == 0
        elif found is not None:
            assert found % 16 == 0
            assert tier.load_ns(REPLICA, found) <= recompute_ns(COST, found, 512)
            before = found - 16
            if before:
                assert tier.load_ns(REPLICA, before) > recompute_ns(COST, before, 512)


def test_a_link_slower_than_computing_never_pays():
    slow = load_link("nvme-gen3").model_copy(update={"effective_bytes_per_s": 10**6})
    tier = Tier("tape", (slow,), (True,), True)
    assert break_even_tokens(REPLICA, COST, tier, suffix=512) is None
    assert [tier.name for tier in tiers_of(load_host("dgx-h100"))] == [
        "HBM", "host memory", "SSD", "network",
    ]  # fmt: skip
