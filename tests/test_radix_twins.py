"""The radix cache against its page-by-page twin, request by request, on random traces."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.policies import policy_names
from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_timed, simulate_untimed
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests.naive import pool as naive
from tests.naive.radix import RadixCache, RadixRules, replay_untimed
from tests.naive.scheduler import Scheduler
from tests.random_traces import BLOCK, mixed, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import (
    COUNTED,
    RESPONSES,
    UNTIMED,
    compare,
    cost_of,
    counted,
    engine_rules,
    kept_rules,
    naive_step_ns,
    pinned_keys,
)

cache_rules = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(policy_names("radix")),
        "classic": st.booleans(),
        "protected_hits": st.integers(1, 3),
        "enabled": st.sampled_from([True] * 7 + [False]),
        "responses": st.booleans(),
        "priorities": st.lists(st.integers(-2, 2), max_size=4).map(tuple),
    }
)
sizes = st.sampled_from([1, 2, 3, 4, 8])


def scenario_of(rules: dict, kept: dict, pinned: list[int], engine: dict) -> Scenario:
    radix = {}
    if rules["policy"] in ("fifo", "filo"):
        radix["tree"] = "classic" if rules["classic"] else "unified"
    if rules["policy"] == "slru":
        radix["protected_hits"] = rules["protected_hits"]
    own = {name: rules[name] for name in ("policy", "enabled", "responses")}
    ttl = None if kept["ttl"] is None else f"{kept['ttl']}ns"
    return Scenario(
        cache={"kind": "radix", "radix": radix, **own, "ttl": ttl, "pinned_prefixes": pinned},
        engine=engine,
    )


def both(drawn: list[dict], *, size, capacity, cache, kept, engine, twin):
    """Return the plan of a replay, the twin's requests and its rules."""
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    if "segments" in drawn[0]:
        trace, requests = unit_trace_of(drawn), naive.make_unit_requests(drawn)
    else:
        trace, requests = trace_of(drawn), naive.make_requests(drawn, BLOCK)
    tree = build_tree(trace)
    pinned = [int(share * tree.edges) for share in kept["pins"]]
    rules = RadixRules(
        block_size=size,
        capacity=capacity,
        ttl_ns=kept["ttl"],
        pinned=pinned_keys(tree, requests, pinned, size, partial_blocks=False),
        **cache,
        **twin,
    )
    for one in requests:
        one.priority = rules.priority(one)
    column = pl.Series("priority", [one.priority for one in requests], dtype=pl.Int64)
    trace = trace.changed(trace.frame.with_columns(column))
    scenario = scenario_of(cache, kept, pinned, engine)
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=capacity)
    return plan, requests, rules


def compare_known_evictors(requests: list[naive.Request], outcome: np.ndarray) -> None:
    """Assert that who is named is who it was; only what an edge lost last is remembered."""
    for request in requests:
        by, when = outcome[request.index, [layout.EVICTED_BY, layout.EVICTED_AT_NS]]
        if by != 0:
            assert (None if by < 0 else by - 1, when) == (request.evicted_by, request.evicted_ns)


@settings(max_examples=200)
@given(
    drawn=mixed(st.one_of(unit_rows(), rows())),
    size=sizes,
    capacity=st.integers(1, 60),
    cache=cache_rules,
    kept=kept_rules,
    hold=st.sampled_from([0, 0, 200, 1_000]),
)
def test_untimed_replay_equals_page_by_page_cache(drawn, size, capacity, cache, kept, hold):
    engine = {"mode": "untimed", "hold": f"{hold}ns" if hold else None}
    plan, requests, rules = both(
        drawn, size=size, capacity=capacity, cache=cache, kept=kept, engine=engine,
        twin={"hold_ns": hold},
    )  # fmt: skip
    simulation = simulate_untimed(plan)
    outcome = simulation.outcome
    replay_untimed(requests, rules)
    compare(requests, counted(plan, simulation), UNTIMED)
    compare_known_evictors(requests, outcome)
    for request in requests:
        assert outcome[request.index, layout.RESPONSE] == RESPONSES[request.response_came_to]


@pytest.mark.slow
@settings(max_examples=200)
@given(
    drawn=mixed(st.one_of(unit_rows(last_arrival_ns=300), rows(last_arrival_ns=300))),
    size=sizes,
    room=st.integers(-3, 12),
    cache=cache_rules,
    kept=kept_rules,
    engine=engine_rules,
)
def test_timed_engine_equals_page_by_page_cache(drawn, size, room, cache, kept, engine):
    longest = max(-(-(row["input_tokens"] + row["output_tokens"] - 1) // size) for row in drawn)
    plan, requests, rules = both(
        drawn, size=size, capacity=max(longest + room, 1), cache=cache, kept=kept, engine=engine,
        twin=engine,
    )  # fmt: skip
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    simulation = simulate_timed(plan, cost)
    outcome = simulation.outcome
    Scheduler(requests, rules, naive_step_ns(cost), RadixCache).run()
    compare(requests, counted(plan, simulation), COUNTED)
    compare_known_evictors(requests, outcome)
