"""A queue that diverges is told from one that comes and goes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from replay.engine.overload import judge_overload
from replay.kernels import layout
from replay.units import NS_PER_S


def judged(arrival_s, queue_s, *, service_s: float = 1.0, status: int = layout.COMPLETED):
    arrival = (np.asarray(arrival_s) * NS_PER_S).astype(np.int64)
    queue = (np.asarray(queue_s) * NS_PER_S).astype(np.int64)
    table = np.zeros((len(arrival), layout.PLAN_FIELDS), np.int64)
    table[:, layout.ARRIVAL_NS] = arrival
    outcome = np.zeros((len(arrival), layout.OUTCOME_FIELDS), np.int64)
    outcome[:, layout.STATUS] = status
    outcome[:, layout.SCHEDULED_NS] = arrival + queue
    outcome[:, layout.DONE_NS] = arrival + queue + int(service_s * NS_PER_S)
    end = int(outcome[:, layout.DONE_NS].max(initial=0))
    return judge_overload(
        SimpleNamespace(table=table), SimpleNamespace(outcome=outcome, end_ns=end)
    )


def single_server(load: float, *, seed: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return arrivals and queue times of Poisson arrivals at one server of one second each."""
    arrival = np.cumsum(np.random.default_rng(seed).exponential(1 / load, count))
    queue = np.zeros(count)
    free = 0.0
    for i, at in enumerate(arrival):
        queue[i] = max(free - at, 0.0)
        free = max(free, at) + 1.0
    return arrival, queue


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("load", [0.3, 0.7, 0.9, 0.95])
def test_a_stable_queue_is_not_overload(load, seed):
    assert not judged(*single_server(load, seed=seed)).overloaded


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("load", [1.1, 1.5, 2.0])
def test_a_diverging_queue_is_overload(load, seed):
    verdict = judged(*single_server(load, seed=seed))
    assert verdict.overloaded
    assert verdict.queue_growth == pytest.approx(load - 1, abs=0.15)


def test_a_burst_that_drains_is_not_overload():
    arrival = np.arange(1000.0)
    queue = np.clip(100 - np.abs(arrival - 500), 0, None)
    assert not judged(arrival, queue).overloaded


def test_overload_that_sets_in_half_way_is_seen():
    arrival = np.arange(1000.0)
    assert judged(arrival, np.clip(arrival - 500, 0, None) * 0.2).overloaded


def test_a_backlog_that_has_begun_to_drain_is_not_overload():
    arrival = np.arange(1000.0)
    queue = np.select([arrival < 600, arrival < 800], [5.0, 100.0], 60.0)
    verdict = judged(arrival, queue)
    assert verdict.queue_growth > 0.1
    assert not verdict.overloaded


def test_a_queue_that_grows_by_less_than_a_hundredth_is_not_overload():
    arrival = np.arange(10_000.0)
    assert not judged(arrival, arrival * 0.009).overloaded
    assert judged(arrival, arrival * 0.011).overloaded


@pytest.mark.parametrize(("requests", "overloaded"), [(49, False), (50, True)])
def test_a_trend_needs_fifty_requests(requests, overloaded):
    arrival = np.arange(float(requests))
    assert judged(arrival, arrival).overloaded == overloaded


def test_growth_below_one_service_time_is_not_overload():
    arrival = np.linspace(0, 10, 1000)
    assert not judged(arrival, arrival * 0.05, service_s=10).overloaded


def front_loaded(count: int, at_once: int, *, gap_s: float, service_s: float = 60.0):
    """Arrivals that all start together, `at_once` of them served at a time, and their queues."""
    arrival = np.arange(count) * gap_s
    free, queue = np.zeros(at_once), np.zeros(count)
    for i, at in enumerate(arrival):
        server = free.argmin()
        queue[i] = max(free[server] - at, 0.0)
        free[server] = max(free[server], at) + service_s
    return arrival, queue


def test_a_queue_that_only_shrinks_is_overload_where_most_wait_for_long():
    early, late = front_loaded(600, 10, gap_s=0.5)
    shrinking = np.append(early, early[-1] + np.arange(1, 300) * 12)
    queue = np.append(late, np.linspace(late[-1], 0, 299))
    verdict = judged(shrinking, queue, service_s=60)
    assert not verdict.growing
    assert verdict.saturated
    assert verdict.overloaded
    assert verdict.waiting_share > 0.9


