"""Arrival times: spread over a coarse clock's ticks, sped up, and how bursty they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.frame import MOST_SPAN_NS, Trace
from replay.units import NS_PER_S, format_duration

WINDOWS_S = (1, 10, 60, 300)
MIN_WINDOWS = 10  # fewer windows say nothing about their variance
QUANTISED_BELOW = 0.5  # share of distinct arrivals under which the clock is taken for coarse


@dataclass(frozen=True, slots=True)
class Burstiness:
    """How arrivals are spread; None where the trace is too short to say.

    `tick_ns` is the clock's tick where it is coarse. `cv` is of the gaps as recorded,
    `cv_dequantised` of the gaps expected when the requests of a tick are spread evenly at random
    over it. `dispersion` is variance over mean of the counts in windows of WINDOWS_S seconds.
    """

    distinct_ratio: float
    tick_ns: int | None
    cv: float | None
    cv_dequantised: float | None
    dispersion: dict[int, float | None]


def spread_arrivals(trace: Trace, jitter_ns: int, *, seed: int) -> Trace:
    """Return the trace with arrivals that share a tick spread over `jitter_ns` after it.

    They get sorted uniform offsets, so order is kept; a tick is never spread past the next one.
    A request alone on its tick stays. Raises InputError for a jitter below one nanosecond.
    """
    if jitter_ns < 1:
        raise InputError(f"arrival jitter must be at least 1 ns (got {jitter_ns})")
    arrival = trace.column("arrival_ns")
    ticks, tick_of, sharing = np.unique(arrival, return_inverse=True, return_counts=True)
    room = np.full(len(ticks), jitter_ns, np.int64)
    np.minimum(room[:-1], np.diff(ticks), out=room[:-1])
    room[sharing == 1] = 1  # offsets below one are zero
    offset = np.random.default_rng(seed).integers(0, room[tick_of])
    offset = offset[np.lexsort((offset, tick_of))]  # rows are in tick order already
    frame = trace.frame.with_columns(arrival_ns=pl.Series(arrival + offset))
    note = f"arrivals that share a tick spread over {format_duration(jitter_ns)} (seed {seed})"
    return trace.changed(frame, trace.meta.noting(note))


def speed_up(trace: Trace, factor: float) -> Trace:
    """Return the trace with every arrival time divided by `factor`; 2 doubles the load.

    Raises InputError for a factor that is not a positive number.
    """
    if not 0 < factor < float("inf"):
        raise InputError(f"speed-up must be a positive number (got {factor})")
    with np.errstate(over="ignore"):  # what is out of range is told below
        arrival = np.floor(trace.column("arrival_ns") / factor)
    if arrival[-1] > MOST_SPAN_NS:
        raise InputError(f"speed-up leaves arrivals out of range (got {factor})")
    frame = trace.frame.with_columns(arrival_ns=pl.Series(arrival.astype(np.int64)))
    return trace.changed(frame, trace.meta.noting(f"arrival times divided by {factor:g}"))


def burstiness(arrival_ns: np.ndarray) -> Burstiness:
    """Return how bursty sorted arrival times are, int64[R]."""
    ticks, sharing = np.unique(arrival_ns, return_counts=True)
    ratio = len(ticks) / len(arrival_ns)
    tick = None
    if ratio < QUANTISED_BELOW and len(ticks) > 1:
        tick = int(np.quantile(np.diff(ticks), 0.1, method="inverted_cdf"))
    return Burstiness(
        distinct_ratio=ratio,
        tick_ns=tick,
        cv=_variation(np.diff(arrival_ns)),
        cv_dequantised=None if tick is None else _spread_variation(ticks, sharing, tick),
        dispersion={window: _dispersion(arrival_ns, window, tick) for window in WINDOWS_S},
    )


def _variation(gaps: np.ndarray) -> float | None:
    mean = gaps.mean() if len(gaps) else 0
    return float(gaps.std() / mean) if mean > 0 else None


def _spread_variation(ticks: np.ndarray, sharing: np.ndarray, tick: int) -> float | None:
    """Return the expected coefficient of variation of gaps once ticks are spread.

    k uniform points cut a tick of length T into k + 1 pieces, each with mean T / (k + 1) and mean
    square 2 T² / ((k + 1)(k + 2)). k - 1 pieces are gaps; the last piece of one tick, what lies
    between the ticks, and the first piece of the next make up one more.
    """
    length = np.minimum(np.append(np.diff(ticks), tick), tick).astype(float)
    mean = length / (sharing + 1)
    square = 2 * length**2 / ((sharing + 1) * (sharing + 2))
    between = np.diff(ticks) - length[:-1]
    gaps = sharing.sum() - 1
    total = ((sharing - 1) * mean).sum() + (mean[:-1] + between + mean[1:]).sum()
    squares = ((sharing - 1) * square).sum() + (
        square[:-1] + between**2 + square[1:]
        + 2 * (mean[:-1] * mean[1:] + between * (mean[:-1] + mean[1:]))
    ).sum()  # fmt: skip
    return float(np.sqrt(max(squares / gaps / (total / gaps) ** 2 - 1, 0.0)))


def _dispersion(arrival_ns: np.ndarray, window_s: int, tick_ns: int | None) -> float | None:
    """Return variance over mean of the counts in whole windows, rounded to whole ticks."""
    width = window_s * NS_PER_S
    if tick_ns is not None:
        width = round(width / tick_ns) * tick_ns
    span = int(arrival_ns[-1] - arrival_ns[0])
    if width == 0 or span // width < MIN_WINDOWS:
        return None
    windows = span // width  # of a trace of decades far too many to count one by one
    place = (arrival_ns - arrival_ns[0]) // width
    counts = np.unique(place[place < windows], return_counts=True)[1]
    mean = counts.sum() / windows
    variance = (((counts - mean) ** 2).sum() + (windows - len(counts)) * mean**2) / windows
    return float(variance / mean)
