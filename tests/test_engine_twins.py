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
from replay.kernels import cost as cost_kernel
from replay.trace.tree import build_tree
from tests import naive, naive_attention
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of

STATUSES = {"completed": 0, "rejected": 1, "unfinished": 2}
KINDS = {  # of attention, in the words of tests/naive_attention.py
    "pair": 0.9, "tile_key": 0.7, "tile_start": 1.5, "tile_rows": 4, "heads": 2, "sms": 3,
    "key": 1.3, "row": 0.4, "expand": 0.2, "decode_pair": 0.8, "decode_key": 1.1,
    "decode_row": 0.3, "group": 2, "l2_keys": 9.0, "window": 11.0, "decodes": "apart",
}  # fmt: skip
COLUMNS = {
    "pair": cost_kernel.PAIR_NS,
    "tile_key": cost_kernel.TILE_KEY_NS,
    "tile_start": cost_kernel.TILE_START_KEYS,
    "tile_rows": cost_kernel.TILE_ROWS,
    "heads": cost_kernel.HEADS,
    "sms": cost_kernel.SMS,
    "key": cost_kernel.KEY_NS,
    "row": cost_kernel.ROW_NS,
    "expand": cost_kernel.EXPAND_NS,
    "decode_pair": cost_kernel.DECODE_PAIR_NS,
    "decode_key": cost_kernel.DECODE_KEY_NS,
    "decode_row": cost_kernel.DECODE_ROW_NS,
    "group": cost_kernel.GROUP,
    "l2_keys": cost_kernel.L2_KEYS,
    "window": cost_kernel.WINDOW,
}
DECODES = ("apart", "tiles beside chunks", "always tiles")
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


def kinds_of(decodes: str) -> list[dict]:
    """Return two kinds of layers, one of them with a window."""
    full = {**KINDS, "decodes": decodes, "window": 2.0**53, "expand": 0.0}
    return [full, {**KINDS, "decodes": decodes}]


def cost_of(most_tokens: int, most_sequences: int, decodes: str = "apart") -> StepCost:
    linear = 3.0 + 1.5 * np.arange(most_tokens + 1)
    head = 0.25 * np.arange(most_sequences + 1)
    linear[0] = head[0] = 0.0
    attention = np.zeros((2, cost_kernel.COEFFICIENTS))
    for row, kind in zip(attention, kinds_of(decodes), strict=True):
        for name, column in COLUMNS.items():
            row[column] = kind[name]
        row[cost_kernel.UNSPLIT] = DECODES.index(decodes)
    return StepCost(linear_ns=linear, head_ns=head, attention=attention)


def naive_step_ns(cost: StepCost):
    kinds = kinds_of(DECODES[int(cost.attention[0, cost_kernel.UNSPLIT])])

    def step_ns(prompts, contexts, sampled) -> int:
        tokens = len(contexts) + sum(chunk for chunk, _ in prompts)
        attention = naive_attention.attention(kinds, prompts, contexts)
        total = cost.linear_ns[tokens] + cost.head_ns[sampled] + attention
        # Both sides add the same few terms in another order: a unit in the last place is no
        # difference, but it must not tip the rounding up.
        return math.ceil(round(total, 6))

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
    decodes=st.sampled_from(DECODES),
)
def test_timed_engine_equals_request_by_request_engine(
    drawn, size, capacity, cache, engine, horizon, decodes
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    trace = trace_of(drawn)
    duration = None if horizon is None else f"{horizon}ns"
    scenario = Scenario(cache=cache, engine={**engine, "horizon": duration})
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"], decodes)
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
    decodes=st.sampled_from(DECODES),
)
def test_timed_engine_with_known_responses_equals_request_by_request_engine(
    drawn, size, capacity, cache, engine, decodes
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    trace = unit_trace_of(drawn)
    scenario = Scenario(cache=cache, engine=engine)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"], decodes)
    outcome = simulate_timed(plan, cost).outcome
    requests = naive.make_unit_requests(drawn)
    rules = naive.Rules(block_size=size, capacity=capacity, **cache, **engine)
    naive.Engine(requests, rules, naive_step_ns(cost)).run()
    compare(requests, outcome, COUNTED)
