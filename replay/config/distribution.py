"""What a profile may write where a quantity is drawn: a number, or a distribution with bounds.

Draws below `min` or above `max` are moved to the bound. The parameters are those of the quantity
itself, in the unit its key is in: tokens, seconds or a share.
"""

from __future__ import annotations

import difflib
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from replay.config.section import Section

MAX_TOKENS = 2**24
MAX_SECONDS = 1e8
MAX_ZIPF_VALUES = 10**6

MOST = 1e12  # of any parameter: beyond it lie no tokens, seconds or shares

Number = Annotated[float, Field(ge=-MOST, le=MOST)]
Positive = Annotated[float, Field(gt=0, le=MOST)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Bounded(Section):
    """Bounds that the unbounded families need and the others have of themselves."""

    min: Number = Field(description="lower bound; what is drawn below it is moved to it")
    max: Number = Field(description="upper bound; what is drawn above it is moved to it")
    shift: Number = Field(0.0, description="added to each draw before the bounds apply")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> _Bounded:
        return _in_order(self)


class _Weighted(Section):
    """A part of a mixture."""

    weight: Positive = Field(description="share of the draws, relative to the other parts")


class _Constant(Section):
    distribution: Literal["constant"]
    value: Number = Field(description="every draw is this")


class _Range(Section):
    distribution: Literal["uniform"]
    min: Number = Field(description="smallest value")
    max: Number = Field(description="largest value")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> _Range:
        return _in_order(self)


class _Normal(Section):
    distribution: Literal["normal"]
    mean: Number = Field(description="mean")
    sd: Positive = Field(description="standard deviation")


class _LogNormal(Section):
    distribution: Literal["lognormal"]
    mu: Annotated[float, Field(ge=-50, le=50)] = Field(
        description="mean of the natural logarithm; the median is exp(mu)"
    )
    sigma: Annotated[float, Field(gt=0, le=20)] = Field(
        description="standard deviation of the natural logarithm"
    )


class _Exponential(Section):
    distribution: Literal["exponential"]
    mean: Positive = Field(description="mean")


class _Gamma(Section):
    distribution: Literal["gamma"]
    shape: Annotated[float, Field(ge=0.01, le=1e6)] = Field(
        description="shape k; the mean is shape times scale"
    )
    scale: Positive = Field(description="scale theta")


class _Weibull(Section):
    distribution: Literal["weibull"]
    shape: Annotated[float, Field(ge=0.05, le=1e3)] = Field(
        description="shape k; below one is heavier than exponential"
    )
    scale: Positive = Field(description="scale; 63% of draws are below it")


class _Pareto(Section):
    distribution: Literal["pareto"]
    shape: Annotated[float, Field(ge=0.05, le=1e3)] = Field(
        description="tail index alpha; the mean is finite above one"
    )
    scale: Positive = Field(description="smallest value")


class Constant(_Constant):
    """The same value every time."""


class Uniform(_Range):
    """Any value of a range, equally likely."""


class Normal(_Bounded, _Normal):
    """A normal distribution."""


class LogNormal(_Bounded, _LogNormal):
    """A normal distribution of the logarithm."""


class Exponential(_Bounded, _Exponential):
    """An exponential distribution."""


class Gamma(_Bounded, _Gamma):
    """A gamma distribution."""


class Weibull(_Bounded, _Weibull):
    """A Weibull distribution."""


class Pareto(_Bounded, _Pareto):
    """A Pareto distribution: a power law from `scale` upwards."""


class Zipf(Section):
    """Whole numbers from `min` to `max`, each as likely as its power -`exponent`."""

    distribution: Literal["zipf"]
    exponent: Annotated[float, Field(ge=0, le=100)] = Field(
        description="larger means more of the smallest value"
    )
    min: int = Field(1, ge=1, le=MAX_TOKENS, description="smallest value")
    max: int = Field(le=MAX_TOKENS, description="largest value")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Zipf:
        if self.max - self.min >= MAX_ZIPF_VALUES:
            message = f"a zipf distribution has at most {MAX_ZIPF_VALUES:,} values"
            raise ValueError(f"{message} (got {self.min} to {self.max})")
        return _in_order(self)


class Empirical(Section):
    """Quantiles of measured values, with straight lines between them."""

    distribution: Literal["empirical"]
    quantiles: tuple[Number, ...] = Field(description="measured values in ascending order")
    levels: tuple[Number, ...] | None = Field(
        None, description="share of values up to each quantile, from 0 to 1; default: equal steps"
    )
    log: bool = Field(False, description="straight lines between the logarithms of the values")

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Empirical:
        if len(self.quantiles) < 2:
            raise ValueError(f"needs at least two quantiles (got {len(self.quantiles)})")
        if any(after < before for before, after in pairwise(self.quantiles)):
            raise ValueError("quantiles must not fall")
        if self.log and self.quantiles[0] <= 0:
            raise ValueError(f"log needs quantiles above zero (got {self.quantiles[0]:g})")
        if self.levels is None:
            return self
        if len(self.levels) != len(self.quantiles):
            counts = f"{len(self.levels)} levels for {len(self.quantiles)} quantiles"
            raise ValueError(f"each quantile needs its level (got {counts})")
        if self.levels[0] != 0 or self.levels[-1] != 1:
            ends = f"{self.levels[0]:g} to {self.levels[-1]:g}"
            raise ValueError(f"levels must go from 0 to 1 (got {ends})")
        if any(after <= before for before, after in pairwise(self.levels)):
            raise ValueError("levels must rise")
        return self

    @property
    def min(self) -> float:
        """The smallest value."""
        return self.quantiles[0]

    @property
    def max(self) -> float:
        """The largest value."""
        return self.quantiles[-1]


class ConstantPart(_Weighted, _Constant):
    """A part of a mixture."""


class UniformPart(_Weighted, _Range):
    """A part of a mixture."""


class NormalPart(_Weighted, _Normal):
    """A part of a mixture."""


class LogNormalPart(_Weighted, _LogNormal):
    """A part of a mixture."""


class ExponentialPart(_Weighted, _Exponential):
    """A part of a mixture."""


class GammaPart(_Weighted, _Gamma):
    """A part of a mixture."""


class WeibullPart(_Weighted, _Weibull):
    """A part of a mixture."""


class ParetoPart(_Weighted, _Pareto):
    """A part of a mixture."""


_PARTS = (
    "constant", "uniform", "normal", "lognormal", "exponential", "gamma", "weibull", "pareto",
)  # fmt: skip
FAMILIES = (*_PARTS, "zipf", "empirical", "mixture")


def _known_part(value: object) -> object:
    return _known(value, _PARTS)


def _known_distribution(value: object) -> object:
    """Return a distribution as written, a bare number as a constant."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"distribution": "constant", "value": value}
    return _known(value, FAMILIES)


def _known(value: object, names: tuple[str, ...]) -> object:
    if isinstance(value, Section):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a number or a distribution such as {distribution: uniform, ...}")
    if "distribution" not in value:
        raise ValueError(f"needs the key distribution, one of {', '.join(names)}")
    name = value["distribution"]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"distribution must be one of {', '.join(names)} (got {name!r}){hint}")
    return value


Part = Annotated[
    ConstantPart
    | UniformPart
    | NormalPart
    | LogNormalPart
    | ExponentialPart
    | GammaPart
    | WeibullPart
    | ParetoPart,
    Field(discriminator="distribution"),
    BeforeValidator(_known_part),
]


class Mixture(_Bounded):
    """Each draw is from one of several parts."""

    distribution: Literal["mixture"]
    parts: tuple[Part, ...] = Field(description="what is mixed")

    @model_validator(mode="after")
    def _has_parts(self) -> Mixture:
        if not self.parts:
            raise ValueError("a mixture needs parts (got an empty list)")
        return self


Distribution = Annotated[
    Constant
    | Uniform
    | Normal
    | LogNormal
    | Exponential
    | Gamma
    | Weibull
    | Pareto
    | Zipf
    | Empirical
    | Mixture,
    Field(discriminator="distribution"),
    BeforeValidator(_known_distribution),
]


def lowest(distribution: Distribution) -> float:
    """Return the smallest value a distribution gives."""
    return distribution.value if isinstance(distribution, Constant) else distribution.min


def highest(distribution: Distribution) -> float:
    """Return the largest value a distribution gives."""
    return distribution.value if isinstance(distribution, Constant) else distribution.max


def _between(low: float, high: float, what: str) -> AfterValidator:
    def check(distribution: Any) -> Any:
        if lowest(distribution) < low:
            raise ValueError(f"{what} start at {low:g} (got {lowest(distribution):g})")
        if highest(distribution) > high:
            raise ValueError(f"{what} end at {high:g} (got {highest(distribution):g})")
        return distribution

    return AfterValidator(check)


Tokens = Annotated[Distribution, _between(1, MAX_TOKENS, "tokens")]
Seconds = Annotated[Distribution, _between(0, MAX_SECONDS, "seconds")]
Share = Annotated[Distribution, _between(0, 1, "shares")]
Count = Annotated[Distribution, _between(1, MAX_TOKENS, "counts")]


def _in_order(bounds: Any) -> Any:
    if bounds.min > bounds.max:
        raise ValueError(f"min must not be above max (got {bounds.min:g} and {bounds.max:g})")
    return bounds
