"""Requests held in flight, KV that expires and prefixes that stay: small cases by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.errors import InputError
from tests.random_traces import BLOCK, trace_of


def row(arrival_ns: int, ids: list[int], *, output: int = 1, tail: int = 1) -> dict:
    """Return a request whose last block holds `tail` of 4 tokens."""
    return {
        "arrival_ns": arrival_ns,
        "block_ids": ids,
        "input_tokens": BLOCK * (len(ids) - 1) + tail,
        "output_tokens": output,
        "session_id": None,
    }


def replayed(drawn: list[dict], *, capacity: int, hold: str | None = None, **cache):
    """Return the requests of an untimed run in which responses are kept unless `cache` says so."""
    scenario = Scenario(
        cache={"block_size": BLOCK, "capacity": f"{capacity}blocks", **cache},
        engine={"mode": "untimed", "hold": hold},
        trace={"sessions": "off"},
    )
    return execute(prepare_trace(trace_of(drawn), scenario)).tables["requests"]


def test_a_request_that_does_not_fit_waits_for_the_first_to_end_and_looks_again():
    drawn = [row(0, [1, 2]), row(3, [1, 3]), row(4, [4, 5, 6, 7, 8]), row(5, [9])]
    requests = replayed(drawn, capacity=6, hold="100ns")
    assert requests["admitted_ns"].to_list() == [0, 3, 103, 103]
    assert requests["lookup_attempts"].to_list() == [1, 1, 3, 1]
    assert requests["hit_tokens"].to_list() == [0, 4, 0, 0]


def test_a_request_that_can_never_fit_is_rejected_when_all_others_are_done():
    requests = replayed([row(0, [1]), row(1, [2, 3, 4])], capacity=2, hold="100ns")
    assert requests["status"].to_list() == ["completed", "rejected"]
    assert requests["admitted_ns"].to_list() == [0, None]
    assert requests["lookup_attempts"].to_list() == [1, 2]


def test_a_response_that_does_not_fit_is_skipped():
    requests = replayed([row(0, [1], output=40), row(1, [2], output=4)], capacity=3)
    assert requests["response_status"].to_list() == ["skipped", "cached"]
    assert requests["admitted_ns"].to_list() == [None, None]
    without = replayed([row(0, [1], output=40)], capacity=3, responses=False)
    assert without["response_status"].to_list() == [None]


def test_the_one_who_evicted_the_first_missing_block_is_named():
    drawn = [row(0, [1, 2, 3]), row(5, [4, 5]), row(9, [6, 7]), row(12, [1, 2, 3])]
    requests = replayed(drawn, capacity=4)
    assert requests["evicted_blocks"].to_list() == [0, 0, 1, 1]
    assert requests["hit_tokens"].to_list() == [0, 0, 0, 4]
    assert requests["evicted_by_request_id"].to_list() == [None, None, None, 2]
    assert requests["evicted_ns"].to_list() == [None, None, None, 9]


@pytest.mark.parametrize(
    ("ttl", "hits"), [("9ns", [0, 0, 4]), ("10ns", [0, 4, 4]), (None, [0, 4, 4])]
)
def test_what_nobody_used_for_longer_than_its_time_is_dropped(ttl, hits):
    drawn = [row(0, [1, 2]), row(10, [1, 3]), row(19, [1, 4])]
    requests = replayed(drawn, capacity=100, ttl=ttl)
    assert requests["hit_tokens"].to_list() == hits
    if ttl == "9ns":
        assert requests["capacity_miss_tokens"].to_list() == [0, 4, 0]
        assert requests["evicted_by_request_id"].to_list() == [None, None, None]
        assert requests["evicted_ns"].to_list() == [None, 9, None]


def test_kv_in_use_does_not_age():
    drawn = [row(0, [1, 2]), row(100, [1, 3]), row(105, [1, 4]), row(160, [1, 5])]
    requests = replayed(drawn, capacity=100, ttl="9ns", hold="50ns")
    assert requests["hit_tokens"].to_list() == [0, 0, 4, 4]
    # the third let go of the shared block at 155


@pytest.mark.parametrize(("pinned", "hits"), [([], [0, 0, 0, 0]), ([0], [0, 0, 0, 4])])
def test_a_pinned_prefix_stays_once_it_is_computed(pinned, hits):
    drawn = [row(0, [1, 2]), row(1, [3, 4, 5]), row(2, [6, 7, 8]), row(3, [1, 9])]
    requests = replayed(drawn, capacity=4, pinned_prefixes=pinned)
    assert requests["hit_tokens"].to_list() == hits


def test_what_is_pinned_is_not_free():
    drawn = [row(0, [1, 2]), row(1, [3, 4, 5]), row(2, [1, 6, 7])]
    requests = replayed(drawn, capacity=3, pinned_prefixes=[0])
    assert requests["status"].to_list() == ["completed", "rejected", "completed"]


def test_a_timed_engine_gives_up_what_pinned_prefixes_leave_no_room_for():
    drawn = [row(0, [1, 2, 3]), row(10, [4, 5, 6], output=2), row(20, [1, 2, 8])]
    scenario = Scenario(
        cache={"block_size": BLOCK, "capacity": "4blocks", "pinned_prefixes": [0]},
        trace={"sessions": "off"},
    )
    requests = execute(prepare_trace(trace_of(drawn), scenario)).tables["requests"]
    assert requests["status"].to_list() == ["completed", "rejected", "completed"]
    assert requests["hit_tokens"].to_list() == [0, 0, 8]
    assert requests["lookup_attempts"].to_list() == [None, None, None]


def test_an_unknown_prefix_is_an_error_that_says_how_many_there_are():
    with pytest.raises(InputError, match=r"no prefix 7, only 2 \(0 to 1\)"):
        replayed([row(0, [1, 2]), row(1, [3, 4])], capacity=9, pinned_prefixes=[7])


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"engine": {"hold": "1s"}}, "engine.hold has no effect when engine.mode is timed"),
        ({"engine": {"mode": "untimed", "horizon": "1s"}}, "engine.horizon has no effect"),
        ({"cache": {"kind": "session_store", "ttl": "1s"}}, "ttl has no effect"),
        ({"cache": {"kind": "session_store", "pinned_prefixes": [1]}}, "pinned_prefixes has no"),
        ({"engine": {"mode": "untimed", "hold": "0s"}}, "a duration must be between 1"),
    ],
)
def test_a_key_that_does_nothing_is_refused(sections, problem):
    with pytest.raises(ValidationError, match=problem):
        Scenario(**sections)
