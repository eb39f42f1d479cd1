"""When sessions start: a renewal process run on a clock that follows the rate.

Gaps of mean one are added up to operational time; real time is where the rate, integrated, reaches
it. So any process can have any course of the rate, and a rate that is constant needs no grid.
"""

from __future__ import annotations

import math

import numpy as np

from replay.config.arrivals import Arrivals
from replay.errors import InputError
from replay.units import NS_PER_S
from replay.workload.lengths import sampler

_FIRST_CELLS = 1024
_CELLS_A_DAY = 1440
_CELLS_A_DRIFT = 20
_MAX_CELLS = 2 * 10**6
_WEIBULL_SHAPES = (0.05, 50.0)


class SessionStarts:
    """Hands out the times that sessions start, in order, from `first_s` on."""

    def __init__(self, arrivals: Arrivals, rng: np.random.Generator, *, first_s: float) -> None:
        self._gaps = _Gaps(arrivals, rng)
        self._clock = _Clock(arrivals, rng, first_s=first_s)
        self._passed = 0.0

    def next(self, count: int) -> np.ndarray:
        """Return the next `count` starts in seconds, ascending float64."""
        operational = self._passed + np.cumsum(self._gaps.draw(count))
        self._passed = float(operational[-1])
        return self._clock.time_at(operational)


class _Gaps:
    """Gaps of mean one."""

    def __init__(self, arrivals: Arrivals, rng: np.random.Generator) -> None:
        self._process, self._rng, self._shape = arrivals.process, rng, 1.0
        self._measured = sampler(arrivals.gaps) if arrivals.gaps else None
        self._mean = self._measured.mean() if self._measured else 1.0
        if self._mean <= 0:
            raise InputError("arrivals.gaps: the mean gap is zero", hint="give longer gaps")
        if arrivals.process == "gamma":
            self._shape = 1 / (arrivals.cv or 1.0) ** 2
        if arrivals.process == "weibull":
            self._shape = weibull_shape(arrivals.cv or 1.0)

    def draw(self, count: int) -> np.ndarray:
        """Return the next gaps."""
        if self._measured is not None:
            return self._measured.at(self._rng.standard_normal(count)) / self._mean
        match self._process:
            case "gamma":
                return self._rng.standard_gamma(self._shape, count) / self._shape
            case "weibull":
                return self._rng.weibull(self._shape, count) / math.gamma(1 + 1 / self._shape)
            case "constant":
                return np.ones(count)
        return self._rng.standard_exponential(count)


class _Clock:
    """Turns operational time into seconds; the rate's integral grows as far as it is asked for."""

    def __init__(self, arrivals: Arrivals, rng: np.random.Generator, *, first_s: float) -> None:
        self._arrivals, self._rng, self._first_s = arrivals, rng, first_s
        self._edges_s = np.array([first_s])
        self._integral = np.zeros(1)
        self._drift: float | None = None
        self._width_s = _cell_width_s(arrivals)

    def time_at(self, operational: np.ndarray) -> np.ndarray:
        """Return when the integral of the rate reaches these ascending values, in seconds."""
        if self._width_s is None:
            return self._first_s + operational / self._arrivals.sessions_per_s
        while self._integral[-1] <= operational[-1]:
            self._extend(self._width_s)
        return np.interp(operational, self._integral, self._edges_s)

    def _extend(self, width_s: float) -> None:
        if len(self._edges_s) > _MAX_CELLS:
            raise InputError(
                f"arrivals: the rate changes too fast to follow for "
                f"{self._edges_s[-1] - self._first_s:,.0f} s and more",
                hint="sessions_per_s is low: ask for fewer requests, or for slower changes",
            )
        start = self._edges_s[-1]
        more = max(_FIRST_CELLS, len(self._edges_s))
        edges = start + width_s * np.arange(1, more + 1)
        edges = np.union1d(edges, self._step_edges(start, edges[-1]))
        middles = (np.concatenate([[start], edges[:-1]]) + edges) / 2
        factors = self._steps_at(middles) * self._daily_at(middles)
        factors *= self._drift_at(np.diff(edges, prepend=start))
        rates = self._arrivals.sessions_per_s * factors
        grown = self._integral[-1] + np.cumsum(rates * np.diff(edges, prepend=start))
        self._edges_s = np.concatenate([self._edges_s, edges])
        self._integral = np.concatenate([self._integral, grown])

    def _step_edges(self, start_s: float, stop_s: float) -> np.ndarray:
        steps = self._arrivals.steps
        if not steps:
            return np.zeros(0)
        ends = np.cumsum([step.lasts / NS_PER_S for step in steps])
        rounds = np.arange(math.floor(start_s / ends[-1]), math.ceil(stop_s / ends[-1]) + 1)
        edges = (rounds[:, None] * ends[-1] + ends).ravel()
        return edges[(edges > start_s) & (edges < stop_s)]

    def _steps_at(self, times_s: np.ndarray) -> np.ndarray:
        steps = self._arrivals.steps
        if not steps:
            return np.ones(len(times_s))
        ends = np.cumsum([step.lasts / NS_PER_S for step in steps])
        within = np.mod(times_s, ends[-1])
        place = np.minimum(np.searchsorted(ends, within, side="right"), len(steps) - 1)
        return np.array([step.factor for step in steps])[place]

    def _daily_at(self, times_s: np.ndarray) -> np.ndarray:
        daily = self._arrivals.daily
        if daily is None:
            return np.ones(len(times_s))
        since_peak = times_s - (daily.peak or 0) / NS_PER_S
        return 1 + daily.swing * np.cos(2 * math.pi * since_peak / (daily.period / NS_PER_S))

    def _drift_at(self, widths_s: np.ndarray) -> np.ndarray:
        drift = self._arrivals.drift
        if drift is None:
            return np.ones(len(widths_s))
        sd = math.sqrt(math.log1p(drift.cv**2))
        steps = self._rng.standard_normal(len(widths_s))
        if self._drift is None:
            self._drift = float(self._rng.standard_normal())
        levels = np.empty(len(widths_s))
        kept = np.exp(-widths_s / (drift.time / NS_PER_S))
        for cell, step in enumerate(steps):
            self._drift = kept[cell] * self._drift + math.sqrt(1 - kept[cell] ** 2) * step
            levels[cell] = self._drift
        return np.exp(sd * levels - sd**2 / 2)


def weibull_shape(cv: float) -> float:
    """Return the shape of a Weibull distribution with this coefficient of variation."""
    low, high = _WEIBULL_SHAPES
    for _ in range(80):
        shape = (low + high) / 2
        variance = math.exp(math.lgamma(1 + 2 / shape) - 2 * math.lgamma(1 + 1 / shape)) - 1
        low, high = (low, shape) if variance < cv**2 else (shape, high)
    return low


def _cell_width_s(arrivals: Arrivals) -> float | None:
    """Return the width over which the rate is taken as constant, None where it always is."""
    widths = []
    if arrivals.daily:
        widths.append(arrivals.daily.period / NS_PER_S / _CELLS_A_DAY)
    if arrivals.drift:
        widths.append(arrivals.drift.time / NS_PER_S / _CELLS_A_DRIFT)
    if arrivals.steps and not widths:
        widths.append(max(step.lasts for step in arrivals.steps) / NS_PER_S)
    return min(widths) if widths else None
