"""Maximum a posteriori fits of a few positive parameters: damped least squares, robust.

Parameters are fitted as logarithms, each with a normal prior; residuals are logarithms of ratios,
so that a fast step counts as much as a slow one. A residual beyond `HUBER` counts by its size
instead of its square, and no outlier decides a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 0.06  # standard deviation of a residual: what two good measurements differ by
HUBER = 0.1  # residuals beyond this are outliers
STEP = 1e-4  # of the numeric derivatives
ROUNDS = 60
DAMPINGS = 8
DONE = 1e-6  # relative gain below which a fit has arrived


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of a parameter before any measurement: about `center`, within `spread`.

    `spread` is the standard deviation of its logarithm; `most` is a bound, as 1 for an efficiency.
    """

    center: float
    spread: float
    most: float = np.inf


def fit_map(
    residuals: Callable[[Floats], Floats],
    priors: list[Prior],
    weights: Floats | None = None,
) -> Floats:
    """Return the most probable parameters.

    `residuals` maps parameters to log(predicted / measured), one a row; `weights` says how much
    evidence a row is, 1 by default.
    """
    center = np.log([prior.center for prior in priors])
    spread = np.array([prior.spread for prior in priors])
    most = np.log([prior.most for prior in priors])
    x = np.minimum(center, most)
    r = residuals(np.exp(x))
    share = np.ones(len(r)) if weights is None else weights
    damping, cost = 1e-2, _cost(r, share, (x - center) / spread)
    for _ in range(ROUNDS):
        jacobian = np.column_stack(
            [(residuals(np.exp(moved)) - r) / STEP for moved in x + STEP * np.eye(len(x))]
        )
        pull = share / np.maximum(1.0, np.abs(r) / HUBER) / NOISE**2
        normal = jacobian.T @ (jacobian * pull[:, None]) + np.diag(spread**-2)
        slope = jacobian.T @ (pull * r) + (x - center) / spread**2
        better = None
        for _ in range(DAMPINGS):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -slope)
            there = np.minimum(x + step, most)
            r_there = residuals(np.exp(there))
            cost_there = _cost(r_there, share, (there - center) / spread)
            if cost_there < cost:
                better = there, r_there, cost_there
                break
            damping *= 4
        if better is None:
            break
        arrived = cost - better[2] < DONE * cost
        x, r, cost = better
        damping = max(damping / 5, 1e-9)
        if arrived:
            break
    return np.exp(x)


def _cost(residuals: Floats, weights: Floats, beliefs: Floats) -> float:
    """Return minus the logarithm of the posterior: Huber's loss and the priors."""
    size = np.abs(residuals) / NOISE
    bound = HUBER / NOISE
    loss = np.where(size < bound, 0.5 * size**2, bound * (size - 0.5 * bound))
    return float((weights * loss).sum() + 0.5 * (beliefs**2).sum())
