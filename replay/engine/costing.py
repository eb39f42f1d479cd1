"""What the steps of a run cost, what its engine adds outside the GPU, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from replay.config.backends import TAKES_NUMBERS
from replay.config.engine_section import EngineSection
from replay.config.scenario import Scenario
from replay.engine.sizing import Hardware
from replay.errors import InputError
from replay.gpu.backends import Wanted, compile_cost
from replay.gpu.cost import StepCost
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, load_engine

LONGEST_PROMPT = 2**20  # as EngineSection.max_prefill_tokens is at most


@dataclass(frozen=True, slots=True)
class EngineOverhead:
    """What a request takes outside the GPU: `a0_ns`, and `a1_ns` for each prompt token.

    It comes on top of the clock of the engine, which goes on with other requests meanwhile.
    """

    a0_ns: float = 0.0
    a1_ns: float = 0.0

    def of(self, input_tokens: np.ndarray) -> np.ndarray:
        """Return the overhead of requests by their prompt tokens, int64 in ns."""
        return np.rint(self.a0_ns + self.a1_ns * input_tokens).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Costing:
    """The cost tables of a run's steps, its overhead, and notes on both."""

    cost: StepCost
    overhead: EngineOverhead
    notes: tuple[str, ...]


def make_costing(
    scenario: Scenario, hardware: Hardware | None, *, gpu: Gpu | None = None
) -> Costing:
    """Return what a scenario's steps cost; `gpu` stands in for the hardware's, as for a band.

    Only backend linear needs no hardware. Raises UnknownNameError for an engine, and what
    `compile_cost` raises.
    """
    tokens, sequences = longest_step(scenario.engine), scenario.engine.max_sequences
    backend, overhead = scenario.gpu.backend, engine_overhead(scenario)
    if backend == TAKES_NUMBERS:
        given = scenario.gpu.linear.model_dump().values()
        compiled = compile_cost(backend, Wanted(None, tokens, sequences, linear=tuple(given)))
        return Costing(compiled.cost, overhead, compiled.notes)
    assert hardware is not None  # it was looked up for every other backend
    table = None if scenario.gpu.table is None else Path(scenario.gpu.table)
    replica = _replica(scenario, hardware, gpu or hardware.gpu)
    compiled = compile_cost(backend, Wanted(replica, tokens, sequences, table))
    notes = (*compiled.notes, *calibration_notes(hardware.gpu))
    return Costing(compiled.cost, overhead, notes)


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
    all_reduce = "graph"
    if scenario.engine.name is not None:
        all_reduce = load_engine(scenario.engine.name).all_reduce
    return Replica(
        gpu,
        hardware.model,
        hardware.tensor_parallel,
        weight_dtype=scenario.model.weight_dtype,
        kv_dtype=scenario.model.kv_dtype,
        all_reduce="nccl" if all_reduce == "nccl" else "graph",
    )


def engine_overhead(scenario: Scenario) -> EngineOverhead:
    """Return the overhead of the engine a scenario names, none where it names none."""
    if scenario.engine.name is None:
        return EngineOverhead()
    engine = load_engine(scenario.engine.name)
    which = scenario.engine.overhead or "typical"
    return EngineOverhead(getattr(engine.a0_ns, which), getattr(engine.a1_ns_per_token, which))


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


def costing_record(scenario: Scenario, gpu: Gpu | None, costing: Costing) -> dict[str, Any]:
    """Return what the manifest of a run says about its step times; `gpu` None where none is."""
    error = None if gpu is None else gpu.fit.error
    return {
        "backend": scenario.gpu.backend,
        "calibrated": None if gpu is None else gpu.calibrated,
        "prefill_error_p90_percent": None if error is None else error.prefill.p90_percent,
        "decode_error_p90_percent": None if error is None else error.decode.p90_percent,
        "overhead_a0_ns": costing.overhead.a0_ns,
        "overhead_a1_ns_per_token": costing.overhead.a1_ns,
    }
