"""What a radix cache does, on small traces made by hand, and which keys it knows."""

from __future__ import annotations

import polars as pl
import pytest
from pydantic import ValidationError

from replay.config.policies import POLICIES, policy_code, policy_names
from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.errors import InputError
from replay.kernels import layout
from tests.random_traces import unit_trace_of


def row(arrival_s: float, *pieces: tuple[int, int], output=1, session=None, response=None) -> dict:
    return {
        "arrival_ns": int(arrival_s * 1e9),
        "segments": [segment for segment, _ in pieces],
        "segment_tokens": [tokens for _, tokens in pieces],
        "response_segment": response,
        "input_tokens": sum(tokens for _, tokens in pieces),
        "output_tokens": output,
        "session_id": session,
    }


def run(drawn: list[dict], *, capacity: int | None = None, priorities=None, engine=None, **cache):
    """Return the tables of a run through a radix cache of `capacity` tokens."""
    scenario = Scenario(
        cache={
            "kind": "radix",
            "capacity": "inf" if capacity is None else f"{capacity}tokens",
            **cache,
        },
        engine=engine or {"mode": "untimed"},
    )
    trace = unit_trace_of(drawn)
    if priorities is not None:
        trace = trace.changed(trace.frame.with_columns(pl.Series("priority", priorities)))
    return execute(prepare_trace(trace, scenario)).tables


def hits(drawn: list[dict], **options) -> list[int]:
    return run(drawn, **options)["requests"]["hit_tokens"].to_list()


def test_the_last_token_of_a_prompt_is_always_computed():
    assert hits([row(0, (1, 10)), row(1, (1, 10))]) == [0, 9]
    assert hits([row(0, (1, 10)), row(1, (1, 10))], block_size=5) == [0, 5]


def test_pages_are_shared_whole():
    drawn = [row(0, (1, 10), (2, 10)), row(1, (1, 10), (3, 10))]
    assert hits(drawn, block_size=1) == [0, 10]
    assert hits(drawn, block_size=4) == [0, 8]
    assert hits(drawn, block_size=16) == [0, 0]


def test_one_token_pages_are_the_default_whatever_the_trace_has():
    scenario = Scenario(cache={"kind": "radix"}, engine={"mode": "untimed"})
    trace = unit_trace_of([row(0, (1, 10))])
    assert execute(prepare_trace(trace, scenario)).manifest["cache"]["block_size"] == 1


def test_a_leaf_is_evicted_whole():
    drawn = [row(0, (1, 50)), row(1, (2, 40)), row(2, (3, 20)), row(3, (1, 50))]
    requests = run(drawn, capacity=100)["requests"]
    assert requests["evicted_blocks"].to_list() == [0, 0, 50, 40]
    assert requests["hit_tokens"].to_list() == [0, 0, 0, 0]
    assert run(drawn, capacity=100)["prefixes"]["evicted_blocks"].to_list() == [50]


def test_what_was_looked_up_last_outlives_what_was_computed_later():
    drawn = [row(0, (1, 40)), row(1, (2, 40)), row(2, (1, 40)), row(3, (3, 30)), row(4, (1, 40))]
    assert hits(drawn, capacity=100) == [0, 0, 39, 0, 39]
    assert hits(drawn, capacity=100, policy="fifo") == [0, 0, 39, 0, 0]


def test_a_prefix_used_twice_is_protected_from_a_crowd():
    popular = [row(at, (1, 30), (100 + at, 5)) for at in range(2)]
    crowd = [row(10 + at, (200 + at, 30)) for at in range(3)]
    drawn = [*popular, *crowd, row(20, (1, 30), (300, 5))]
    assert hits(drawn, capacity=100)[-1] == 0
    assert hits(drawn, capacity=100, policy="slru")[-1] == 30
    assert hits(drawn, capacity=100, policy="slru", radix={"protected_hits": 3})[-1] == 0


def test_the_lowest_priority_goes_first():
    drawn = [row(0, (1, 40)), row(1, (2, 40)), row(2, (3, 40)), row(3, (1, 40))]
    assert hits(drawn, capacity=100, policy="priority")[-1] == 0
    assert hits(drawn, capacity=100, policy="priority", priorities=[1, 0, 0, 0])[-1] == 39


