"""One run from a trace file and a scenario to tables and a manifest: the library's main door."""

from __future__ import annotations

import dataclasses
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl

from replay.config.backends import OF_A_GPU
from replay.config.scenario import Scenario
from replay.engine.diagnosis import Alternatives, alternatives, asked_of
from replay.engine.frames import RequestTable, timeline_frame
from replay.engine.generating import count_generating
from replay.engine.memory import give_back
from replay.engine.memory_curve import curve_frame
from replay.engine.outcome import Outcome, narrowed
from replay.engine.overload import judge_overload
from replay.engine.plan import Plan, make_plan
from replay.engine.prefix_rows import edge_totals, prefix_rows
from replay.engine.prepare import Prepared, bound_of, prepare, prepare_trace, run_notes
from replay.engine.refusals import refusals
from replay.engine.simulate import Simulation, simulate_timed, simulate_untimed
from replay.engine.sizing import Sizing
from replay.engine.steps import step_rows
from replay.errors import Interrupted
from replay.kernels import layout
from replay.kernels.jit import VERSION as NUMBA_VERSION
from replay.progress import Hook, ignore
from replay.runs.rows import ROWS_AT_ONCE, Rows, rows_of
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

_SIDE_BY_SIDE_REQUESTS = 2_000_000  # more are replayed one after the other: half the memory
_COMPARED = (layout.STATUS, layout.SCHEDULED_NS, layout.FIRST_TOKEN_NS, layout.DONE_NS)


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
    others, curve = _other_caches(plan) if prepared.content_known else (None, None)
    give_back()
    main, baseline = _simulate(plan, prepared, threads=threads, progress=progress)
    totals = edge_totals(prepared.tree, plan, main)
    main = dataclasses.replace(main, totals=main.totals[:0].copy())
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
    if main.steps is not None:
        rows["steps"] = step_rows(main.steps, has_ratio=scenario.engine.scheduler == "sglang")
    if curve is not None:
        rows["curve"] = rows_of(curve)
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
        "notes": [*run_notes(prepared), *refusals(plan, main.outcome, scenario.engine)],
    }
    return RunResult(rows, record, scenario)


def _other_caches(plan: Plan) -> tuple[Alternatives | None, pl.DataFrame | None]:
    """Return what other caches do for each request, and for all of them at other capacities."""
    asked = asked_of(plan)
    return (None, None) if asked is None else (alternatives(asked), curve_frame(asked))


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
        overhead=None if prepared.costing is None else prepared.costing.overhead,
        answers=_answers(prepared, main),
        no_cache_answers=None if baseline is None else _answers(prepared, baseline),
        content_known=prepared.content_known,
    )


def _answers(prepared: Prepared, simulation: Simulation) -> np.ndarray | None:
    """Return how many answers go out with each first token; None where that takes no time."""
    if prepared.costing is None or not prepared.costing.overhead.answer_ns:
        return None
    from replay.engine.overhead import answers_beside

    outcome, rows = simulation.outcome, slice(None)
    first, done = outcome[rows, layout.FIRST_TOKEN_NS], outcome[rows, layout.DONE_NS]
    return narrowed(answers_beside(first, done))


def _scenario_record(prepared: Prepared, scenario: Scenario) -> dict[str, Any]:
    """Return what a manifest says of what was run."""
    return {
        "seed": scenario.seed,
        "versions": _versions(),
        "mode": scenario.engine.mode,
        "trace": _trace_record(prepared.trace),
        "scenario": scenario.model_dump(mode="json"),
        **_size_record(prepared.sizing),
        "step_times": _costing_record(prepared),
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
        baseline, outcome=baseline.outcome.only(*_COMPARED), totals=baseline.totals[:0].copy()
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


def _costing_record(prepared: Prepared) -> dict[str, Any] | None:
    """Return where step times come from; None where no time passes."""
    if prepared.costing is None:
        return None
    from replay.engine.costing import costing_record

    hardware, scenario = prepared.sizing.hardware, prepared.scenario
    timed_on = None if hardware is None or scenario.gpu.backend not in OF_A_GPU else hardware.gpu
    return costing_record(scenario, timed_on, prepared.costing)


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
