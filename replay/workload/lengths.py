"""Distributions as quantile functions of a normal score, so that any two can be correlated.

A draw is the quantile of a standard normal number z: lognormal is exp(mu + sigma z), and every
other family takes the quantile at the probability of z. Two quantities whose scores correlate
are then correlated in rank, whatever their distributions (a Gaussian copula). Each function is
tabulated once on a fine grid of scores; a draw is one look-up with a straight line in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from replay.config.distribution import (
    Constant,
    Distribution,
    Empirical,
    Mixture,
    Zipf,
)

FARTHEST_SCORE = 6.0  # a draw beyond has a chance of 2e-9 and is moved here
_STEPS = 8192
_GAMMA_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Sampler:
    """The quantiles of one distribution at evenly spaced normal scores, float64[steps + 1]."""

    table: np.ndarray

    def at(self, scores: np.ndarray) -> np.ndarray:
        """Return the draws that these normal scores stand for, float64."""
        place = (scores + FARTHEST_SCORE) * (_STEPS / (2 * FARTHEST_SCORE))
        np.clip(place, 0, _STEPS, out=place)
        below = place.astype(np.int64)
        np.minimum(below, _STEPS - 1, out=below)
        low = self.table[below]
        return low + (self.table[below + 1] - low) * (place - below)

    def mean(self) -> float:
        """Return the mean of the draws."""
        scores = _grid()[0]
        density = np.exp(-(scores**2) / 2)
        return float((self.table * density).sum() / density.sum())

    def whole_at(self, scores: np.ndarray) -> np.ndarray:
        """Return the draws rounded to whole numbers, int64."""
        return np.rint(self.at(scores)).astype(np.int64)


def sampler(distribution: Distribution) -> Sampler:
    """Return what draws from a distribution of a profile."""
    table = _quantiles(distribution) + getattr(distribution, "shift", 0.0)
    if not isinstance(distribution, Constant):
        table = np.clip(table, distribution.min, distribution.max)
    return Sampler(table)


def normal_correlation(rank_correlation: float) -> float:
    """Return the correlation of normal scores whose ranks correlate as given.

    Spearman's rho of two normals is 6 / pi asin(r / 2) (Pearson, 1907).
    """
    return 2 * math.sin(math.pi / 6 * rank_correlation)


def _quantiles(distribution: Any) -> np.ndarray:
    """Return the quantiles of a distribution, without shift and bounds, on the grid of scores."""
    scores, below, above = _grid()
    match distribution.distribution:
        case "constant":
            return np.full(len(scores), float(distribution.value))
        case "uniform":
            return distribution.min + (distribution.max - distribution.min) * below
        case "normal":
            return distribution.mean + distribution.sd * scores
        case "lognormal":
            return np.exp(distribution.mu + distribution.sigma * scores)
        case "exponential":
            return -distribution.mean * np.log(above)
        case "weibull":
            return distribution.scale * (-np.log(above)) ** (1 / distribution.shape)
        case "pareto":
            return distribution.scale * above ** (-1 / distribution.shape)
        case "gamma":
            return distribution.scale * _gamma_quantiles(distribution.shape)
        case "zipf":
            return _zipf_quantiles(distribution)
        case "empirical":
            return _empirical_quantiles(distribution)
    return _mixture_quantiles(distribution)


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scores of the grid and the probabilities below and above each."""
    scores = np.linspace(-FARTHEST_SCORE, FARTHEST_SCORE, _STEPS + 1)
    return scores, normal_cdf(scores), normal_cdf(-scores)


def normal_cdf(scores: np.ndarray) -> np.ndarray:
    """Return the probability that a standard normal number is below each score."""
    halves = [math.erfc(score) for score in (scores / -math.sqrt(2)).tolist()]
    return np.array(halves) / 2


def _gamma_quantiles(shape: float) -> np.ndarray:
    """Return the quantiles of a gamma distribution of scale one.

    Its density is integrated over the logarithm of the value, where it is smooth for any shape.
    """
    lowest = (math.log(1e-14) + math.lgamma(shape + 1)) / shape
    low = max(lowest, math.log(shape) - 60 / math.sqrt(shape) if shape > 1 else lowest)
    logs = np.linspace(low, math.log(shape + 12 * math.sqrt(shape) + 60), _GAMMA_STEPS)
    density = np.exp(shape * logs - np.exp(logs) - math.lgamma(shape))
    pieces = (density[1:] + density[:-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(pieces)])
    above = np.concatenate([np.cumsum(pieces[::-1])[::-1], [0.0]])
    return np.exp(_inverted(logs, below / below[-1], above / below[-1]))


def _zipf_quantiles(zipf: Zipf) -> np.ndarray:
    values = np.arange(zipf.min, zipf.max + 1, dtype=np.float64)
    weights = np.cumsum((values / zipf.min) ** -zipf.exponent)
    places = np.searchsorted(weights / weights[-1], _grid()[1], side="left")
    return values[np.minimum(places, len(values) - 1)]


def _empirical_quantiles(empirical: Empirical) -> np.ndarray:
    values = np.array(empirical.quantiles)
    levels = empirical.levels or np.linspace(0, 1, len(values))
    if empirical.log:
        return np.exp(np.interp(_grid()[1], levels, np.log(values)))
    return np.interp(_grid()[1], levels, values)


def _mixture_quantiles(mixture: Mixture) -> np.ndarray:
    """Return the quantiles of a mixture by turning the sum of its parts' probabilities around.

    The parts' own tables, read the other way, give the probability of any value.
    """
    scores = _grid()[0]
    tables = [_quantiles(part) for part in mixture.parts]
    weights = np.array([part.weight for part in mixture.parts])
    weights /= weights.sum()
    values = np.unique(np.concatenate([np.nextafter(table, -np.inf) for table in tables] + tables))
    below, above = np.zeros(len(values)), np.zeros(len(values))
    for weight, table in zip(weights, tables, strict=True):
        at = np.interp(values, table, scores, left=-np.inf, right=np.inf)
        below += weight * normal_cdf(at)
        above += weight * normal_cdf(-at)
    return _inverted(values, below, above)


def _inverted(values: np.ndarray, below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return the values whose probabilities below and above are those of the grid of scores.

    Each tail is read off its own small probability, on a logarithmic scale, so that neither
    drowns in the rounding of the other.
    """
    _, wanted_below, wanted_above = _grid()
    with np.errstate(divide="ignore"):
        lower = np.interp(np.log(wanted_below), np.log(below), values)
        upper = np.interp(-np.log(wanted_above), -np.log(above), values)
    # Values one rounding apart may come out in the wrong order.
    return np.maximum.accumulate(np.where(wanted_below < 0.5, lower, upper))
