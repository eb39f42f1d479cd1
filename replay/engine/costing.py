"""What the steps of a run cost, what its engine adds outside the GPU, and how sure that is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from replay.config.backends import TAKES_NUMBERS
from replay.config.engine_section import EngineSection
from replay.config.hardware.server import ServerTimes
from replay.config.scenario import Scenario
from replay.engine.overhead import (
    NOTHING,
    EngineOverhead,
    overhead_of,
    request_ends,
    server_range,
    server_times,
    without_steps,
)
from replay.engine.sizing import Hardware
from replay.errors import InputError
from replay.gpu.backends import Wanted, compile_cost
from replay.gpu.cost import StepCost, with_server
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, load_engine

LONGEST_PROMPT = 2**20  # as EngineSection.max_prefill_tokens is at most


@dataclass(frozen=True, slots=True)
class Costing:
    """The cost tables of a run's steps, what its server adds, and notes on both."""

    cost: StepCost
    times: ServerTimes
    notes: tuple[str, ...]

    @property
    def overhead(self) -> EngineOverhead:
        """What the server adds to requests; what it adds to steps is in `cost`."""
        return overhead_of(self.times)


def make_costing(
    scenario: Scenario, hardware: Hardware | None, *, gpu: Gpu | None = None
) -> Costing:
    """Return what a scenario's steps cost; `gpu` stands in for the hardware's, as for a band.

    Only backend linear needs no hardware. Raises UnknownNameError for an engine, and what
    `compile_cost` raises.
    """
    tokens, sequences = longest_step(scenario.engine), scenario.engine.max_sequences
    backend, times = scenario.gpu.backend, server_times(scenario)
    if backend == TAKES_NUMBERS:
        given = scenario.gpu.linear.model_dump().values()
        compiled = compile_cost(backend, Wanted(None, tokens, sequences, linear=tuple(given)))
        return Costing(compiled.cost, without_steps(times), compiled.notes)
    assert hardware is not None  # it was looked up for every other backend
    table = None if scenario.gpu.table is None else Path(scenario.gpu.table)
    replica = _replica(scenario, hardware, gpu or hardware.gpu)
    compiled = compile_cost(backend, Wanted(replica, tokens, sequences, table))
    notes = (*compiled.notes, *calibration_notes(hardware.gpu))
    if times == NOTHING:
        return Costing(compiled.cost, times, notes)
    graphed = load_engine(str(scenario.engine.name)).graphed_tokens(sequences)
    cost = with_server(compiled.cost, times, hardware.model.layers, graphed)
    return Costing(cost, times, notes)


def longest_step(engine: EngineSection) -> int:
    """Return the most tokens that a step can have.

    SGLang computes as many decodes as there are and, where it does not chunk prompts, one of any
    length in a step: `check_lengths` refuses what is longer than LONGEST_PROMPT.
    """
    if _any_length(engine):
        return LONGEST_PROMPT + engine.max_sequences
    return max(engine.max_batched_tokens, engine.max_sequences)


def check_lengths(scenario: Scenario, longest_tokens: int) -> None:
    """Raise InputError where the longest request is one step, and too long to be timed as such."""
    tabulated = scenario.gpu.backend != TAKES_NUMBERS
    if tabulated and _any_length(scenario.engine) and longest_tokens > LONGEST_PROMPT:
        raise InputError(
            f"a request of {longest_tokens:,} tokens would be one step, and steps are timed up to "
            f"{LONGEST_PROMPT:,}",
            hint="give --set engine.chunked_prefill=true",
        )


def _any_length(engine: EngineSection) -> bool:
    return engine.scheduler == "sglang" and not engine.chunked_prefill


def _replica(scenario: Scenario, hardware: Hardware, gpu: Gpu) -> Replica:
    all_reduce, layer_share = "graph", 1.0
    if scenario.engine.name is not None:
        engine = load_engine(scenario.engine.name)
        all_reduce, layer_share = engine.all_reduce, engine.layer_share
    return Replica(
        gpu,
        hardware.model,
        hardware.tensor_parallel,
        weight_dtype=scenario.model.weight_dtype,
        kv_dtype=scenario.model.kv_dtype,
        all_reduce="nccl" if all_reduce == "nccl" else "graph",
        layer_share=layer_share,
    )


def calibration_notes(gpu: Gpu) -> tuple[str, ...]:
    """Return what a reader should know of a GPU on which nothing was measured."""
    if gpu.calibrated:
        return ()
    prefill, decode = gpu.fit.error.prefill, gpu.fit.error.decode
    return (
        f"{gpu.name} is uncalibrated: expect step times off by {prefill.median_percent:g} % "
        f"(p90 {prefill.p90_percent:g} %) in prefill and {decode.median_percent:g} % "
        f"(p90 {decode.p90_percent:g} %) in decode",
    )


def costing_record(
    scenario: Scenario,
    gpu: Gpu | None,
    costing: Costing,
    input_tokens: np.ndarray,
    answers: np.ndarray | None,
) -> dict[str, Any]:
    """Return what the manifest of a run says about its step times; `gpu` None where none is.

    `input_tokens` and `answers` are those of `request_ends`.
    """
    error = None if gpu is None else gpu.fit.error
    low, high = server_range(scenario)
    if answers is None and high.answer_ns:  # nobody counted them: at most all that run at once
        answers = np.full(1, scenario.engine.max_sequences, np.int64)
    if scenario.gpu.backend == TAKES_NUMBERS:
        low, high = without_steps(low), without_steps(high)
    return {
        "backend": scenario.gpu.backend,
        "calibrated": None if gpu is None else gpu.calibrated,
        "prefill_error_p90_percent": None if error is None else error.prefill.p90_percent,
        "decode_error_p90_percent": None if error is None else error.decode.p90_percent,
        "server": dataclasses.asdict(costing.times),
        "server_range": {"low": dataclasses.asdict(low), "high": dataclasses.asdict(high)},
        "request_overhead": request_ends(costing.times, (low, high), input_tokens, answers),
    }
