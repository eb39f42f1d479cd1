"""The kernels against their naive twins, request by request, on random traces."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_timed, simulate_untimed
from replay.gpu.cost import StepCost
from replay.kernels import layout
from replay.kernels.cost import decode_attention_ns, prefill_attention_ns
from replay.trace.tree import build_tree
from tests import naive
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of

STATUSES = {"completed": 0, "rejected": 1, "unfinished": 2}
ATTENTION = np.array([0.9, 0.7, 4.0, 2.0, 3.0, 1.3, 0.4, 1.1])
COUNTED = {
    "hit": layout.HIT,
    "session_hit": layout.SESSION_HIT,
    "hit_blocks": layout.HIT_BLOCKS,
    "evicted": layout.EVICTED_BLOCKS,
    "scheduled_ns": layout.SCHEDULED_NS,
    "first_token_ns": layout.FIRST_TOKEN_NS,
    "done_ns": layout.DONE_NS,
    "itl_max_ns": layout.ITL_MAX_NS,
    "preemptions": layout.PREEMPTIONS,
    "recomputed": layout.RECOMPUTED,
}
UNTIMED = ("hit", "session_hit", "hit_blocks", "evicted")
MISSED = {
    "cold": layout.COLD,
    "capacity": layout.CAPACITY_MISS,
    "in_flight": layout.IN_FLIGHT,
    "granularity": layout.GRANULARITY,
    "disabled": layout.DISABLED,
}

sizes = st.sampled_from([1, 2, 3, 4, 5, 8])
cache_rules = st.fixed_dictionaries(
    {
        "enabled": st.sampled_from([True, True, True, False]),
        "responses": st.booleans(),
        "partial_blocks": st.booleans(),
        "commit": st.sampled_from(["on_schedule", "incremental", "on_completion"]),
    }
)


def cost_of(most_tokens: int, most_sequences: int) -> StepCost:
    linear = 3.0 + 1.5 * np.arange(most_tokens + 1)
    head = 0.25 * np.arange(most_sequences + 1)
    linear[0] = head[0] = 0.0
    return StepCost(linear_ns=linear, head_ns=head, attention=ATTENTION)


def naive_step_ns(cost: StepCost):
    def step_ns(prompts, contexts, sampled) -> int:
        prefill_ns = 0.0
        for chunk, computed in prompts:
            prefill_ns += prefill_attention_ns(cost.attention, chunk, computed)
        decode_ns = 0.0
        if contexts:
            decode_ns = decode_attention_ns(cost.attention, len(contexts), sum(contexts))
        tokens = len(contexts) + sum(chunk for chunk, _ in prompts)
        return math.ceil(cost.linear_ns[tokens] + cost.head_ns[sampled] + prefill_ns + decode_ns)

    return step_ns


def compare(
    requests: list[naive.Request],
    outcome: np.ndarray,
    columns: dict[str, int],
    causes: dict[str, int] = MISSED,
) -> None:
    """Assert that every request came out as its twin did, each token hit or missed once."""
    for request in requests:
        row = outcome[request.index]
        got = {name: int(row[at]) for name, at in columns.items()}
        assert got == {name: getattr(request, name) for name in columns}, request.index
        missed = {name: int(row[at]) for name, at in causes.items()}
        assert missed == request.misses, request.index
        assert row[layout.STATUS] == STATUSES[request.status]
        assert request.hit + sum(request.misses.values()) == len(request.prompt)
        assert row[layout.SESSION_HIT] + row[layout.CROSS_REQUEST_HIT] == row[layout.HIT]


@settings(max_examples=300)
@given(drawn=rows(), size=sizes, capacity=st.integers(1, 40), rules=cache_rules)
def test_untimed_replay_equals_block_by_block_pool(drawn, size, capacity, rules):
    trace = trace_of(drawn)
    scenario = Scenario(cache=rules)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    outcome = simulate_untimed(plan).outcome
    requests = naive.make_requests(drawn, BLOCK)
    naive.replay_untimed(requests, naive.Rules(block_size=size, capacity=capacity, **rules))
    compare(requests, outcome, {name: COUNTED[name] for name in UNTIMED})
    for request in requests:
        if request.status == "completed":
            assert outcome[request.index, layout.FREE_AFTER] == request.free_after


@settings(max_examples=300)
@given(drawn=unit_rows(), size=sizes, capacity=st.integers(1, 40), rules=cache_rules)
def test_untimed_replay_of_known_responses_equals_block_by_block_pool(drawn, size, capacity, rules):
    trace = unit_trace_of(drawn)
    scenario = Scenario(cache=rules)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    outcome = simulate_untimed(plan).outcome
    requests = naive.make_unit_requests(drawn)
    naive.replay_untimed(requests, naive.Rules(block_size=size, capacity=capacity, **rules))
    compare(requests, outcome, {name: COUNTED[name] for name in UNTIMED})


engine_rules = st.fixed_dictionaries(
    {
        "max_batched_tokens": st.integers(4, 40),
        "max_sequences": st.integers(1, 4),
        "chunked_prefill": st.sampled_from([True, True, True, False]),
        "prefill_chunk_tokens": st.sampled_from([None, None, 3, 8]),
    }
)


@pytest.mark.slow
@settings(max_examples=250)
@given(
    drawn=rows(),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    engine=engine_rules,
    horizon=st.sampled_from([None, None, None, 500]),
)
def test_timed_engine_equals_request_by_request_engine(
    drawn, size, capacity, cache, engine, horizon
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    trace = trace_of(drawn)
    duration = None if horizon is None else f"{horizon}ns"
    scenario = Scenario(cache=cache, engine={**engine, "horizon": duration})
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    outcome = simulate_timed(plan, cost).outcome
    requests = naive.make_requests(drawn, BLOCK)
    rules = naive.Rules(block_size=size, capacity=capacity, horizon_ns=horizon, **cache, **engine)
    naive.Engine(requests, rules, naive_step_ns(cost)).run()
    columns = COUNTED
    if horizon is not None:  # a request cut short has a longest gap only in the twin
        columns = {name: at for name, at in COUNTED.items() if name != "itl_max_ns"}
    compare(requests, outcome, columns)


@pytest.mark.slow
@settings(max_examples=250)
@given(
    drawn=unit_rows(),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    engine=engine_rules,
)
def test_timed_engine_with_known_responses_equals_request_by_request_engine(
    drawn, size, capacity, cache, engine
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    trace = unit_trace_of(drawn)
    scenario = Scenario(cache=cache, engine=engine)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    outcome = simulate_timed(plan, cost).outcome
    requests = naive.make_unit_requests(drawn)
    rules = naive.Rules(block_size=size, capacity=capacity, **cache, **engine)
    naive.Engine(requests, rules, naive_step_ns(cost)).run()
    compare(requests, outcome, COUNTED)