def test_priorities_must_be_whole_numbers():
    with pytest.raises(InputError, match="priority must be a whole number"):
        hits([row(0, (1, 4))], policy="priority", priorities=[0.5])


def test_a_response_goes_before_its_prompt():
    drawn = [
        row(0, (1, 40), output=21, response=7),
        row(1, (2, 40)),
        row(2, (3, 20)),
        row(3, (1, 40), (7, 20), (9, 1)),
    ]
    assert hits(drawn, capacity=101)[-1] == 40


def test_split_parts_are_as_old_as_the_node_or_as_the_split():
    drawn = [
        row(0, (1, 40)),
        row(1, (2, 30)),
        row(2, (1, 20), (4, 1)),  # splits the first
        row(3, (5, 40)),  # evicts the rest of it, then what came first
        row(4, (2, 30)),
    ]
    assert hits(drawn, capacity=100, policy="fifo")[-1] == 29
    assert hits([*drawn[:3], row(3, (5, 60)), drawn[4]], capacity=100, policy="fifo")[-1] == 0


def test_who_evicted_what_was_missed():
    drawn = [row(0, (1, 50)), row(1, (2, 40)), row(2, (3, 20)), row(3, (1, 50))]
    requests = run(drawn, capacity=100)["requests"]
    assert requests["evicted_by_request_id"].to_list() == [None, None, None, 2]


def test_idle_leaves_expire_from_the_end_of_a_path():
    drawn = [
        row(0, (1, 20)),
        row(1, (1, 20), (2, 20)),
        row(8, (1, 20), (3, 1)),
        row(12, (1, 20), (2, 20)),
        row(30, (1, 20), (2, 20)),
    ]
    assert hits(drawn) == [0, 20, 20, 39, 39]
    assert hits(drawn, ttl="10s") == [0, 20, 20, 20, 0]


def test_pinned_prefixes_stay():
    drawn = [row(0, (1, 20), (2, 20)), row(1, (3, 60)), row(2, (4, 60)), row(3, (1, 20), (2, 20))]
    drawn.append(row(4, (1, 20), (5, 20)))
    assert hits(drawn, capacity=100)[3] == 0
    prefixes = run(drawn)["prefixes"]
    opening = prefixes.filter(stop_tokens=20)["prefix_id"].item()
    assert hits(drawn, capacity=100, pinned_prefixes=[opening])[3] == 20


def test_a_timed_engine_inserts_a_prompt_when_its_step_ends():
    drawn = [row(0, (1, 100)), row(0, (1, 100)), row(60, (1, 100))]
    requests = run(drawn, engine={"baseline": False})["requests"]
    assert requests["hit_tokens"].to_list() == [0, 0, 99]
    assert requests["in_flight_tokens"].to_list() == [0, 99, 0]


@pytest.mark.parametrize(
    ("cache", "problem"),
    [
        ({"kind": "radix", "policy": "lirs"}, "kind radix knows lru, lfu, fifo, mru, filo, slru"),
        ({"policy": "lfu"}, "kind block knows lru (got 'lfu')"),
        ({"radix": {"tree": "classic"}}, "radix has no effect when kind is block"),
        ({"kind": "radix", "radix": {"tree": "classic"}}, "it matters to fifo and filo"),
        ({"kind": "radix", "radix": {"protected_hits": 3}}, "it matters to slru"),
        ({"kind": "radix", "partial_blocks": True}, "shares whole pages"),
        ({"kind": "radix", "commit": "on_completion"}, "when its step ends"),
    ],
)
def test_keys_without_an_effect_are_refused(cache, problem):
    with pytest.raises(ValidationError) as refusal:
        Scenario(cache=cache)
    assert problem in str(refusal.value)


def test_the_place_of_a_policy_is_its_code():
    codes = {
        "radix": ("LRU", "LFU", "FIFO", "MRU", "FILO", "SLRU", "PRIORITY"),
        "session_store": ("RECENCY", "FREQUENCY", "AGE"),
    }
    for kind, words in codes.items():
        named = [getattr(layout, f"BY_{word}") for word in words]
        assert [policy_code(kind, name) for name in policy_names(kind)] == named
    assert all(one.closure == "by restriction to leaves" for one in POLICIES if one.kind == "radix")
