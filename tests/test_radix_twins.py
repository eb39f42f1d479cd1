"""The radix cache against its page-by-page twin, request by request, on random traces."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import POLICY_NAMES, Scenario
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_untimed
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests import naive
from tests.naive_radix import RadixRules, replay
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import COUNTED, UNTIMED, compare

RESPONSES = ("none", "cached", "skipped")

cache_rules = st.fixed_dictionaries(
    {
        "policy": st.sampled_from(POLICY_NAMES["radix"]),
        "classic": st.booleans(),
        "protected_hits": st.integers(1, 3),
        "enabled": st.sampled_from([True] * 7 + [False]),
        "responses": st.booleans(),
        "priorities": st.lists(st.integers(-2, 2), max_size=4).map(tuple),
    }
)
sizes = st.sampled_from([1, 2, 3, 4, 8])


def scenario_of(rules: dict, engine: dict) -> Scenario:
    radix = {}
    if rules["policy"] in ("fifo", "filo"):
        radix["tree"] = "classic" if rules["classic"] else "unified"
    if rules["policy"] == "slru":
        radix["protected_hits"] = rules["protected_hits"]
    own = {name: rules[name] for name in ("policy", "enabled", "responses")}
    return Scenario(cache={"kind": "radix", "radix": radix, **own}, engine=engine)


def requests_of(drawn: list[dict], rules: dict):
    """Return the rows as a trace with priorities and as the twin's requests."""
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    if "segments" in drawn[0]:
        trace, requests = unit_trace_of(drawn), naive.make_unit_requests(drawn)
    else:
        trace, requests = trace_of(drawn), naive.make_requests(drawn, BLOCK)
    twin = RadixRules(block_size=1, capacity=1, priorities=rules["priorities"])
    column = pl.Series("priority", [twin.priority(one) for one in requests], dtype=pl.Int64)
    return trace.changed(trace.frame.with_columns(column)), requests


@settings(max_examples=600)
@given(
    drawn=st.one_of(unit_rows(), rows()),
    size=sizes,
    capacity=st.integers(1, 60),
    rules=cache_rules,
    hold_ns=st.sampled_from([None, None, 200, 1_000]),
)
def test_untimed_replay_equals_page_by_page_cache(drawn, size, capacity, rules, hold_ns):
    trace, requests = requests_of(drawn, rules)
    hold = None if hold_ns is None else f"{hold_ns}ns"
    scenario = scenario_of(rules, {"mode": "untimed", "hold": hold})
    plan = make_plan(trace, build_tree(trace), scenario, block_size=size, capacity_blocks=capacity)
    outcome = simulate_untimed(plan).outcome
    twin = RadixRules(block_size=size, capacity=capacity, hold_ns=hold_ns or 0, **rules)
    lives = replay(requests, twin)
    compare(requests, outcome, {name: COUNTED[name] for name in UNTIMED})
    for request, life in zip(requests, lives, strict=True):
        row = outcome[request.index]
        assert row[layout.FREE_AFTER] == request.free_after
        assert row[layout.EVICTABLE_AFTER] == life.evictable
        assert row[layout.ADMITTED_NS] == life.admitted_ns
        assert row[layout.ATTEMPTS] == life.attempts
        assert row[layout.FOUND] == life.found
        assert row[layout.EVICTED_LATER] == life.evicted_later
        assert RESPONSES[row[layout.RESPONSE]] == life.response
