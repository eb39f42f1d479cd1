"""One run from a trace file and a scenario to tables and a manifest: the library's main door."""

from __future__ import annotations

import dataclasses
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from replay.cache.pins import check_pins
from replay.config.scenario import Scenario
from replay.engine.costing import Costing, costing_record
from replay.engine.diagnosis import diagnose
from replay.engine.frames import prefixes_frame, requests_frame, timeline_frame
from replay.engine.generating import count_generating
from replay.engine.growing import Grown, grow
from replay.engine.machine import Machine, find_machine
from replay.engine.overload import judge_overload
from replay.engine.plan import Plan, make_plan
from replay.engine.simulate import Simulation, simulate_timed, simulate_untimed
from replay.engine.sizing import Sizing, size_cache
from replay.errors import Interrupted
from replay.gpu.cost import StepCost
from replay.gpu.hybrid import upper_bound
from replay.gpu.spec import load_model
from replay.kernels import layout
from replay.kernels.jit import VERSION as NUMBA_VERSION
from replay.progress import Hook, ignore
from replay.trace.ceilings import ceilings, global_prefix_tokens
from replay.trace.follow_ups import contained_turns
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.separation import sharing_notes
from replay.trace.stream import is_streamable, stream_trace
from replay.trace.tree import PrefixTree
from replay.units import format_bytes

RESPONSES_UNKNOWN = (
    "the trace does not identify responses: they occupy the cache, but no later prompt can hit "
    "them, so a follow-up's hit stops where the earlier prompt ended"
)
IDS_ONLY = "with partial blocks only the trace's own ids are cacheable: responses are not kept"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A trace read, its tree built and the cache sized: all that can fail before time passes."""

    scenario: Scenario
    trace: Trace
    tree: PrefixTree
    sizing: Sizing
    costing: Costing | None
    content_known: bool
    timings_ns: dict[str, int]
    engine_notes: tuple[str, ...] = ()

    @property
    def cost(self) -> StepCost | None:
        """What steps cost; None where no time passes."""
        return None if self.costing is None else self.costing.cost


@dataclass(frozen=True, slots=True)
class RunResult:
    """The tables of a run, its manifest, and the scenario as it was given.

    What the scenario leaves to the hardware and the trace, such as `capacity: auto`, stays so; the
    manifest's `cache` and `gpu` say what it came to.
    """

    tables: dict[str, pl.DataFrame]
    manifest: dict[str, Any]
    scenario: Scenario


def prepare(
    trace_path: str | Path,
    scenario: Scenario,
    *,
    format_name: str | None = None,
    options: ReadOptions = DEFAULTS,
    progress: Hook = ignore,
) -> Prepared:
    """Read a trace and prepare it; raises what `load_trace` and `prepare_trace` raise.

    What the scenario names is looked up first.
    """
    started = time.perf_counter_ns()
    machine = find_machine(scenario)
    scenario = machine.scenario
    progress("Reading the trace", 0, 0)
    streamed = None
    if format_name is None and options == DEFAULTS and _may_stream(trace_path, scenario):
        streamed = stream_trace(
            trace_path, separate_by=scenario.trace.separate_by, progress=progress
        )
    trace, tree = streamed or (None, None)
    if trace is None:
        trace = load_trace(trace_path, format_name=format_name, options=options, progress=progress)
    prepared = prepare_trace(trace, scenario, tree=tree, machine=machine, progress=progress)
    timings = {"prepare_ns": time.perf_counter_ns() - started}
    return dataclasses.replace(prepared, timings_ns=timings)


def _may_stream(path: str | Path, scenario: Scenario) -> bool:
    """Return whether a run needs nothing of a long trace's content but its tree."""
    wanted = scenario.trace
    if wanted.content == "continue_sessions" or wanted.inside_blocks or not is_streamable(path):
        return False
    return wanted.sessions == "off" or "session_id" in pl.read_parquet_schema(path)


def prepare_trace(
    trace: Trace,
    scenario: Scenario,
    *,
    tree: PrefixTree | None = None,
    machine: Machine | None = None,
    progress: Hook = ignore,
) -> Prepared:
    """Order and link a trace, size its cache and build its prefix tree.

    `tree` is that of a trace which was streamed, and has no content of its own any more; `machine`
    is what the scenario names, where that was looked up already. Raises what looking it up, sizing
    the cache and building the tree raise.
    """
    machine = machine or find_machine(scenario)
    size_cache(machine.scenario, trace.meta.block_size, machine.hardware)  # what fails, fails first
    return fit(grow(trace, machine.scenario, tree=tree, progress=progress), machine)


def fit(grown: Grown, machine: Machine) -> Prepared:
    """Size the cache of a grown trace; raises what that raises, and for pins it does not have."""
    scenario = machine.scenario
    sizing = size_cache(scenario, grown.block_size, machine.hardware)
    check_pins(grown.tree, scenario.cache.pinned_prefixes)
    return Prepared(
        scenario, grown.trace, grown.tree, sizing, machine.costing, grown.content_known, {},
        machine.notes,
    )  # fmt: skip


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
        "step_times": costing_record(scenario, sizing.hardware.gpu, costing)
        if costing is not None and sizing.hardware is not None
        else None,
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


def bound_of(prepared: Prepared) -> str | None:
    """Return why hits and capacity are upper bounds for the model that is named, None if not."""
    hardware = prepared.sizing.hardware
    if hardware is not None:
        return upper_bound(hardware.model)
    if "model" in prepared.scenario.model_fields_set:
        return upper_bound(load_model(prepared.scenario.model.name))
    return None


def run_notes(prepared: Prepared) -> list[str]:
    """Return what a reader of a run should know about the size and content of what was run."""
    cache = prepared.scenario.cache
    notes = sharing_notes(prepared.trace, content_known=prepared.content_known)
    notes += prepared.sizing.notes
    if prepared.costing is not None:
        notes += [*prepared.engine_notes, *prepared.costing.notes]
    if not prepared.content_known:
        return notes
    if cache.caching and cache.partial_blocks:
        notes.append(IDS_ONLY)
    elif cache.caching and cache.responses and not prepared.tree.has_responses:
        notes.append(RESPONSES_UNKNOWN)
    return notes


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
