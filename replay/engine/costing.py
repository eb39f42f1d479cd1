"""What the steps of a run cost, what its engine adds outside the GPU, and how sure that is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from replay.config.scenario import Scenario
from replay.engine.sizing import Hardware
from replay.gpu.backends import Compiled, Wanted, compile_cost
from replay.gpu.cost import StepCost
from replay.gpu.replica import Replica
from replay.gpu.spec import Gpu, Model, load_engine


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


def make_costing(scenario: Scenario, hardware: Hardware, *, gpu: Gpu | None = None) -> Costing:
    """Return what a scenario's steps cost; `gpu` stands in for the hardware's, as for a band.

    Raises UnknownNameError for an engine, and what `compile_cost` raises.
    """
    wanted = Wanted(
        _replica(scenario, hardware, gpu or hardware.gpu),
        scenario.engine.max_batched_tokens,
        scenario.engine.max_sequences,
        None if scenario.gpu.table is None else Path(scenario.gpu.table),
    )
    compiled: Compiled = compile_cost(scenario.gpu.backend, wanted)
    notes = (*compiled.notes, *calibration_notes(hardware.gpu))
    cost = _with_host(compiled.cost, scenario, hardware.model)
    return Costing(cost, engine_overhead(scenario), notes)


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


def _with_host(cost: StepCost, scenario: Scenario, model: Model) -> StepCost:
    """Return the cost with what the named engine's CPU takes for a step."""
    if scenario.engine.name is None:
        return cost
    host = load_engine(scenario.engine.name).host.table(model.layers)
    return dataclasses.replace(cost, host=np.array(host))


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


def costing_record(scenario: Scenario, gpu: Gpu, costing: Costing) -> dict[str, Any]:
    """Return what the manifest of a run says about its step times."""
    error = gpu.fit.error
    return {
        "backend": scenario.gpu.backend,
        "calibrated": gpu.calibrated,
        "prefill_error_p90_percent": error.prefill.p90_percent,
        "decode_error_p90_percent": error.decode.p90_percent,
        "overhead_a0_ns": costing.overhead.a0_ns,
        "overhead_a1_ns_per_token": costing.overhead.a1_ns,
    }
