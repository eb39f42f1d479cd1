"""One run from a trace file and a scenario to tables and a manifest: the library's main door."""

from __future__ import annotations

import dataclasses
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from replay.config.scenario import Scenario
from replay.engine.diagnosis import diagnose
from replay.engine.frames import prefixes_frame, requests_frame, timeline_frame
from replay.engine.generating import count_generating
from replay.engine.overload import judge_overload
from replay.engine.plan import Plan, make_plan
from replay.engine.prepare import Prepared, bound_of, prepare, prepare_trace, run_notes
from replay.engine.simulate import Simulation, simulate_timed, simulate_untimed
from replay.engine.sizing import Sizing
from replay.errors import Interrupted
from replay.kernels import layout
from replay.kernels.jit import VERSION as NUMBA_VERSION
from replay.progress import Hook, ignore
from replay.trace.ceilings import ceilings, global_prefix_tokens
from replay.trace.follow_ups import contained_turns
from replay.trace.frame import Trace
from replay.units import format_bytes

__all__ = [  # a run is prepared, then executed: both are found here
    "Prepared",
    "RunResult",
    "describe_size",
    "execute",
    "prepare",
    "prepare_trace",
    "run_notes",
]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The tables of a run, its manifest, and the scenario as it was given.

    What the scenario leaves to the hardware and the trace, such as `capacity: auto`, stays so; the
    manifest's `cache` and `gpu` say what it came to.
    """

    tables: dict[str, pl.DataFrame]
    manifest: dict[str, Any]
    scenario: Scenario


def execute(prepared: Prepared, *, threads: int = 1, progress: Hook = ignore) -> RunResult:
    """Replay a prepared trace, and beside it the same requests with caching off.

    The pair runs in two threads where `threads` allows; the result is the same either way. Where
    the content is unknown there is no pair: both would be the same run.
    """
    scenario, sizing = prepared.scenario, prepared.sizing
    started = time.perf_counter_ns()
    plan = make_plan(
        prepared.trace,
        prepared.tree,
        scenario,
        block_size=sizing.block_size,
        capacity_blocks=sizing.capacity_blocks,
    )
    costing = prepared.costing
    timed = costing is not None
    main, baseline = _simulate(plan, prepared, threads=threads, progress=progress)
    if timed or plan.rules[layout.HOLD_NS]:
        counted = count_generating(plan, main.outcome, main.left_queue).outcome
        main = dataclasses.replace(main, outcome=counted)
    simulated = time.perf_counter_ns()
    tables = {
        "requests": requests_frame(
            prepared.trace,
            plan,
            main,
            baseline,
            diagnose(plan, main.outcome) if prepared.content_known else None,
            content_known=prepared.content_known,
            global_prefix=global_prefix_tokens(prepared.tree),
            turn=contained_turns(prepared.trace, prepared.tree if prepared.content_known else None),
            overhead_ns=costing.overhead.of(prepared.tree.input_tokens) if costing else None,
        ),
        "prefixes": prefixes_frame(prepared.tree, plan, main),
    }
    if timed:
        tables["timeline"] = timeline_frame(main)
    manifest = {
        "seed": scenario.seed,
        "versions": _versions(),
        "mode": scenario.engine.mode,
        "trace": _trace_record(prepared.trace),
        "scenario": scenario.model_dump(mode="json"),
        **_size_record(sizing),
        "step_times": _costing_record(prepared),
        "overload": dataclasses.asdict(judge_overload(plan, main)) if timed else None,
        "no_cache_overload": dataclasses.asdict(judge_overload(plan, baseline))
        if baseline is not None
        else None,
        "causality": _causality_record(tables["requests"]) if timed else None,
        "content_known": prepared.content_known,
        "ceilings": _ceiling_record(prepared),
        "upper_bound": bound_of(prepared),
        "totals": {"evicted_blocks": main.evictions, "end_ns": main.end_ns},
        "timings": {
            **prepared.timings_ns,
            "simulate_ns": simulated - started,
            "tables_ns": time.perf_counter_ns() - simulated,
        },
        "notes": run_notes(prepared),
    }
    return RunResult(tables, manifest, scenario)


def _simulate(
    plan: Plan, prepared: Prepared, *, threads: int, progress: Hook
) -> tuple[Simulation, Simulation | None]:
    cost = prepared.cost
    if cost is None:
        return simulate_untimed(plan, progress=progress), None
    cache, engine = prepared.scenario.cache, prepared.scenario.engine
    if not (engine.baseline and cache.caching and prepared.content_known):
        return simulate_timed(plan, cost, progress=progress), None
    without = plan.without_cache()
    if threads == 1:
        main = simulate_timed(plan, cost, progress=progress)
        return main, simulate_timed(without, cost, progress=progress)
    stop = _StopSignal()
    with ThreadPoolExecutor(1) as pool:
        try:
            paired = pool.submit(simulate_timed, without, cost, progress=stop.hook)
            main = simulate_timed(plan, cost, progress=progress)
            return main, paired.result()
        finally:  # leaving the block waits for the thread: without this, Ctrl-C would too
            stop.set()


class _StopSignal:
    """A progress hook that ends the work it is given to once set: for a pair's other half."""

    def __init__(self) -> None:
        self._stopped = False

    def set(self) -> None:
        """End the work at its next report."""
        self._stopped = True

    def hook(self, title: str, done: int, total: int) -> None:
        """Raise Interrupted once stopped; show nothing."""
        if self._stopped:
            raise Interrupted(title)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "polars": pl.__version__,
        "numba": NUMBA_VERSION,
    }