def test_the_same_wait_at_the_start_of_a_long_calm_trace_is_not_overload():
    early, late = front_loaded(100, 10, gap_s=0.5)
    arrival = np.append(early, early[-1] + np.arange(1, 2000) * 12)
    verdict = judged(arrival, np.append(late, np.zeros(1999)), service_s=60)
    assert verdict.waiting_share < 0.05
    assert not verdict.overloaded


def test_a_wait_shorter_than_service_never_saturates():
    arrival = np.arange(200.0)
    assert judged(arrival, np.full(200, 50.0), service_s=49.9).saturated
    assert not judged(arrival, np.full(200, 50.0), service_s=51).saturated


def test_a_wait_that_is_short_beside_the_run_does_not_saturate():
    arrival = np.arange(1000.0)
    verdict = judged(arrival, np.full(1000, 50.0), service_s=10)
    assert verdict.waiting_share > 0.9
    assert not verdict.saturated
    assert judged(arrival, np.full(1000, 150.0), service_s=10).saturated


def test_a_wait_that_few_requests_have_does_not_saturate():
    queue = np.append(np.full(99, 500.0), np.zeros(101))
    assert not judged(np.zeros(200), queue).saturated  # just under half of them
    assert judged(np.zeros(198), queue[:198]).saturated


def test_a_session_that_goes_on_alone_makes_no_calm_run_of_it():
    early, late = front_loaded(200, 10, gap_s=0.5)
    arrival = np.append(early, early[-1] + np.arange(1, 9) * 10_000)
    verdict = judged(arrival, np.append(late, np.zeros(8)), service_s=60)
    assert verdict.saturated


def test_backlog_and_drain_are_counted_at_the_last_arrival():
    verdict = judged([0.0, 1.0, 2.0, 3.0], [0.0, 4.0, 5.0, 6.0])
    assert (verdict.backlog_requests, verdict.drain_ns) == (2, 6 * NS_PER_S)


def test_rejected_requests_and_empty_runs_say_nothing():
    verdict = judged([0.0, 1.0], [9.0, 9.0], status=layout.REJECTED)
    assert (verdict.overloaded, verdict.backlog_requests) == (False, 0)


def test_where_nothing_was_served_there_is_no_verdict():
    arrival = np.arange(100, dtype=np.int64)
    table = np.zeros((100, layout.PLAN_FIELDS), np.int64)
    table[:, layout.ARRIVAL_NS] = arrival
    outcome = np.zeros((100, layout.OUTCOME_FIELDS), np.int64)
    outcome[:, layout.STATUS] = layout.UNFINISHED
    stopped = SimpleNamespace(outcome=outcome, end_ns=NS_PER_S)
    verdict = judge_overload(SimpleNamespace(table=table), stopped)
    assert (verdict.overloaded, verdict.growing, verdict.saturated) == (False, False, False)
    outcome[0, [layout.STATUS, layout.DONE_NS]] = layout.COMPLETED, 1
    assert judge_overload(SimpleNamespace(table=table), stopped).saturated


def test_requests_that_never_arrived_before_the_end_say_nothing():
    arrival = np.arange(0, 1000 * NS_PER_S, NS_PER_S)
    table = np.zeros((1000, layout.PLAN_FIELDS), np.int64)
    table[:, layout.ARRIVAL_NS] = arrival
    outcome = np.zeros((1000, layout.OUTCOME_FIELDS), np.int64)
    outcome[:, layout.STATUS] = layout.UNFINISHED
    outcome[:5, layout.STATUS] = layout.COMPLETED
    outcome[:5, layout.SCHEDULED_NS] = arrival[:5] * 20
    outcome[:5, layout.DONE_NS] = arrival[:5] * 20 + 20 * NS_PER_S
    stopped = SimpleNamespace(outcome=outcome, end_ns=100 * NS_PER_S)
    verdict = judge_overload(SimpleNamespace(table=table), stopped)
    assert verdict.backlog_requests > 90
    table[:, layout.ARRIVAL_NS] //= 2
    assert judge_overload(SimpleNamespace(table=table), stopped).backlog_requests > 190
