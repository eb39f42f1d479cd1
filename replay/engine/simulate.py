"""Run the kernels over a plan: the only place where requests are walked in order of arrival.

Kernels come back every so often, so that progress can be told, Ctrl-C seen and a full table
doubled; they go on where they stopped, and the result does not depend on where that was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from replay.engine.outcome import Harvest, Outcome
from replay.engine.plan import Plan
from replay.engine.sglang_tables import make_sglang_engine
from replay.engine.steps import StepLog
from replay.engine.tables import (
    STEPS_A_CALL,
    AnyEngine,
    grown,
    make_engine,
    make_tables,
    with_more_peaks,
)
from replay.kernels import layout
from replay.kernels.layout import Tables
from replay.kernels.serving.advance import (
    FINISHED,
    NEEDS_PEAKS,
    NEEDS_ROWS,
    PAUSED,
    replay_timed,
)
from replay.kernels.serving.sglang import replay_sglang
from replay.kernels.serving.untimed import replay_untimed
from replay.progress import Hook, ignore
from replay.units import NS_PER_S

if TYPE_CHECKING:
    from replay.gpu.cost import StepCost

_REQUESTS_A_CALL = 100_000


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the kernels counted.

    `outcome` int64[R, OUTCOME_FIELDS], kept by column where it was asked for compact, `totals`
    int64[E, TOTAL_FIELDS], `bins` int64[*, BIN_FIELDS] of `bin_ns` each (empty when untimed),
    `evictions` in blocks, `end_ns` the clock when the last step ended (0 when untimed),
    `left_queue` how many requests were admitted or rejected before the replay ended: the first so
    many. `steps` int64[*, STEP_FIELDS] in order, or a log of them, None where none are kept.
    """

    outcome: np.ndarray | Outcome
    totals: np.ndarray
    bins: np.ndarray
    bin_ns: int
    end_ns: int
    evictions: int
    left_queue: int
    steps: np.ndarray | StepLog | None = None


def simulate_untimed(plan: Plan, *, compact: bool = False, progress: Hook = ignore) -> Simulation:
    """Replay the requests without a GPU: one after another, or held in flight for a while.

    `compact` takes out of the kernels' tables what is done, see `replay.engine.outcome`.
    """
    harvest = Harvest(plan.requests) if compact else None
    tables = untimed_tables(plan, plan.requests, harvest=harvest, progress=progress)
    return Simulation(
        outcome=tables.outcome if harvest is None else harvest.take_all(),
        totals=tables.totals,
        bins=np.zeros((0, layout.BIN_FIELDS), np.int64),
        bin_ns=NS_PER_S,
        end_ns=0,
        evictions=int(tables.counters[layout.EVICTIONS]),
        left_queue=plan.requests,
    )


def untimed_tables(
    plan: Plan, requests: int, *, harvest: Harvest | None = None, progress: Hook = ignore
) -> Tables:
    """Return the tables once the first so many requests were admitted or rejected."""
    tables = make_tables(plan, harvest=harvest)
    request = 0
    reason = PAUSED
    while reason != FINISHED and (request < requests or requests == plan.requests):
        stop = min(request + _REQUESTS_A_CALL, requests)
        reason, request = replay_untimed(tables, request, stop)
        if reason == NEEDS_ROWS:
            tables = grown(tables)
        if harvest is not None:
            held = int(tables.untimed[layout.FIRST_HELD])
            harvest.take(request if held == layout.NONE else held)
        progress("Replaying requests", request, requests)
    return tables


def simulate_timed(
    plan: Plan, cost: StepCost, *, compact: bool = False, progress: Hook = ignore
) -> Simulation:
    """Replay the requests through one continuous-batching engine whose steps cost `cost`.

    `compact` takes out of the kernels' tables what is done, see `replay.engine.outcome`.
    """
    harvest = Harvest(plan.requests) if compact else None
    log = StepLog() if plan.rules[layout.KEEP_STEPS] else None
    tables, engine = timed_tables(plan, cost, harvest=harvest, log=log, progress=progress)
    end_ns = int(engine.now[layout.CLOCK_NS])
    bin_ns = int(engine.now[layout.BIN_NS])
    return Simulation(
        outcome=tables.outcome if harvest is None else harvest.take_all(),
        totals=tables.totals,
        bins=engine.bins[: end_ns // bin_ns + 1],
        bin_ns=bin_ns,
        end_ns=end_ns,
        evictions=int(tables.counters[layout.EVICTIONS]),
        left_queue=int(engine.now[layout.NEXT_WAITING]),
        steps=log,
    )


def timed_tables(
    plan: Plan,
    cost: StepCost,
    requests: int | None = None,
    *,
    harvest: Harvest | None = None,
    log: StepLog | None = None,
    progress: Hook = ignore,
) -> tuple[Tables, AnyEngine]:
    """Return the tables at the end, or soon after the first so many requests left the queue.

    The steps of a plan that keeps them are put into `log`.
    """
    tables = make_tables(plan, rows=2 * int(plan.rules[layout.ROW_RESERVE]), harvest=harvest)
    sglang = plan.rules[layout.SCHEDULER] == layout.SGLANG
    make: Callable[..., AnyEngine] = make_sglang_engine if sglang else make_engine
    engine = make(plan, cost, bin_ns=NS_PER_S)
    replay = replay_sglang if sglang else replay_timed
    total = plan.requests if requests is None else requests
    finished = False
    while not finished:
        reason = replay(tables, engine, STEPS_A_CALL)
        admitted = int(engine.now[layout.NEXT_WAITING])
        finished = reason == FINISHED or (requests is not None and admitted >= requests)
        if reason == NEEDS_ROWS:
            tables = grown(tables)
        elif reason == NEEDS_PEAKS:
            engine = with_more_peaks(engine)
        if log is not None:
            log.put(engine.steps[: engine.now[layout.STEPS_KEPT]])
            engine.now[layout.STEPS_KEPT] = 0
        if harvest is not None:
            harvest.take(harvest.done(admitted))
        progress("Replaying requests", min(admitted, total), total)
    return tables, engine
