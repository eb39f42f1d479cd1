"""What a run says its requests could have hit, against the policies asked one by one."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cache.ranked_policies import optimum_hit_blocks
from replay.cache.view import block_view
from replay.config.scenario import Scenario
from replay.engine import memory_curve
from replay.engine.diagnosis import asked_of, diagnose
from replay.engine.plan import make_plan
from replay.engine.run import execute, prepare_trace
from replay.engine.simulate import simulate_untimed
from replay.kernels import layout
from replay.kernels.policies.lru import replay_lru
from replay.trace.frame import Trace
from replay.trace.tree import build_tree
from tests.random_traces import mixed, rows, trace_of


@settings(max_examples=100)
@given(drawn=mixed(rows()), size=st.integers(1, 8), capacity=st.integers(1, 40))
def test_columns_are_those_of_the_policies(drawn, size, capacity):
    trace = trace_of(drawn)
    tree = build_tree(trace)
    scenario = Scenario(engine={"mode": "untimed"})
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=capacity)
    outcome = simulate_untimed(plan).outcome
    found = diagnose(plan, outcome)
    outputs = trace.column("output_tokens").astype(np.int64)
    view = block_view(tree, outputs, block_size=size)
    best = view.saved_tokens(optimum_hit_blocks(view.references, capacity))
    assert found.optimum_hit_tokens.tolist() == best.tolist()
    avoidable = found.avoidable_miss_tokens
    assert (avoidable <= outcome[:, layout.CAPACITY_MISS]).all()
    assert (avoidable <= np.maximum(best - outcome[:, layout.HIT], 0)).all()
    refs = view.references
    most = replay_lru(refs.blocks, refs.offsets, refs.edges, refs.limit, 10**9)[0]
    for request, enough in enumerate(found.sufficient_capacity_blocks.tolist()):
        at = [
            replay_lru(refs.blocks, refs.offsets, refs.edges, refs.limit, blocks)[0][request]
            for blocks in (max(enough, 1), max(enough - 1, 1))
        ]
        assert at[0] == most[request]
        assert enough <= 1 or at[1] < most[request]


@pytest.mark.parametrize("long", [False, True])
@settings(max_examples=60)
@given(drawn=rows(), size=st.integers(1, 8), capacity=st.one_of(st.none(), st.integers(1, 40)))
def test_the_curve_of_a_run_is_exact_at_each_of_its_capacities(long, drawn, size, capacity):
    trace = trace_of(drawn)
    tree = build_tree(trace)
    scenario = Scenario(engine={"mode": "untimed"})
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=capacity)
    with patch.object(memory_curve, "MANY_REFERENCES", 0 if long else 10**6):
        found = memory_curve.curve_frame(asked_of(plan))
    view = block_view(tree, trace.column("output_tokens").astype(np.int64), block_size=size)
    refs = view.references
    for policy, blocks, tokens in found.rows():
        if policy == "min":
            hits = optimum_hit_blocks(refs, blocks)
        else:
            hits = replay_lru(refs.blocks, refs.offsets, refs.edges, refs.limit, blocks)[0]
        assert view.saved_tokens(hits).sum() == tokens, (policy, blocks)
    lru = found.filter(found["policy"] == "lru")
    assert len(lru) <= 200
    assert lru["capacity_blocks"].is_sorted()
    assert lru["capacity_blocks"].is_unique().all()
    assert lru["hit_tokens"].max() == view.curve.ceiling_tokens
    enough = lru.filter(lru["hit_tokens"] >= 0.9 * view.curve.ceiling_tokens)["capacity_blocks"]
    exact = max(view.curve.smallest_capacity(0.9), lru["capacity_blocks"].min())
    assert enough.min() >= exact
    assert long or enough.min() == exact
    if capacity is not None:
        assert {capacity, 2 * capacity, 4 * capacity} <= set(lru["capacity_blocks"])
        assert capacity in found.filter(found["policy"] == "min")["capacity_blocks"]


def two_prompts_in_turn(requests: int) -> Trace:
    return trace_of(
        [
            {
                "arrival_ns": at,
                "block_ids": [0, 1 + at % 2],
                "input_tokens": 8,
                "output_tokens": 2,
                "session_id": 0,
            }
            for at in range(requests)
        ]
    )


@pytest.mark.parametrize("cache", [{"enabled": False}, {"kind": "session_store"}])
def test_where_nothing_can_be_said_the_columns_are_null(cache):
    scenario = Scenario(cache=cache, engine={"mode": "untimed"})
    requests = execute(prepare_trace(two_prompts_in_turn(3), scenario)).tables["requests"]
    for name in ("avoidable_miss_tokens", "optimum_hit_tokens", "sufficient_capacity_blocks"):
        assert requests[name].null_count() == 3


def test_an_unlimited_cache_misses_nothing_that_could_be_avoided():
    scenario = Scenario(engine={"mode": "untimed"})
    requests = execute(prepare_trace(two_prompts_in_turn(6), scenario)).tables["requests"]
    assert requests["avoidable_miss_tokens"].to_list() == [0] * 6
    assert requests["optimum_hit_tokens"].to_list() == requests["hit_tokens"].to_list()
