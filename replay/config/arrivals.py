"""When sessions of a generated trace start: the part `arrivals` of a profile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from replay.config.distribution import Positive, Probability, Seconds, highest
from replay.config.section import DurationNs, Section


class RateStep(Section):
    """A stretch of time with its own rate."""

    lasts: DurationNs = Field(description="how long the step is")
    factor: float = Field(ge=0, le=1e6, description="times the rate outside of steps")


class Daily(Section):
    """A rate that rises and falls like a cosine."""

    period: DurationNs = Field(86_400 * 10**9, description="from one peak to the next")
    peak: DurationNs | None = Field(None, description="first peak; default: at the start")
    swing: Probability = Field(description="0.5: from half the mean rate to one and a half")


class Drift(Section):
    """A rate that wanders: its logarithm is an Ornstein-Uhlenbeck process around the mean."""

    cv: Annotated[float, Field(gt=0, le=5)] = Field(
        description="standard deviation of the rate over its mean"
    )
    time: DurationNs = Field(description="time after which it has forgotten 63% of where it was")


class Arrivals(Section):
    """When sessions start."""

    process: Literal["poisson", "gamma", "weibull", "constant", "empirical"] = Field(
        "poisson", description="how the gaps between sessions are distributed"
    )
    sessions_per_s: Positive = Field(le=1e9, description="mean rate that sessions start at")
    cv: Annotated[float, Field(ge=0.1, le=20)] | None = Field(
        None, description="gamma, weibull: standard deviation of the gaps over their mean"
    )
    gaps: Seconds | None = Field(
        None, description="empirical: distribution of the gaps; its scale gives way to the rate"
    )
    steps: tuple[RateStep, ...] = Field((), description="rates one after another, then again")
    daily: Daily | None = Field(None, description="rise and fall over a day")
    drift: Drift | None = Field(None, description="slow random changes of the rate")
    tick: DurationNs | None = Field(
        None, description="clock of the trace: arrivals are rounded down to whole ticks"
    )

    @model_validator(mode="after")
    def _process_has_its_parameters(self) -> Arrivals:
        for key, processes in (("cv", ("gamma", "weibull")), ("gaps", ("empirical",))):
            given, wanted = getattr(self, key) is not None, self.process in processes
            if given != wanted:
                need = "needs" if wanted else "does not use"
                raise ValueError(f"a {self.process} process {need} {key}")
        if self.gaps is not None and highest(self.gaps) == 0:
            raise ValueError("gaps must not all be zero")
        if self.steps and not any(step.factor for step in self.steps):
            raise ValueError("no step has a rate above zero")
        return self