def _trace_record(trace: Trace) -> dict[str, Any]:
    meta = trace.meta
    return {
        "path": meta.path,
        "name": meta.name,
        "sha256": meta.sha256,
        "format": meta.format,
        "requests": trace.requests,
        "block_size": meta.block_size,
        "content": meta.content,
        "sessions": meta.sessions,
        "rejected_rows": meta.rejected_rows,
        "notes": list(meta.notes),
    }


def _costing_record(prepared: Prepared) -> dict[str, Any] | None:
    """Return where step times come from; None where no time passes."""
    costing, hardware = prepared.costing, prepared.sizing.hardware
    if costing is None or hardware is None:
        return None
    from replay.engine.costing import costing_record

    return costing_record(prepared.scenario, hardware.gpu, costing)


def _size_record(sizing: Sizing) -> dict[str, Any]:
    hardware = sizing.hardware
    return {
        "cache": {
            "block_size": sizing.block_size,
            "capacity_blocks": sizing.capacity_blocks,
            "capacity_tokens": sizing.capacity_tokens,
            "capacity_bytes": sizing.capacity_bytes,
            "capacity_source": sizing.source,
            "kv_bytes_per_token": hardware.pool.kv_bytes_per_token if hardware else None,
        },
        "gpu": {
            "name": hardware.gpu.name,
            "model": hardware.model.name,
            "tensor_parallel": hardware.tensor_parallel,
            "weight_bytes": hardware.pool.weight_bytes,
            "activation_bytes": hardware.pool.activation_bytes,
            "kv_pool_bytes": hardware.pool.pool_bytes,
        }
        if hardware
        else None,
    }


def _causality_record(requests: pl.DataFrame) -> dict[str, int]:
    """Return how many requests follow an earlier turn, and how many come before it has ended."""
    early = requests["premature_ns"].drop_nulls()
    return {"follow_ups": len(early), "premature_follow_ups": int((early > 0).sum())}


def _ceiling_record(prepared: Prepared) -> dict[str, int] | None:
    """Return what content and what whole blocks allow; None where the content is unknown."""
    if not prepared.content_known:
        return None
    found = ceilings(prepared.tree, prepared.sizing.block_size)
    return {
        "content_ceiling_tokens": found.content_ceiling_tokens,
        "block_ceiling_tokens": found.block_ceiling_tokens,
        "granularity_tokens": found.granularity_tokens,
    }


def describe_size(prepared: Prepared) -> dict[str, object]:
    """Return what a run would be, without running it: trace, cache, memory."""
    sizing, tree = prepared.sizing, prepared.tree
    hardware = sizing.hardware
    return {
        "requests": tree.requests,
        "input_tokens": int(tree.input_tokens.sum()),
        "unique_tokens": int((tree.edge_stop - tree.edge_start).sum()),
        "prefix_tree_edges": tree.edges,
        "mode": prepared.scenario.engine.mode,
        "block_size": sizing.block_size,
        "capacity": "unlimited" if sizing.capacity_blocks is None else sizing.capacity_blocks,
        "capacity_from": sizing.source,
        "gpu": hardware.gpu.name if hardware else None,
        "model": hardware.model.name if hardware else None,
        "weights": format_bytes(hardware.pool.weight_bytes) if hardware else None,
        "kv_pool": format_bytes(hardware.pool.pool_bytes) if hardware else None,
        "upper_bound": bound_of(prepared),
    }
