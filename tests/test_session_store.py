"""The session store against its token-by-token twin, and the behaviour it is there for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_timed, simulate_untimed
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests import naive
from tests.naive_store import Store, StoreRules
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import COUNTED, UNTIMED, cost_of, engine_rules, naive_step_ns

STATUSES = {"completed": 0, "rejected": 1, "unfinished": 2}
MISSED = {
    "cold": layout.COLD,
    "capacity": layout.CAPACITY_MISS,
    "in_flight": layout.IN_FLIGHT,
    "granularity": layout.GRANULARITY,
    "policy": layout.POLICY_MISS,
    "disabled": layout.DISABLED,
}

store_rules = st.fixed_dictionaries(
    {
        "enabled": st.sampled_from([True] * 7 + [False]),
        "responses": st.booleans(),
        "commit": st.sampled_from(["on_schedule", "incremental", "on_completion"]),
        "session_cache": st.sampled_from([True, True, False]),
        "prefix_store": st.sampled_from([True, True, False]),
        "min_prefix": st.integers(1, 4),
        "max_entries": st.integers(1, 5),
        "policy": st.sampled_from(["lru", "lfu", "fifo"]),
        "lengths": st.lists(st.integers(1, 20), min_size=1, max_size=6).map(tuple),
        "whole_prompts": st.booleans(),
        "ttl_ns": st.sampled_from([None, None, 300, 2_000]),
    }
)


def scenario_of(rules: dict, engine: dict | None = None) -> Scenario:
    ttl_ns = rules["ttl_ns"]
    store = {
        "enable_session_caching": rules["session_cache"],
        "enable_cross_request_caching": rules["prefix_store"],
        "min_prefix_cache_length": rules["min_prefix"],
        "max_prefix_cache_size": rules["max_entries"],
        "prefix_eviction_policy": rules["policy"],
        "prefix_lengths": rules["lengths"],
        "store_whole_prompts": rules["whole_prompts"],
        "session_ttl": None if ttl_ns is None else f"{ttl_ns}ns",
    }
    cache = {name: rules[name] for name in ("enabled", "responses", "commit")}
    return Scenario(
        cache={**cache, "kind": "session_store", "session_store": store}, engine=engine or {}
    )


def compare(requests: list[naive.Request], outcome: np.ndarray, columns: dict[str, int]) -> None:
    for request in requests:
        row = outcome[request.index]
        got = {name: int(row[at]) for name, at in columns.items()}
        assert got == {name: getattr(request, name) for name in columns}, request.index
        missed = {name: int(row[at]) for name, at in MISSED.items()}
        assert missed == request.misses, request.index
        assert row[layout.STATUS] == STATUSES[request.status]
        assert request.hit + sum(request.misses.values()) == len(request.prompt)


def drawn_requests(drawn: list[dict]):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    if "segments" in drawn[0]:
        return unit_trace_of(drawn), naive.make_unit_requests(drawn)
    return trace_of(drawn), naive.make_requests(drawn, BLOCK)


@settings(max_examples=400)
@given(drawn=st.one_of(unit_rows(), rows()), capacity=st.integers(1, 80), rules=store_rules)
def test_untimed_store_equals_token_by_token_store(drawn, capacity, rules):
    trace, requests = drawn_requests(drawn)
    scenario = scenario_of(rules)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=1, capacity_blocks=capacity)
    outcome = simulate_untimed(plan).outcome
    naive.replay_untimed(requests, StoreRules(block_size=1, capacity=capacity, **rules), Store)
    compare(requests, outcome, {name: COUNTED[name] for name in UNTIMED})
    for request in requests:
        if request.status == "completed":
            assert outcome[request.index, layout.FREE_AFTER] == request.free_after


@pytest.mark.slow
@settings(max_examples=400)
@given(
    drawn=st.one_of(unit_rows(), rows()),
    capacity=st.integers(8, 80),
    rules=store_rules,
    engine=engine_rules,
)
def test_timed_store_equals_token_by_token_store(drawn, capacity, rules, engine):
    trace, requests = drawn_requests(drawn)
    scenario = scenario_of(rules, engine)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=1, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    outcome = simulate_timed(plan, cost).outcome
    twin = StoreRules(block_size=1, capacity=capacity, **rules, **engine)
    naive.Engine(requests, twin, naive_step_ns(cost), Store).run()
    compare(requests, outcome, COUNTED)
