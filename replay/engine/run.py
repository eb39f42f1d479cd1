"""One run from a trace file and a scenario to tables and a manifest: the library's main door."""

from __future__ import annotations

import dataclasses
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from replay.cache.pins import check_pins
from replay.config.scenario import Scenario
from replay.engine.costing import Costing, costing_record
from replay.engine.diagnosis import Alternatives, alternatives
from replay.engine.frames import RequestTable, timeline_frame
from replay.engine.generating import count_generating
from replay.engine.machine import Machine, find_machine
from replay.engine.memory import give_back
from replay.engine.outcome import Outcome, narrowed
from replay.engine.overload import judge_overload
from replay.engine.plan import Plan, make_plan
from replay.engine.prefix_rows import edge_totals, prefix_rows
from replay.engine.simulate import Simulation, simulate_timed, simulate_untimed
from replay.engine.sizing import Sizing, size_cache
from replay.errors import Interrupted
from replay.gpu.cost import StepCost
from replay.gpu.hybrid import upper_bound
from replay.gpu.spec import load_model
from replay.kernels import layout
from replay.kernels.jit import VERSION as NUMBA_VERSION
from replay.progress import Hook, ignore
from replay.runs.rows import ROWS_AT_ONCE, Rows, rows_of
from replay.trace.arrivals import speed_up, spread_arrivals
from replay.trace.ceilings import ceilings, global_prefix_tokens
from replay.trace.continuation import continue_sessions, may_assume
from replay.trace.follow_ups import contained_turns
from replay.trace.frame import CONTENT_COLUMNS, SESSIONS_NONE, Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.sessions import infer_sessions
from replay.trace.stream import is_streamable, stream_trace
from replay.trace.sub_blocks import share_within_blocks
from replay.trace.tree import PrefixTree, build_tree
from replay.units import format_bytes

RESPONSES_UNKNOWN = (
    "the trace does not identify responses: they occupy the cache, but no later prompt can hit "
    "them, so a follow-up's hit stops where the earlier prompt ended"
)
_SIDE_BY_SIDE_REQUESTS = 2_000_000  # more are replayed one after the other: half the memory
_COMPARED = (layout.STATUS, layout.SCHEDULED_NS, layout.FIRST_TOKEN_NS, layout.DONE_NS)
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


@dataclass(frozen=True)
class RunResult:
    """The tables of a run as rows to be made, its manifest, and the scenario as it was given.

    What the scenario leaves to the hardware and the trace, such as `capacity: auto`, stays so; the
    manifest's `cache` and `gpu` say what it came to.
    """

    rows: dict[str, Rows]
    manifest: dict[str, Any]
    scenario: Scenario

    @cached_property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables in memory, made when they are first asked for: 400 bytes a request."""
        return {name: rows.frame() for name, rows in self.rows.items()}


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
    tree = None
    if format_name is None and options == DEFAULTS and _may_stream(trace_path, scenario):
        trace, tree = stream_trace(trace_path, progress=progress)
    else:
        trace = load_trace(trace_path, format_name=format_name, options=options, progress=progress)
    prepared = prepare_trace(trace, scenario, tree=tree, machine=machine, progress=progress)
    timings = {"prepare_ns": time.perf_counter_ns() - started}
    return dataclasses.replace(prepared, timings_ns=timings)


def _may_stream(path: str | Path, scenario: Scenario) -> bool:
    """Return whether a run needs nothing of a long trace's content but its tree."""
    wanted = scenario.trace
    content = wanted.separate_by or wanted.content == "continue_sessions" or wanted.inside_blocks
    if content or not is_streamable(path):
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
    scenario = machine.scenario
    sizing = size_cache(scenario, trace.meta.block_size, machine.hardware)
    content_known = tree is not None
    trace = _adjust(trace, scenario, content_known=content_known)
    if tree is None:
        progress("Building the prefix tree", 0, 0)
        tree = build_tree(trace, separate_by=scenario.trace.separate_by)
        content_known = trace.has_content
    check_pins(tree, scenario.cache.pinned_prefixes)
    # The tree holds what the content says; without it a long trace takes a third less memory.
    slim = trace.changed(trace.frame.drop(CONTENT_COLUMNS, strict=False))
    return Prepared(scenario, slim, tree, sizing, machine.costing, content_known, {}, machine.notes)


def _adjust(trace: Trace, scenario: Scenario, *, content_known: bool) -> Trace:
    wanted = scenario.trace
    if wanted.arrival_jitter is not None:
        trace = spread_arrivals(trace, wanted.arrival_jitter, seed=scenario.seed)
    if wanted.speedup != 1:
        trace = speed_up(trace, wanted.speedup)
    assume = wanted.content == "auto" and not content_known and may_assume(trace)
    if assume or wanted.content == "continue_sessions":
        trace = continue_sessions(trace)
    if wanted.sessions == "infer" and not trace.has_sessions and trace.has_blocks:
        trace = infer_sessions(trace)
    if wanted.sessions == "off" and trace.has_sessions:
        dropped = [name for name in ("session_id", "turn") if name in trace.frame.columns]
        meta = dataclasses.replace(trace.meta, sessions=SESSIONS_NONE)
        trace = trace.changed(
            trace.frame.drop(dropped), meta.noting("the trace's sessions were left out")
        )
    if wanted.inside_blocks:
        trace = share_within_blocks(
            trace,
            system_prompt_tokens=wanted.system_prompt_tokens,
            shared_part=wanted.shared_block_part,
        )
    return trace


