"""The session store against its token-by-token twin, and the behaviour it is there for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from replay.cache.blocks import block_paths
from replay.cache.store_paths import prefix_lengths, store_paths
from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.run import execute, prepare_trace
from replay.engine.simulate import simulate_timed, simulate_untimed
from replay.errors import InputError
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests.naive import pool as naive
from tests.naive.scheduler import Scheduler
from tests.naive.store import Store, StoreRules
from tests.random_traces import BLOCK, mixed, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import (
    COUNTED,
    MISSED,
    UNTIMED,
    compare,
    cost_of,
    counted,
    engine_rules,
    naive_step_ns,
)

CAUSES = {**MISSED, "policy": layout.POLICY_MISS}

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


def drawn_requests(drawn: list[dict]):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    if "segments" in drawn[0]:
        return unit_trace_of(drawn), naive.make_unit_requests(drawn)
    return trace_of(drawn), naive.make_requests(drawn, BLOCK)


@settings(max_examples=250)
@given(
    drawn=mixed(st.one_of(unit_rows(), rows())),
    capacity=st.integers(1, 80),
    rules=store_rules,
    hold=st.sampled_from([0, 0, 150, 900]),
)
def test_untimed_store_equals_token_by_token_store(drawn, capacity, rules, hold):
    trace, requests = drawn_requests(drawn)
    rules = {**rules, "commit": "on_schedule"}
    engine = {"mode": "untimed", "hold": f"{hold}ns" if hold else None}
    scenario = scenario_of(rules, engine)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=1, capacity_blocks=capacity)
    simulation = simulate_untimed(plan)
    twin = StoreRules(block_size=1, capacity=capacity, hold_ns=hold, **rules)
    naive.replay_untimed(requests, twin, Store)
    compare(requests, counted(plan, simulation), UNTIMED, CAUSES)


@pytest.mark.slow
@settings(max_examples=250)
@given(
    drawn=mixed(st.one_of(unit_rows(), rows())),
    capacity=st.integers(8, 80),
    rules=store_rules,
    engine=engine_rules,
)
def test_timed_store_equals_token_by_token_store(drawn, capacity, rules, engine):
    trace, requests = drawn_requests(drawn)
    scenario = scenario_of(rules, engine)
    plan = make_plan(trace, build_tree(trace), scenario, block_size=1, capacity_blocks=capacity)
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    simulation = simulate_timed(plan, cost)
    twin = StoreRules(block_size=1, capacity=capacity, **rules, **engine)
    Scheduler(requests, twin, naive_step_ns(cost), Store).run()
    compare(requests, counted(plan, simulation), COUNTED, CAUSES)


# --- the behaviour it is there for, on small traces made by hand ----------------------------


def row(arrival_s: float, *pieces: tuple[int, int], output=2, session=None, response=None) -> dict:
    return {
        "arrival_ns": int(arrival_s * 1e9),
        "segments": [segment for segment, _ in pieces],
        "segment_tokens": [tokens for _, tokens in pieces],
        "response_segment": response,
        "input_tokens": sum(tokens for _, tokens in pieces),
        "output_tokens": output,
        "session_id": session,
    }


def replayed(drawn: list[dict], *, capacity: int | None = None, engine=None, cache=None, **store):
    """Return the requests table of a run through a session store."""
    mode = {"mode": "untimed"} if engine is None else engine
    scenario = Scenario(
        cache={
            "kind": "session_store",
            "capacity": "inf" if capacity is None else f"{capacity}tokens",
            "session_store": store,
            **(cache or {}),
        },
        engine=mode,
        trace={"sessions": "off"} if "session_id" not in drawn[0] else {},
    )
    return execute(prepare_trace(unit_trace_of(drawn), scenario)).tables["requests"]


def hits(requests, source: str = "") -> list[int]:
    return requests[f"{source}hit_tokens"].to_list()


def test_a_new_popular_prefix_gets_into_a_full_store_and_is_hit():
    crowd = [row(i, (100 + i, 60)) for i in range(30)]
    popular = [row(40 + i, (7, 60), (200 + i, 5)) for i in range(4)]
    requests = replayed(crowd + popular, max_prefix_cache_size=10, prefix_lengths=[50])
    assert hits(requests)[30:] == [0, 50, 50, 50]


def test_the_longest_stored_prefix_wins_and_longer_ones_are_learnt_later():
    drawn = [row(0, (1, 60)), row(1, (1, 220)), row(2, (1, 220)), row(3, (1, 320))]
    requests = replayed(drawn, prefix_lengths=[50, 100, 200, 300])
    assert hits(requests) == [0, 50, 200, 200]
    again = replayed([*drawn, row(4, (1, 320))], prefix_lengths=[50, 100, 200, 300])
    assert hits(again)[-1] == 300


@pytest.mark.parametrize(
    ("commit", "prefilled"), [("incremental", 1_000 + 5), ("on_completion", 6_000)]
)
def test_six_identical_prompts_at_once_are_one_prefill_where_it_is_visible(commit, prefilled):
    requests = replayed(
        [row(0, (1, 1_000), output=50) for _ in range(6)],
        engine={"max_batched_tokens": 1_000, "max_sequences": 8},
        cache={"commit": commit},
        store_whole_prompts=True,
        prefix_lengths=[500],
    )
    assert int((requests["input_tokens"] - requests["hit_tokens"]).sum()) == prefilled


def test_an_arrival_in_the_middle_of_a_prefill_hits_exactly_the_finished_chunks():
    drawn = [row(0, (1, 4_000), output=50), row(1e-9, (1, 4_000), output=50)]
    requests = replayed(
        drawn,
        engine={"max_batched_tokens": 1_000, "max_sequences": 8, "prefill_chunk_tokens": 900},
        cache={"commit": "incremental"},
        prefix_length_step=300,
    )
    assert hits(requests) == [0, 900]


def conversation() -> list[dict]:
    first = row(0, (1, 100), output=40, session=0, response=11)
    second = row(10, (1, 100), (11, 40), (2, 30), output=20, session=0, response=12)
    return [first, second]


def test_a_follow_up_hits_prompt_and_response_but_for_the_token_never_computed():
    requests = replayed(conversation(), enable_cross_request_caching=False)
    assert hits(requests, "session_") == [0, 139]
    assert requests["prefix_cache_event"].to_list() == ["MISS_FULL", "CONVERSATIONAL_HIT"]


@pytest.mark.parametrize(
    ("third", "hit", "event"),
    [
        pytest.param(
            row(20, (1, 100), (11, 40), (2, 30), session=0), 169, "FULL_HIT_NO_PREFILL_NEEDED",
            id="regenerate",
        ),
        pytest.param(
            row(20, (1, 100), (11, 40), (3, 50), session=0), 140, "CONVERSATIONAL_HIT", id="edit"
        ),
        pytest.param(row(20, (1, 60), session=0), 59, "FULL_HIT_NO_PREFILL_NEEDED", id="shorter"),
        pytest.param(
            row(20, (9, 80), session=0), 0, "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT", id="other"
        ),
        pytest.param(row(20, (1, 100), (11, 40), session=1), 0, "MISS_FULL", id="other session"),
    ],
)  # fmt: skip
def test_what_is_sent_next_hits_its_true_common_prefix(third, hit, event):
    requests = replayed([*conversation(), third], enable_cross_request_caching=False)
    assert hits(requests)[-1] == hit
    assert requests["prefix_cache_event"][-1] == event


def test_a_session_is_forgotten_when_its_time_is_over():
    requests = replayed(conversation(), enable_cross_request_caching=False, session_ttl="5s")
    assert hits(requests) == [0, 0]
    assert requests["capacity_miss_tokens"].to_list() == [0, 139]


def test_prefixes_below_the_minimum_are_not_stored():
    drawn = [row(0, (1, 100)), row(1, (1, 100))]
    assert hits(replayed(drawn, prefix_lengths=[50], min_prefix_cache_length=60)) == [0, 0]
    assert hits(replayed(drawn, prefix_lengths=[50], min_prefix_cache_length=50)) == [0, 50]


def test_what_is_kept_costs_memory_that_running_requests_take_back():
    sessions = [row(i, (i, 100), session=i, output=1) for i in range(5)]
    again = [row(10 + i, (i, 100), (50 + i, 10), session=i, output=1) for i in range(5)]
    roomy = replayed(sessions + again, enable_cross_request_caching=False)
    tight = replayed(sessions + again, capacity=250, enable_cross_request_caching=False)
    assert hits(roomy)[5:] == [100] * 5
    assert hits(tight)[5:] == [0] * 5
    assert tight["capacity_miss_tokens"].to_list()[5:] == [100] * 5


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("lru", [1, 3]), ("fifo", [2, 3]), ("lfu", [1, 3])],
)
def test_the_policy_says_which_stored_prefix_goes(policy, kept):
    drawn = [row(0, (1, 60)), row(1, (2, 60)), row(2, (1, 60)), row(3, (3, 60))]
    probes = {n: row(9, (n, 60)) for n in (1, 2, 3)}
    found = [
        n
        for n, probe in probes.items()
        if hits(
            replayed(
                [*drawn, probe],
                max_prefix_cache_size=2,
                prefix_lengths=[50],
                prefix_eviction_policy=policy,
            )
        )[-1]
    ]
    assert found == kept


def test_with_both_caches_off_nothing_is_reused():
    off = {"enable_session_caching": False, "enable_cross_request_caching": False}
    assert hits(replayed([*conversation(), *conversation()], **off)) == [0] * 4
    assert hits(replayed(conversation(), enable_prefix_caching=False)) == [0, 0]


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        ({"session_store": {"max_prefix_cache_size": 7}}, "no effect when kind is block"),
        ({"kind": "session_store", "block_size": 16}, "it is 1 token"),
        ({"kind": "session_store", "partial_blocks": True}, "partial_blocks has no effect"),
        ({"kind": "session_store", "session_store": {"prefix_eviction_policy": "mru"}}, "'lru'"),
        (
            {"kind": "session_store",
             "session_store": {"prefix_lengths": [9], "prefix_length_step": 4}},
            "not both",
        ),
    ],
)  # fmt: skip
def test_keys_of_the_other_kind_and_unknown_values_are_errors(cache, words):
    with pytest.raises(ValidationError, match=words):
        Scenario(cache=cache)


def test_prefixes_saved_what_requests_hit():
    drawn = [row(i, (1, 300), (10 + i % 2, 200), session=i, response=50 + i) for i in range(6)]
    scenario = Scenario(cache={"kind": "session_store"}, engine={"mode": "untimed"})
    tables = execute(prepare_trace(unit_trace_of(drawn), scenario)).tables
    assert tables["requests"]["hit_tokens"].sum() > 0
    assert tables["prefixes"]["hit_tokens"].sum() == tables["requests"]["hit_tokens"].sum()


def test_lengths_that_would_cut_content_into_crumbs_are_refused():
    drawn = [row(i, (i, 2_000_000)) for i in range(6)]
    with pytest.raises(InputError, match="cut the trace's content into 11,999,") as caught:
        replayed(drawn, prefix_length_step=1)
    assert "larger prefix_length_step" in str(caught.value.hint)


def test_cutting_edges_at_no_length_changes_nothing():
    trace = unit_trace_of(conversation())
    tree = build_tree(trace)
    paths = block_paths(
        tree, trace.column("output_tokens"), block_size=1, partial_blocks=False, responses=True
    )
    cut = store_paths(paths, np.zeros(0, np.int64)).paths
    for name in ("first", "blocks", "stop_tokens", "path_edges", "start", "prompt_stop", "stop"):
        assert np.array_equal(getattr(cut, name), getattr(paths, name)), name


def test_multiples_of_a_step_are_listed_from_the_shortest_on():
    assert prefix_lengths((), 4, shortest=5, longest=17).tolist() == [8, 12, 16]
    assert prefix_lengths((), 4, shortest=4, longest=3).tolist() == []
    assert prefix_lengths((9, 3, 9), None, shortest=4, longest=99).tolist() == [9]
