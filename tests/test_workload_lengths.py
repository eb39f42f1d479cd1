"""Distributions: their moments, their bounds, and that ranks correlate as asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from replay.config.distribution import Distribution
from replay.workload.lengths import (
    FARTHEST_SCORE,
    normal_cdf,
    normal_correlation,
    sampler,
)

READ = TypeAdapter(Distribution)
SCORES = np.random.default_rng(1).standard_normal(400_000)
WIDE = {"min": -1e12, "max": 1e12}


def of(distribution, **parameters):
    return sampler(READ.validate_python({"distribution": distribution, **parameters}))


def lognormal_moments(mu, sigma):
    mean = math.exp(mu + sigma**2 / 2)
    return mean, mean * math.sqrt(math.expm1(sigma**2))


def weibull_moments(shape, scale):
    first, second = math.gamma(1 + 1 / shape), math.gamma(1 + 2 / shape)
    return scale * first, scale * math.sqrt(second - first**2)


@pytest.mark.parametrize(
    ("distribution", "parameters", "moments"),
    [
        ("uniform", {"min": 200, "max": 800}, (500, 600 / math.sqrt(12))),
        ("normal", {"mean": 5, "sd": 2, **WIDE}, (5, 2)),
        ("lognormal", {"mu": 4.92, "sigma": 0.957, **WIDE}, lognormal_moments(4.92, 0.957)),
        ("exponential", {"mean": 7, **WIDE}, (7, 7)),
        ("gamma", {"shape": 2.95, "scale": 16.4, **WIDE}, (48.38, 16.4 * math.sqrt(2.95))),
        ("gamma", {"shape": 0.42, "scale": 2, **WIDE}, (0.84, 2 * math.sqrt(0.42))),
        ("gamma", {"shape": 900, "scale": 2, **WIDE}, (1800, 60)),
        ("weibull", {"shape": 1.2, "scale": 350, **WIDE}, weibull_moments(1.2, 350)),
        ("pareto", {"shape": 4, "scale": 30, **WIDE}, (40, 30 * math.sqrt(4 / (9 * 2)))),
        ("normal", {"mean": 5, "sd": 2, "shift": 3, **WIDE}, (8, 2)),
    ],
)
def test_moments_are_those_of_the_formula(distribution, parameters, moments):
    draws = of(distribution, **parameters).at(SCORES)
    assert draws.mean() == pytest.approx(moments[0], rel=0.01)
    assert draws.std() == pytest.approx(moments[1], rel=0.03)


def test_a_mixture_has_the_moments_of_its_parts():
    parts = [
        {"weight": 0.240, "distribution": "lognormal", "mu": 3.44, "sigma": 1.49},
        {"weight": 0.293, "distribution": "lognormal", "mu": 5.74, "sigma": 0.66},
        {"weight": 0.466, "distribution": "lognormal", "mu": 6.06, "sigma": 0.27},
    ]
    draws = of("mixture", parts=parts, **WIDE).at(SCORES)
    wanted = sum(part["weight"] * lognormal_moments(part["mu"], part["sigma"])[0] for part in parts)
    assert draws.mean() == pytest.approx(wanted / 0.999, rel=0.01)


def test_a_mixture_is_drawn_as_often_as_its_parts_from_each():
    parts = [
        {"weight": 1, "distribution": "constant", "value": 3},
        {"weight": 3, "distribution": "uniform", "min": 10, "max": 20},
    ]
    draws = of("mixture", parts=parts, **WIDE).at(SCORES)
    assert (draws < 4).mean() == pytest.approx(0.25, abs=0.003)
    assert (draws[draws >= 10]).mean() == pytest.approx(15, abs=0.05)


def test_a_mixture_of_one_part_is_that_part():
    single = of("gamma", shape=2, scale=3, **WIDE).table
    part = {"weight": 5, "distribution": "gamma", "shape": 2, "scale": 3}
    mixed = of("mixture", parts=[part], **WIDE).table
    np.testing.assert_allclose(mixed, single, rtol=1e-3)


def test_zipf_values_are_as_likely_as_their_power():
    draws = of("zipf", exponent=1.0, min=1, max=4).whole_at(SCORES)
    shares = np.bincount(draws, minlength=5)[1:] / len(draws)
    np.testing.assert_allclose(shares, np.array([12, 6, 4, 3]) / 25, atol=0.003)


def test_empirical_draws_have_the_quantiles_given():
    measured = of("empirical", levels=[0, 0.25, 0.9, 1], quantiles=[2, 10, 40, 400])
    draws = measured.at(SCORES)
    np.testing.assert_allclose(np.quantile(draws, [0.25, 0.9]), [10, 40], rtol=0.02)
    assert (draws.min(), draws.max()) == (pytest.approx(2, abs=0.01), pytest.approx(400, rel=0.01))


def test_empirical_draws_may_follow_logarithms():
    straight = of("empirical", quantiles=[1, 10_000]).at(SCORES)
    bent = of("empirical", quantiles=[1, 10_000], log=True).at(SCORES)
    assert np.median(straight) == pytest.approx(5_000, rel=0.02)
    assert np.median(bent) == pytest.approx(100, rel=0.03)


def test_draws_outside_the_bounds_are_moved_to_them():
    draws = of("normal", mean=0, sd=1, min=-1, max=2).at(SCORES)
    assert (draws.min(), draws.max()) == (-1, 2)
    assert (draws == -1).mean() == pytest.approx(normal_cdf(np.array([-1.0]))[0], abs=0.003)


def test_a_number_is_a_constant():
    assert set(sampler(READ.validate_python(880)).whole_at(SCORES).tolist()) == {880}


@pytest.mark.parametrize("rank_correlation", [-0.52, 0.22, 0.65])
def test_ranks_correlate_as_asked_whatever_the_distributions(rank_correlation):
    r = normal_correlation(rank_correlation)
    other = r * SCORES + math.sqrt(1 - r * r) * np.random.default_rng(2).standard_normal(
        len(SCORES)
    )
    a = of("pareto", shape=1.5, scale=3, **WIDE).at(SCORES)
    b = of("gamma", shape=0.5, scale=3, **WIDE).at(other)
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    assert np.corrcoef(*ranks)[0, 1] == pytest.approx(rank_correlation, abs=0.01)


_value = st.floats(0.01, 1e6)
_shape = st.floats(0.05, 100)
_part = st.one_of(
    st.builds(lambda v: {"distribution": "constant", "value": v}, _value),
    st.builds(lambda v, w: {"distribution": "uniform", "min": v, "max": v + w}, _value, _value),
    st.builds(lambda m, s: {"distribution": "normal", "mean": m, "sd": s}, _value, _value),
    st.builds(
        lambda m, s: {"distribution": "lognormal", "mu": m, "sigma": s},
        st.floats(-10, 15), st.floats(0.01, 5),
    ),
    st.builds(lambda m: {"distribution": "exponential", "mean": m}, _value),
    st.builds(lambda k, v: {"distribution": "gamma", "shape": k, "scale": v}, _shape, _value),
    st.builds(lambda k, v: {"distribution": "weibull", "shape": k, "scale": v}, _shape, _value),
    st.builds(lambda k, v: {"distribution": "pareto", "shape": k, "scale": v}, _shape, _value),
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0.01, 10), _part), min_size=1, max_size=4))
def test_any_mixture_rises_and_stays_in_its_bounds(parts):
    listed = [{"weight": weight, **part} for weight, part in parts]
    table = of("mixture", parts=listed, min=-5, max=1e9).table
    assert np.isfinite(table).all()
    assert (np.diff(table) >= 0).all()
    assert -5 <= table[0] <= table[-1] <= 1e9


def test_scores_past_the_table_get_its_ends():
    table = of("uniform", min=0, max=1)
    ends = table.at(np.array([-FARTHEST_SCORE - 5, FARTHEST_SCORE + 5]))
    np.testing.assert_allclose(ends, [0, 1], atol=1e-8)


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.0])
def test_the_mean_of_a_table_is_that_of_its_draws(shape):
    gamma = of("gamma", shape=shape, scale=10, **WIDE)
    assert gamma.mean() == pytest.approx(10 * shape, rel=1e-3)