def execute(prepared: Prepared, *, threads: int = 1, progress: Hook = ignore) -> RunResult:
    """Replay a prepared trace, and beside it the same requests with caching off.

    The pair runs in two threads where `threads` allows and the trace is not so long that two
    would take too much memory; the result is the same either way. Where the content is unknown
    there is no pair: both would be the same run.
    """
    scenario, sizing = prepared.scenario, prepared.sizing
    started = time.perf_counter_ns()
    give_back()
    plan = make_plan(
        prepared.trace,
        prepared.tree,
        scenario,
        block_size=sizing.block_size,
        capacity_blocks=sizing.capacity_blocks,
    )
    give_back()
    others = alternatives(plan) if prepared.content_known else None
    give_back()
    main, baseline = _simulate(plan, prepared, threads=threads, progress=progress)
    totals = edge_totals(prepared.tree, plan, main)
    main = dataclasses.replace(main, edges=main.edges[:0].copy())
    give_back()
    prefixes = prefix_rows(prepared.tree, plan, totals)
    timed = prepared.costing is not None
    if timed or plan.rules[layout.HOLD_NS]:
        counted = count_generating(plan, main.outcome, main.left_queue).outcome
        main = dataclasses.replace(main, outcome=counted)
    simulated = time.perf_counter_ns()
    requests = _request_table(prepared, plan, main, baseline, others)
    rows = {"requests": requests.rows(), "prefixes": prefixes}
    if timed:
        rows["timeline"] = rows_of(timeline_frame(main))
    record = {
        **_scenario_record(prepared, scenario),
        "overload": dataclasses.asdict(judge_overload(plan, main)) if timed else None,
        "no_cache_overload": dataclasses.asdict(judge_overload(plan, baseline))
        if baseline is not None
        else None,
        "causality": _causality_record(requests) if timed else None,
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
    return RunResult(rows, record, scenario)


def _request_table(
    prepared: Prepared,
    plan: Plan,
    main: Simulation,
    baseline: Simulation | None,
    others: Alternatives | None,
) -> RequestTable:
    tree = prepared.tree if prepared.content_known else None
    return RequestTable(
        prepared.trace,
        plan,
        main,
        baseline,
        others,
        global_prefix=narrowed(global_prefix_tokens(prepared.tree)),
        turn=narrowed(contained_turns(prepared.trace, tree)),
        overhead_of=prepared.costing.overhead.of if prepared.costing else None,
        content_known=prepared.content_known,
    )


def _scenario_record(prepared: Prepared, scenario: Scenario) -> dict[str, Any]:
    """Return what a manifest says of what was run."""
    costing, hardware = prepared.costing, prepared.sizing.hardware
    return {
        "seed": scenario.seed,
        "versions": _versions(),
        "mode": scenario.engine.mode,
        "trace": _trace_record(prepared.trace),
        "scenario": scenario.model_dump(mode="json"),
        **_size_record(prepared.sizing),
        "step_times": costing_record(scenario, hardware.gpu, costing)
        if costing is not None and hardware is not None
        else None,
    }


def _simulate(
    plan: Plan, prepared: Prepared, *, threads: int, progress: Hook
) -> tuple[Simulation, Simulation | None]:
    cost = prepared.cost
    if cost is None:
        return simulate_untimed(plan, compact=True, progress=progress), None
    replay = partial(simulate_timed, cost=cost, compact=True)
    cache, engine = prepared.scenario.cache, prepared.scenario.engine
    if not (engine.baseline and cache.caching and prepared.content_known):
        return replay(plan, progress=progress), None
    without = plan.without_cache()
    if threads == 1 or plan.requests > _SIDE_BY_SIDE_REQUESTS:
        baseline = _slim(replay(without, progress=progress))
        return replay(plan, progress=progress), baseline
    stop = _StopSignal()
    with ThreadPoolExecutor(1) as pool:
        try:
            paired = pool.submit(replay, without, progress=stop.hook)
            main = replay(plan, progress=progress)
            return main, _slim(paired.result())
        finally:  # leaving the block waits for the thread: without this, Ctrl-C would too
            stop.set()


def _slim(baseline: Simulation) -> Simulation:
    """Return of a replay what is compared with another one."""
    assert isinstance(baseline.outcome, Outcome)
    return dataclasses.replace(
        baseline, outcome=baseline.outcome.only(*_COMPARED), edges=baseline.edges[:0].copy()
    )


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


def _causality_record(requests: RequestTable) -> dict[str, int]:
    """Return how many requests follow an earlier turn, and how many come before it has ended."""
    follow_ups, premature = 0, 0
    for start in range(0, requests.plan.requests, ROWS_AT_ONCE):
        early, known = requests.premature_ns(slice(start, start + ROWS_AT_ONCE))
        follow_ups += int(known.sum())
        premature += int((early > 0).sum())
    return {"follow_ups": follow_ups, "premature_follow_ups": premature}


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
    notes = list(prepared.sizing.notes)
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
