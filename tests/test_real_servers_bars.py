"""Replays of real servers' runs meet what was measured, where the recordings are at hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.real_servers import page
from benchmarks.real_servers.compared import compare, request_errors
from benchmarks.real_servers.points import FILE, point_errors, read_points
from tests.shared_data import SHARED, needs

RUNS = SHARED / "e2e" / page.RUNS
ROWS = SHARED / "e2e" / page.ROWS
PROMPTS = SHARED / "traces" / "sharegpt_tokens"
pytestmark = pytest.mark.slow


@cache
def servers() -> page.Servers:
    return page.replay_all(SHARED)


@needs(RUNS)
@pytest.mark.parametrize(
    ("measure", "median", "worst"), [("ttft p50", 0.06, 0.15), ("itl", 0.05, 0.15)]
)
def test_load_tests_are_met_in_the_median_and_none_is_far_off(measure, median, worst):
    errors = np.abs(page.run_errors(servers())[measure])
    assert len(errors) == 9
    assert np.median(errors) <= median
    assert errors.max() <= worst


@needs(RUNS)
def test_the_spread_of_ttft_within_a_stage_is_met_too():
    """A step is waited for whole and one more in part: so the times lie evenly over a step."""
    run, replayed = next((run, back) for run, back in servers().runs if "7b-tp1-role" in run.run)
    ttft = run.all.ttft_ms.quantiles
    low, high = np.quantile(replayed.times.ttft_ms, [0.1, 0.9])
    assert high - low == pytest.approx(ttft["p90"] - ttft["p10"], rel=0.25)


@needs(RUNS)
def test_nothing_fails_and_all_but_first_rounds_hit():
    for run, replayed in servers().runs:
        found = compare(run, run.all, replayed.times)
        assert 0.97 < replayed.token_hit_rate < 1
        assert abs(found["e2e mean"].error) < 0.15


@needs(ROWS)
@needs(PROMPTS)
@pytest.mark.parametrize(("measure", "bar"), [("ttft", 0.05), ("itl", 0.04), ("e2e", 0.04)])
def test_requests_of_the_4090_are_met_one_by_one(measure, bar):
    found = servers()
    assert found.rows is not None
    assert found.replayed is not None
    errors = request_errors(found.rows, found.replayed)[measure]
    assert np.median(np.abs(errors)) <= bar


@needs(SHARED / "gpu" / FILE)
def test_first_tokens_of_serving_points_are_met_by_numbers_of_other_models():
    """vLLM's are fitted to load tests of three models, none of which is among the points."""
    errors = np.abs(point_errors(read_points(SHARED / "gpu" / FILE)))
    assert len(errors) == 154
    assert np.median(errors) <= 0.20
    assert np.quantile(errors, 0.9) <= 0.45
