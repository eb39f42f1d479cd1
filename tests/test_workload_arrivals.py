"""When sessions start: the process of the gaps, and the course of the rate."""

from __future__ import annotations

import numpy as np
import pytest

from replay.config.arrivals import Arrivals
from replay.errors import InputError
from replay.workload.arrivals import SessionStarts


def starts(count, *, first_s=0.0, seed=1, **arrivals):
    model = Arrivals.model_validate({"sessions_per_s": 2.0, **arrivals})
    source = SessionStarts(model, np.random.default_rng(seed), first_s=first_s)
    return source.next(count)


def cv(times):
    gaps = np.diff(times)
    return gaps.std() / gaps.mean()


def dispersion(times, width_s):
    counts = np.bincount((times // width_s).astype(int))[:-1]
    return counts.var() / counts.mean()


@pytest.mark.parametrize(
    ("arrivals", "wanted"),
    [
        ({"process": "poisson"}, 1.0),
        ({"process": "gamma", "cv": 2.5}, 2.5),
        ({"process": "gamma", "cv": 0.5}, 0.5),
        ({"process": "weibull", "cv": 2.0}, 2.0),
        ({"process": "weibull", "cv": 0.3}, 0.3),
        ({"process": "constant"}, 0.0),
        ({"process": "empirical", "gaps": {"distribution": "uniform", "min": 0, "max": 9}}, 0.577),
    ],
)
def test_gaps_have_the_mean_of_the_rate_and_the_variation_asked_for(arrivals, wanted):
    times = starts(200_000, **arrivals)
    assert np.diff(times).mean() == pytest.approx(0.5, rel=0.02)
    assert cv(times) == pytest.approx(wanted, rel=0.03, abs=1e-9)


def test_a_poisson_process_has_counts_as_variable_as_their_mean():
    assert dispersion(starts(200_000), 10.0) == pytest.approx(1.0, abs=0.05)


def test_starts_begin_with_the_warm_up():
    times = starts(1_000, first_s=-60.0)
    assert -60 < times[0] < -55
    assert times[-1] == pytest.approx(440, rel=0.15)


def test_batches_go_on_where_the_last_one_ended():
    def source(cut):
        model = Arrivals(sessions_per_s=2.0, process="constant")
        made = SessionStarts(model, np.random.default_rng(1), first_s=0.0)
        return np.concatenate([made.next(cut), made.next(100 - cut)])

    np.testing.assert_allclose(source(30), source(99))


def test_steps_follow_one_another_and_repeat():
    steps = [{"lasts": "60s", "factor": 1}, {"lasts": "30s", "factor": 3}]
    times = starts(100_000, steps=steps)
    within = times % 90
    busy = ((within >= 60) & (within < 90)).sum()
    assert busy / len(times) == pytest.approx(90 / 150, abs=0.01)


def test_no_session_starts_in_a_step_without_rate():
    steps = [{"lasts": "10s", "factor": 1}, {"lasts": "50s", "factor": 0}]
    times = starts(5_000, steps=steps, first_s=-120.0)
    assert (times % 60).max() <= 10


def test_the_day_has_its_peak_where_it_is_put():
    times = starts(200_000, daily={"period": "1h", "peak": "15m", "swing": 0.8})
    counts = np.bincount((times % 3600 // 60).astype(int), minlength=60)
    assert counts[10:20].sum() / counts[40:50].sum() == pytest.approx(1.79 / 0.21, rel=0.15)
    assert len(times) / times[-1] == pytest.approx(2.0, rel=0.02)


def test_a_drift_makes_counts_vary_by_its_own_variance():
    times = starts(400_000, drift={"cv": 0.5, "time": "10m"})
    counts = np.bincount((times // 60).astype(int))[:-1]
    beyond_poisson = counts.var() - counts.mean()
    assert np.sqrt(beyond_poisson) / counts.mean() == pytest.approx(0.5, rel=0.15)
    assert len(times) / times[-1] == pytest.approx(2.0, rel=0.1)


@pytest.mark.slow
def test_a_rate_too_low_for_its_changes_is_an_error():
    with pytest.raises(InputError, match="changes too fast"):
        starts(1_000_000, sessions_per_s=1e-6, drift={"cv": 0.5, "time": "1s"})
