"""What either cache gains, counted from the tables of the four runs themselves."""

from __future__ import annotations

import dataclasses

import pytest

from replay.analysis.gain import VARIANTS, cache_gains
from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from tests.random_traces import queueing_rows, trace_of


@pytest.fixture(scope="module")
def prepared():
    """A trace that queues in too little memory, its clock stopped before all is done."""
    scenario = Scenario(
        cache={
            "kind": "session_store",
            "capacity": "60tokens",
            "commit": "incremental",
            "session_store": {"min_prefix_cache_length": 2, "prefix_lengths": [4, 8, 16]},
        },
        engine={"max_batched_tokens": 16, "max_sequences": 6, "horizon": "1s"},
    )
    return prepare_trace(trace_of(queueing_rows(3, 120)), scenario)


def tables(prepared) -> dict:
    """Return the requests of each variant, run by itself."""
    found = {}
    for name, (session, cross_request) in VARIANTS.items():
        switches = {
            "enable_session_caching": session,
            "enable_cross_request_caching": cross_request,
        }
        cache = prepared.scenario.cache
        store = cache.session_store.model_copy(update=switches)
        cache = cache.model_copy(update={"session_store": store})
        scenario = prepared.scenario.model_copy(update={"cache": cache})
        found[name] = execute(dataclasses.replace(prepared, scenario=scenario)).tables["requests"]
    return found


def test_every_gain_is_counted_from_the_requests_that_completed(prepared):
    runs = tables(prepared)
    without = next(iter(runs.values()))
    seen = {"recomputed": 0, "unpaired": 0}
    for gain in cache_gains(prepared):
        requests = runs[gain.caches].to_dicts()
        done = [one for one in requests if one["status"] == "completed"]
        prefilled = sum(
            one["input_tokens"] - one["hit_tokens"] + one["recomputed_tokens"] for one in done
        )
        assert gain.tokens_prefilled == prefilled
        pairs = [
            (one, off)
            for one, off in zip(requests, without.to_dicts(), strict=True)
            if one["status"] == off["status"] == "completed"
        ]
        off_ns = sum(off["ttft_ns"] for _, off in pairs)
        on_ns = sum(one["ttft_ns"] for one, _ in pairs)
        assert gain.ttft_saving == pytest.approx((off_ns - on_ns) / off_ns)
        seen["recomputed"] += sum(one["recomputed_tokens"] for one in done)
        seen["unpaired"] += len(done) - len(pairs)
    assert min(seen.values()) > 0  # the trace is one on which it matters
