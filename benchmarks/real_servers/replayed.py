"""Replays of what real servers were sent, and what each term of the model contributes.

The same requests are replayed three times: each step planned when the one before is over and
nothing counted outside the GPU; planned one step ahead, as the engine does; and with what the
server adds. What one replay has more than the one before it is that term's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.real_servers.rebuilt import scenario_of, scenario_of_4090, stage_of, trace_of
from benchmarks.real_servers.recorded import SharedPrefixRun
from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.trace.frame import Trace

NS_PER_MS = 1e6
PARTS = ("queue", "own steps", "planned ahead", "server, in steps", "server, beside")
_TURNS = (
    {"overhead": "none", "async_scheduling": False},
    {"overhead": "none"},
    {},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """What requests took, float64[R] in ms: to the first token, between tokens, to the last."""

    ttft_ms: np.ndarray
    itl_ms: np.ndarray
    e2e_ms: np.ndarray

    def where(self, rows: np.ndarray) -> Times:
        return Times(self.ttft_ms[rows], self.itl_ms[rows], self.e2e_ms[rows])


@dataclass(frozen=True, slots=True)
class Replayed:
    """Predicted times, the share of prompt tokens that were cached, and the parts of the TTFT.

    `parts_ms` are medians over requests, of differences between replays differences of medians.
    """

    times: Times
    token_hit_rate: float
    parts_ms: dict[str, float]


def replay_run(run: SharedPrefixRun) -> Replayed:
    """Replay one load test."""
    return _replayed(trace_of(run), lambda turn: scenario_of(run, **turn))


def replay_4090(trace: Trace) -> Replayed:
    """Replay the requests that an RTX 4090 was sent."""
    return _replayed(trace, lambda turn: scenario_of_4090(**turn))


def stages(run: SharedPrefixRun, replayed: Replayed) -> list[Times]:
    """Return the predicted times of each stage."""
    stage = stage_of(run)
    return [replayed.times.where(stage == number) for number in range(len(run.stages))]


def _replayed(trace: Trace, scenario: Callable[[dict[str, object]], Scenario]) -> Replayed:
    plain, ahead, whole = (_requests(trace, scenario(dict(turn))) for turn in _TURNS)
    beside = whole["overhead_ns"].median() / NS_PER_MS
    in_engine = [
        (frame["ttft_ns"] - frame["overhead_ns"]).median() / NS_PER_MS
        for frame in (plain, ahead, whole)
    ]
    queue = plain["queue_ns"].median() / NS_PER_MS
    parts = (
        queue, in_engine[0] - queue, in_engine[1] - in_engine[0], in_engine[2] - in_engine[1],
        beside,
    )  # fmt: skip
    names = ("ttft_ns", "itl_mean_ns", "e2e_ns")
    times = Times(*(whole[name].to_numpy() / NS_PER_MS for name in names))
    hit = whole["hit_tokens"].sum() / whole["input_tokens"].sum()
    return Replayed(times, hit, dict(zip(PARTS, parts, strict=True)))


def _requests(trace: Trace, scenario: Scenario) -> pl.DataFrame:
    frame = execute(prepare_trace(trace, scenario)).tables["requests"]
    late = frame.filter(pl.col("status") != "completed")
    if late.height:
        raise ValueError(f"{trace.meta.name}: {late.height} requests were not completed")
    return frame
