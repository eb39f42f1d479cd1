"""The tables of one pool and one engine, made for a plan and grown when a kernel asks for room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from replay.engine.outcome import Harvest
from replay.engine.plan import Plan
from replay.kernels import layout
from replay.kernels.attention import SUMS
from replay.kernels.cache.radix_layout import (
    AGE_FIELDS,
    LEAF_FIELDS,
    NODE_FIELDS,
    RADIX_HEAD_FIELDS,
)
from replay.kernels.layout import Engine, Tables
from replay.kernels.serving.heap import HEAP_FIELDS
from replay.kernels.serving.sglang_layout import SglangEngine

if TYPE_CHECKING:
    from replay.gpu.cost import StepCost

AnyEngine = Engine | SglangEngine

BINS = 1024  # intervals of the timeline; they widen as time goes on
_COUNTED_FROM_ZERO = (
    layout.IDLE, layout.EVICTIONS, layout.RUN_TOP, layout.HOLD_TOP,
    layout.NOW_NS, layout.USES, layout.ENTRIES, layout.ENTRY_TOP,
    layout.PINNED_IDLE,
)  # fmt: skip
_CLASSES = {
    layout.BLOCK_POOL: Tables,
    layout.RADIX: layout.RadixTables,
    layout.SESSION_STORE: layout.StoreTables,
}
_FIRST_ROWS = 4096
FIRST_PEAKS = 4096
STEPS_A_CALL = 50_000  # after so many the kernels come back


def make_tables(plan: Plan, *, rows: int = _FIRST_ROWS, harvest: Harvest | None = None) -> Tables:
    """Return an empty pool for a plan, with `rows` rows for runs and for holds to begin with.

    `harvest` has the tables of requests; the rows of those that are done can be taken out of it.
    """
    harvest = harvest or Harvest(plan.requests)
    return _CLASSES[int(plan.rules[layout.KIND])](
        **trace_tables(plan),
        **request_tables(plan, harvest),
        untimed=_untimed(),
        **pool_tables(plan, harvest, rows),
    )


def trace_tables(plan: Plan) -> dict[str, np.ndarray]:
    """Return what is of the trace: the plan's own tables, which no kernel writes."""
    return {
        "rules": plan.rules,
        "plan": plan.table,
        "path_edges": plan.paths.path_edges,
        "edges": plan.edges,
        "cuts": plan.cuts,
    }


def request_tables(plan: Plan, harvest: Harvest) -> dict[str, np.ndarray]:
    """Return what is of the requests, none of which was looked at yet."""
    return {
        "state": harvest.state.table,
        "outcome": harvest.rows.table,
        "seen": np.zeros(len(plan.edges), np.bool_),
    }


def _untimed() -> np.ndarray:
    """Return where a replay without a GPU begins: nobody is held, and a request comes next."""
    untimed = np.full(layout.UNTIMED_FIELDS, layout.NONE, np.int64)
    untimed[layout.NEXT_STEP] = layout.AN_ARRIVAL
    return untimed


def pool_tables(plan: Plan, harvest: Harvest, rows: int) -> dict[str, np.ndarray]:
    """Return what is of one pool, which is empty, with `rows` rows for what it will have."""
    counters = np.full(layout.COUNTERS, layout.NONE, np.int64)
    counters[layout.CAPACITY] = counters[layout.UNKEYED] = plan.capacity_blocks
    for zero in _COUNTED_FROM_ZERO:
        counters[zero] = 0
    return {
        "counters": counters,
        "holdings": harvest.holdings.table,
        "heads": _heads(plan),
        "totals": np.zeros((len(plan.edges), layout.TOTAL_FIELDS), np.int64),
        "taken": np.zeros((len(plan.edges), layout.TAKEN_FIELDS), np.int64),
        "pinned": _pinned(plan),
        "runs": np.empty((rows, layout.RUN_FIELDS), np.int32),
        "holds": np.empty((rows, layout.HOLD_FIELDS), np.int32),
        "released": np.zeros(rows if plan.rules[layout.TTL_NS] else 0, np.int64),
        **_store_tables(plan),
        **_radix_tables(plan, rows),
        "watched": _watched(plan),
        "watch": _watch(plan),
    }


def _heads(plan: Plan) -> np.ndarray:
    """Return where what is in the pool of each edge starts: nowhere yet."""
    kind = plan.rules[layout.KIND]
    edges = 0 if kind == layout.SESSION_STORE else len(plan.edges)
    fields = RADIX_HEAD_FIELDS if kind == layout.RADIX else layout.HEAD_FIELDS
    return np.full((edges, fields), layout.NONE, np.int32)


def _pinned(plan: Plan) -> np.ndarray:
    """Return how many blocks of each edge are pinned at the start: none of those to be pinned."""
    if plan.pinned is None:
        return np.zeros(0, np.int64)
    return np.where(plan.pinned, 0, layout.NONE)


