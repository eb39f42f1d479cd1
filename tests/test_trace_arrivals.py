"""Arrival times: spreading ticks, speeding up, and burstiness."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.trace.arrivals import burstiness, speed_up, spread_arrivals
from replay.trace.readers import load_trace
from tests.trace_samples import CONVERSATION, needs_conversation, row, trace_of

MS = 1_000_000
SECOND = 1000 * MS


def arrivals(trace):
    return trace.frame["arrival_ns"].to_numpy()


@pytest.mark.parametrize("jitter_ns", [1, MS // 2, MS + 1, 3 * MS])
@settings(deadline=None, max_examples=25)
@given(times_ms=st.lists(st.integers(0, 5), min_size=1, max_size=30).map(sorted))
@example(times_ms=[0, 0, 0, 1, 1, 1, 2])
def test_spreading_keeps_order_and_stays_before_the_next_tick(times_ms, jitter_ns):
    times_ms = [time - times_ms[0] for time in times_ms]
    trace = trace_of("\n".join(row(time) for time in times_ms), 512)
    spread = arrivals(spread_arrivals(trace, jitter_ns, seed=1))
    tick = np.array(times_ms) * MS
    following = [min([t for t in tick if t > one], default=one + jitter_ns) for one in tick]
    assert (np.diff(spread) >= 0).all()
    assert (spread >= tick).all()
    assert (spread < np.minimum(tick + jitter_ns, following)).all()


def test_a_request_alone_on_its_tick_stays():
    trace = trace_of("\n".join(row(time) for time in (0, 5, 5, 9)), 512)
    spread = arrivals(spread_arrivals(trace, MS, seed=3))
    assert spread[0] == 0
    assert spread[3] == 9 * MS
    assert 5 * MS <= spread[1] < spread[2] < 6 * MS


def test_spreading_depends_on_the_seed_alone():
    trace = trace_of("\n".join([row(0)] * 20), 512)
    first, same, other = (arrivals(spread_arrivals(trace, SECOND, seed=s)) for s in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_spreading_is_noted():
    assert spread_arrivals(trace_of(row(), 512), 3 * SECOND, seed=7).meta.notes == (
        "arrivals that share a tick spread over 3s (seed 7)",
    )


def test_no_jitter_is_refused():
    with pytest.raises(InputError, match="at least 1 ns"):
        spread_arrivals(trace_of(row(), 512), 0, seed=1)


def test_speed_up_divides_arrival_times():
    trace = trace_of("\n".join(row(time) for time in (0, 3, 10)), 512)
    assert arrivals(speed_up(trace, 2)).tolist() == [0, 1_500_000, 5_000_000]
    assert arrivals(speed_up(trace, 0.5)).tolist() == [0, 6_000_000, 20_000_000]
    assert arrivals(speed_up(trace, 7)).tolist() == [0, 428_571, 1_428_571]  # never later


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf"), 1e-300])
def test_a_speed_up_that_makes_no_sense_is_refused(factor):
    with pytest.raises(InputError):
        speed_up(trace_of(f"{row(0)}\n{row(10)}\n", 512), factor)


def test_evenly_spaced_arrivals_have_no_variation():
    spread = burstiness(np.arange(0, 100 * SECOND, SECOND // 10))
    assert spread.cv == 0
    assert spread.dispersion[1] == 0
    assert spread.tick_ns is None
    assert spread.cv_dequantised is None


def test_windows_of_which_there_are_too_few_are_left_out():
    spread = burstiness(np.arange(0, 100 * SECOND, SECOND // 10))
    assert spread.dispersion[60] is None


def test_one_request_has_no_burstiness():
    spread = burstiness(np.array([5]))
    assert spread.cv is None
    assert set(spread.dispersion.values()) == {None}


def test_dequantised_variation_is_what_spreading_gives_on_average():
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.integers(0, 400, 3000)) * SECOND
    expected = burstiness(seconds).cv_dequantised
    gaps = []
    for _ in range(30):
        offsets = rng.integers(0, SECOND, len(seconds))
        gaps.append(np.diff(np.sort(seconds + offsets)).astype(float))
    squares = np.mean([(one**2).mean() for one in gaps])
    mean = np.mean([one.mean() for one in gaps])
    assert expected == pytest.approx(np.sqrt(squares / mean**2 - 1), rel=0.01)


@needs_conversation
def test_burstiness_of_the_conversation_trace_is_the_published_one():
    spread = burstiness(load_trace(CONVERSATION).column("arrival_ns"))
    assert round(spread.cv, 2) == 3.03
    assert round(spread.cv_dequantised, 3) == 1.009
    assert spread.tick_ns == 2_999 * MS
    assert [spread.dispersion[window] for window in (10, 60, 300)] == pytest.approx(
        [1.5, 2.8, 7.3], abs=0.07
    )


def test_windows_without_requests_count_and_cost_nothing():
    day = 86_400 * 10**9
    sparse = burstiness(np.arange(0, 20_000 * day, day))
    assert sparse.dispersion[1] == pytest.approx(1 - 1 / 86_400)
    busy = np.sort(np.random.default_rng(3).integers(0, 1_000 * 10**9, 5_000))
    busy = np.append(busy[busy < 900 * 10**9], 1_000 * 10**9)  # the last windows are empty
    counts = np.bincount((busy[:-1] - busy[0]) // 10**9, minlength=int(busy[-1] - busy[0]) // 10**9)
    assert burstiness(busy).dispersion[1] == pytest.approx(counts.var() / counts.mean())
