"""Load tests of real servers as they were recorded: what was sent, and quantiles of what came back.

The file is a JSON list, one object a run. A run without one of the keys below, or with one that is
not known here, is refused: what was sent would not be what is replayed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

QUANTILES = {
    "min": 0.0, "p1": 0.01, "p5": 0.05, "p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75,
    "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0,
}  # fmt: skip
ARRIVALS = "constant rate, prompts taken in turn"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The mean and the quantiles of one quantity."""

    mean: float
    quantiles: dict[str, float]

    @classmethod
    def read(cls, given: dict[str, float]) -> Self:
        return cls(given["mean"], {name: given[name] for name in QUANTILES})

    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return the values at these shares, linear between the recorded ones."""
        return np.interp(shares, list(QUANTILES.values()), list(self.quantiles.values()))


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back in one stage, or in all of them; a failed request is in no quantile."""

    requests: int
    failures: int
    prompt_tokens: Recorded
    output_tokens: Recorded
    ttft_ms: Recorded
    e2e_ms: Recorded
    throughput_requests_per_s: float

    @classmethod
    def read(cls, given: dict[str, Any], where: str) -> Self:
        known = [field.name for field in fields(cls)]
        check_keys(given, known, where)
        values = {
            name: Recorded.read(value) if isinstance(value, dict) else value
            for name, value in given.items()
        }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests at one rate, and what came back of them."""

    rate_per_s: float
    duration_s: float
    answers: Answers


@dataclass(frozen=True, slots=True)
class SharedPrefixRun:
    """One load test: prompts in groups, all prompts of a group starting with one system prompt."""

    run: str
    gpu: str
    model: str
    tensor_parallel: int
    engine: str
    max_batched_tokens: int
    max_sequences: int
    max_model_len: int
    groups: int
    prompts_per_group: int
    system_prompt_tokens: int
    question_tokens: int
    asked_output_tokens: int
    stages: tuple[Stage, ...]
    all: Answers

    @property
    def prompts(self) -> int:
        """Distinct prompts."""
        return self.groups * self.prompts_per_group


_SERVER = (
    "run", "gpu", "model", "tensor_parallel", "engine", "max_batched_tokens", "max_sequences",
    "max_model_len",
)  # fmt: skip
_WORKLOAD = (
    "groups", "prompts_per_group", "system_prompt_tokens", "question_tokens",
    "asked_output_tokens",
)  # fmt: skip


def read_runs(path: Path) -> list[SharedPrefixRun]:
    """Return the runs of a file; raises ValueError for one that says more or less than is known."""
    return [read_run(given) for given in json.loads(path.read_text())]


def read_run(given: dict[str, Any]) -> SharedPrefixRun:
    """Return one run; raises ValueError where it says more or less than is known."""
    where = str(given.get("run", "a run"))
    check_keys(given, [*_SERVER, "workload", "all", "stages"], where)
    workload, answers = given["workload"], given["stages"]
    check_keys(workload, [*_WORKLOAD, "arrivals", "stages"], f"{where}: workload")
    if workload["arrivals"] != ARRIVALS:
        raise ValueError(f"{where}: arrivals are {workload['arrivals']!r}, known: {ARRIVALS!r}")
    if len(answers) != len(workload["stages"]):
        raise ValueError(f"{where}: {len(workload['stages'])} stages sent, {len(answers)} answered")
    stages = []
    for number, (sent, back) in enumerate(zip(workload["stages"], answers, strict=True)):
        name = f"{where}: stage {number}"
        check_keys(sent, ["rate_per_s", "duration_s"], name)
        stages.append(Stage(sent["rate_per_s"], sent["duration_s"], Answers.read(back, name)))
    return SharedPrefixRun(
        **{name: given[name] for name in _SERVER},
        **{name: workload[name] for name in _WORKLOAD},
        stages=tuple(stages),
        all=Answers.read(given["all"], f"{where}: all"),
    )


def check_keys(given: dict[str, Any], known: list[str], where: str) -> None:
    """Raise ValueError where a key is missing or not known."""
    missing, stray = sorted(set(known) - set(given)), sorted(set(given) - set(known))
    if missing or stray:
        raise ValueError(f"{where}: missing {missing or 'nothing'}, not known {stray or 'nothing'}")