def _watched(plan: Plan) -> np.ndarray:
    """Return which edges the prompt that is watched uses; no rows where none is."""
    edges = _watched_edges(plan)
    watched = np.zeros(len(plan.edges) if len(edges) else 0, np.bool_)
    watched[edges] = True
    return watched


def _watched_edges(plan: Plan) -> np.ndarray:
    """Return the edges of the prompt that is watched, none where none is."""
    request = plan.rules[layout.WATCH]
    if request == layout.NONE:
        return plan.paths.path_edges[:0]
    return plan.paths.path_edges[plan.paths.start[request] : plan.paths.prompt_stop[request]]


def _watch(plan: Plan) -> np.ndarray:
    """Return a row for each block of the prompt that is watched: nothing is known of it yet."""
    edges = _watched_edges(plan)
    blocks = int((plan.paths.first[edges] + plan.paths.blocks[edges]).max(initial=0))
    return np.full((blocks, layout.WATCH_FIELDS), layout.NONE, np.int64)


def _store_tables(plan: Plan) -> dict[str, np.ndarray]:
    """Return the tables of an empty session store; without rows for other kinds."""
    edges, sessions, entries = 0, 0, 0
    if plan.rules[layout.KIND] == layout.SESSION_STORE:
        edges = len(plan.edges)
        sessions = int(plan.table[:, layout.SESSION].max(initial=layout.NONE)) + 1
        entries = int(min(plan.rules[layout.MAX_ENTRIES], edges))
    marks = np.zeros((edges, layout.MARK_FIELDS), np.int32)
    marks[:, layout.ENTRY] = layout.NONE
    return {
        "marks": marks,
        "sessions": np.full((sessions, layout.SESSION_FIELDS), layout.NONE, np.int64),
        "entries": np.zeros((entries, layout.ENTRY_FIELDS), np.int64),
        "by_worth": np.zeros(entries, np.int64),
    }


def _radix_tables(plan: Plan, rows: int) -> dict[str, np.ndarray]:
    """Return the tables of an empty radix cache; without rows for other kinds."""
    if plan.rules[layout.KIND] != layout.RADIX:
        rows = 0
    return {
        "nodes": np.empty((rows, NODE_FIELDS), np.int64),
        "leaves": np.empty((rows, LEAF_FIELDS), np.int64),
        "ages": np.empty((rows if plan.rules[layout.TTL_NS] else 0, AGE_FIELDS), np.int64),
    }


def grown(tables: Tables) -> Tables:
    """Return the same pool with twice the rows for what grows with what is resident."""
    grow = ("runs", "holds", "released", "nodes", "leaves", "ages")
    old = {name: getattr(tables, name) for name in grow}
    return tables._replace(
        **{name: np.concatenate([rows, np.empty_like(rows)]) for name, rows in old.items()}
    )


def make_engine(plan: Plan, cost: StepCost, *, bin_ns: int) -> Engine:
    """Return an idle engine whose steps cost what `cost` says; time is kept in bins of `bin_ns`."""
    now = np.zeros(layout.NOW_FIELDS, np.int64)
    for end in (layout.PREEMPTED, layout.FIRST_RUNNING, layout.LAST_RUNNING):
        now[end] = layout.NONE
    now[layout.BIN_NS] = bin_ns
    now[layout.LEFT_NOBODY] = 1
    now[layout.SINCE_PREFILL] = plan.rules[layout.PREFILL_INTERVAL]
    most = int(plan.rules[layout.MAX_SEQUENCES])
    block_size = int(plan.rules[layout.BLOCK_SIZE])
    shared = plan.table[:, layout.SHARES].any()
    ranked = plan.rules[layout.ORDER] == layout.PRIORITY
    kept = STEPS_A_CALL if plan.rules[layout.KEEP_STEPS] else 0
    return Engine(
        now=now,
        finishing=np.zeros((most, HEAP_FIELDS), np.int64),
        waiting=np.zeros((plan.requests if ranked else 0, HEAP_FIELDS), np.int64),
        prefilling=np.zeros(most, np.int64),
        chunks=np.zeros(most, np.int64),
        new=np.zeros(most, np.int64),
        phases=np.zeros(block_size, np.int64),
        fills=np.full((block_size if shared else 0, 2), layout.NONE, np.int64),
        stalled=np.zeros(most, np.int64),
        flights=np.zeros((2, layout.FLIGHT_FIELDS), np.int64),
        ending=np.zeros((2, most), np.int64),
        bringing=np.zeros((2, 2 * most, 2), np.int64),
        peaks=np.zeros((FIRST_PEAKS, 2), np.int64),
        bins=np.zeros((BINS, layout.BIN_FIELDS), np.int64),
        cost=cost.tables,
        chunk_sums=np.zeros((len(cost.attention), SUMS)),
        steps=np.zeros((kept, layout.STEP_FIELDS), np.int64),
    )


def with_more_peaks(engine: AnyEngine) -> AnyEngine:
    """Return the same engine with twice the room for step times."""
    return engine._replace(peaks=np.concatenate([engine.peaks, np.zeros_like(engine.peaks)]))
