"""The kernel's tables as the recordings have them: tokens, -1 for never, in their columns."""

from __future__ import annotations

import numpy as np

from replay.engine.costing import make_costing
from replay.engine.plan import Plan, make_plan
from replay.engine.simulate import Simulation, simulate_timed
from replay.kernels import layout
from tests.recorded_schedules import Recording
from tests.sglang_recordings import scenario, trace_of


def replayed(made: Recording) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Replay what was recorded; return its tables of requests and of steps by column."""
    page, given = made.settings["pg"], scenario(made.settings)
    trace, tree = trace_of(made)
    blocks = made.settings["cap"] // page
    plan = make_plan(trace, tree, given, block_size=page, capacity_blocks=blocks)
    simulation = simulate_timed(plan, make_costing(given, None).cost)
    return request_columns(plan, simulation), step_columns(simulation.steps[:], page)


def request_columns(plan: Plan, simulation: Simulation) -> dict[str, np.ndarray]:
    """Return what became of each request."""
    outcome, status = simulation.outcome, simulation.outcome[:, layout.STATUS]
    completed = status == layout.COMPLETED
    times = {
        "first_scheduled_ns": layout.SCHEDULED_NS,
        "last_admitted_ns": layout.LAST_SCHEDULED_NS,
        "first_token_ns": layout.FIRST_TOKEN_NS,
        "finish_ns": layout.DONE_NS,
    }
    return {
        "arrival_ns": plan.table[:, layout.ARRIVAL_NS],
        "n_in": plan.table[:, layout.INPUT_TOKENS],
        "n_out": plan.table[:, layout.OUTPUT_TOKENS],
        "status": np.where(completed, "ok", "rejected"),
        "cached_first": outcome[:, layout.HIT],
        "cached_last": outcome[:, layout.LAST_HIT],
        "retractions": outcome[:, layout.PREEMPTIONS],
    } | {name: np.where(completed, outcome[:, field], -1) for name, field in times.items()}


def step_columns(steps: np.ndarray, page: int) -> dict[str, np.ndarray]:
    """Return every step, int64[*] by column."""
    start, duration = steps[:, layout.STEP_START_NS], steps[:, layout.STEP_DURATION_NS]
    evictable = steps[:, layout.STEP_EVICTABLE_BLOCKS]
    return {
        "idle_ns": np.diff(start, prepend=0) - np.append(0, duration[:-1]),
        "ahead_ns": steps[:, layout.STEP_AHEAD_NS],
        "duration_ns": duration,
        "kind": steps[:, layout.STEP_KIND],
        "prefill_requests": steps[:, layout.STEP_PREFILL_REQUESTS],
        "prefill_tokens": steps[:, layout.STEP_PREFILL_TOKENS],
        "decode_tokens": steps[:, layout.STEP_DECODE_TOKENS],
        "decode_context": steps[:, layout.STEP_DECODE_CONTEXT],
        "admitted": steps[:, layout.STEP_ADMITTED],
        "running": steps[:, layout.STEP_RUNNING],
        "waiting": steps[:, layout.STEP_WAITING],
        "available": (steps[:, layout.STEP_FREE_BLOCKS] - evictable) * page,
        "evictable": evictable * page,
        "retracted": steps[:, layout.STEP_PREEMPTED],
        "evicted": steps[:, layout.STEP_EVICTED_BLOCKS] * page,
        "ratio_e9": steps[:, layout.STEP_RATIO_E9],
    }
