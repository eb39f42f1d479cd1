"""From the kernels' integer tables to the tables of a run: columns of replay/schema.py."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.engine.causality import premature_ns
from replay.engine.diagnosis import Diagnosis
from replay.engine.events import prefix_cache_events
from replay.engine.plan import Plan
from replay.engine.simulate import Simulation
from replay.kernels import layout
from replay.schema import CARRIED, REQUESTS, TRACE, column_names

if TYPE_CHECKING:
    from replay.trace.frame import Trace
    from replay.trace.tree import PrefixTree

_STATUSES = {
    layout.COMPLETED: "completed",
    layout.REJECTED: "rejected",
    layout.UNFINISHED: "unfinished",
}
_COUNTS = {
    "hit_tokens": layout.HIT,
    "session_hit_tokens": layout.SESSION_HIT,
    "cross_request_hit_tokens": layout.CROSS_REQUEST_HIT,
    "cold_tokens": layout.COLD,
    "capacity_miss_tokens": layout.CAPACITY_MISS,
    "in_flight_tokens": layout.IN_FLIGHT,
    "granularity_tokens": layout.GRANULARITY,
    "policy_miss_tokens": layout.POLICY_MISS,
    "disabled_tokens": layout.DISABLED,
    "input_blocks": layout.INPUT_BLOCKS,
    "hit_blocks": layout.HIT_BLOCKS,
    "full_hit_blocks": layout.FULL_HIT_BLOCKS,
    "evicted_blocks": layout.EVICTED_BLOCKS,
    "preemptions": layout.PREEMPTIONS,
    "recomputed_tokens": layout.RECOMPUTED,
}
_RESPONSES = {
    layout.RESPONSE_NONE: None,
    layout.RESPONSE_CACHED: "cached",
    layout.RESPONSE_SKIPPED: "skipped",
}
_BIN_COLUMNS = {
    "steps": layout.STEPS,
    "busy_ns": layout.BUSY_NS,
    "prefill_tokens": layout.PREFILL_TOKENS,
    "decode_tokens": layout.DECODE_TOKENS,
    "running_request_ns": layout.RUNNING_NS,
    "waiting_request_ns": layout.WAITING_NS,
    "used_block_ns": layout.USED_BLOCK_NS,
    "cached_block_ns": layout.CACHED_BLOCK_NS,
    "evicted_blocks": layout.BIN_EVICTED,
    "preemptions": layout.BIN_PREEMPTIONS,
}
_ABOUT_CONTENT = (
    "hit_tokens", "session_hit_tokens", "cross_request_hit_tokens", "global_prefix_hit_tokens",
    "cold_tokens", "capacity_miss_tokens", "avoidable_miss_tokens", "in_flight_tokens",
    "granularity_tokens", "policy_miss_tokens", "disabled_tokens",
    "hit_blocks", "full_hit_blocks", "optimum_hit_tokens", "sufficient_capacity_blocks",
)  # fmt: skip
_PAIRED = ("status", "queue_ns", "prefill_ns", "ttft_ns", "e2e_ns")


def requests_frame(
    trace: Trace,
    plan: Plan,
    simulation: Simulation,
    baseline: Simulation | None,
    diagnosis: Diagnosis | None,
    *,
    content_known: bool,
    global_prefix: np.ndarray,
    turn: np.ndarray,
    overhead_ns: np.ndarray | None,
) -> pl.DataFrame:
    """Return one row a request; latencies are null where the clock never ran or got there.

    What was hit and why the rest was not is null where the content is unknown. `global_prefix`
    int64[R] is how deep each prompt is what most start with, `turn` int64[R] the request whose
    turn it contains, -1 for none; `overhead_ns` int64[R] is what each request takes outside the
    GPU, None where no time passes.
    """
    absent = pl.Series([None] * plan.requests)
    columns: dict[str, object] = {
        name: trace.frame[name] if name in trace.frame.columns else absent
        for name in ("request_id", "session_id", "turn", "parent_request_id", "arrival_ns")
    }
    columns["input_tokens"] = plan.table[:, layout.INPUT_TOKENS]
    columns["output_tokens"] = plan.table[:, layout.OUTPUT_TOKENS]
    columns |= {name: simulation.outcome[:, field] for name, field in _COUNTS.items()}
    for field in dataclasses.fields(Diagnosis):
        columns[field.name] = absent if diagnosis is None else getattr(diagnosis, field.name)
    columns["prefix_cache_event"] = prefix_cache_events(
        simulation.outcome, plan.table[:, layout.INPUT_TOKENS]
    )
    columns["global_prefix_hit_tokens"] = np.minimum(
        simulation.outcome[:, layout.HIT], global_prefix
    )
    columns |= _turns(plan, simulation, turn, overhead_ns)
    forgotten = trace.frame.get_column("forgotten_tokens", default=absent)
    columns["forgotten_tokens"] = forgotten
    columns |= _evictors(simulation)
    columns |= _admissions(plan, simulation, timed=overhead_ns is not None)
    columns |= _latencies(plan, simulation, overhead_ns)
    paired = _latencies(plan, baseline or simulation, overhead_ns if baseline is not None else None)
    for name in _PAIRED:
        columns[f"no_cache_{name}"] = paired[name] if baseline is not None else absent
    if not content_known:
        columns |= dict.fromkeys(_ABOUT_CONTENT, absent.cast(pl.Int64))
        columns["prefix_cache_event"] = absent
    frame = pl.DataFrame(columns).select(column_names(REQUESTS))
    known = {*column_names(TRACE), *frame.columns} - {*CARRIED}
    extra = [name for name in trace.frame.columns if name not in known]
    return frame.hstack(trace.frame.select(extra)) if extra else frame


def _evictors(simulation: Simulation) -> dict[str, pl.Series]:
    """Return by whom and when the first block that each request missed was evicted."""
    by, when = (simulation.outcome[:, field] for field in (layout.EVICTED_BY, layout.EVICTED_AT_NS))
    return {"evicted_by_request_id": _only(by - 1, by > 0), "evicted_ns": _only(when, by != 0)}


def _admissions(plan: Plan, simulation: Simulation, *, timed: bool) -> dict[str, pl.Series]:
    """Return how each request of a replay without time was admitted and left."""
    outcome = simulation.outcome
    untimed = np.full(plan.requests, not timed)
    held = (outcome[:, layout.STATUS] == layout.COMPLETED) & (plan.rules[layout.HOLD_NS] > 0)
    response = pl.Series(outcome[:, layout.RESPONSE])
    return {
        "admitted_ns": _only(outcome[:, layout.ADMITTED_NS], held),
        "lookup_attempts": _only(outcome[:, layout.ATTEMPTS], untimed),
        "response_status": response.replace_strict(_RESPONSES, return_dtype=pl.String),
        "response_evicted_blocks": _only(outcome[:, layout.EVICTED_LATER], untimed),
    }


def _turns(
    plan: Plan, simulation: Simulation, turn: np.ndarray, overhead_ns: np.ndarray | None
) -> dict[str, pl.Series]:
    """Return the turn that each prompt contains, and how long before its end it arrived."""
    columns = {"contained_request_id": _only(turn, turn >= 0)}
    if overhead_ns is None:
        return columns | {"premature_ns": pl.Series([None] * plan.requests)}
    outcome = simulation.outcome
    ended = outcome[:, layout.STATUS] == layout.COMPLETED
    end = np.where(ended, outcome[:, layout.DONE_NS] + overhead_ns, simulation.end_ns)
    early, known = premature_ns(turn, plan.table[:, layout.ARRIVAL_NS], end, outcome)
    return columns | {"premature_ns": _only(early, known)}


def _latencies(
    plan: Plan, simulation: Simulation, overhead_ns: np.ndarray | None
) -> dict[str, pl.Series]:
    timed = overhead_ns is not None
    extra = np.zeros(plan.requests, np.int64) if overhead_ns is None else overhead_ns
    outcome = simulation.outcome
    status = outcome[:, layout.STATUS]
    arrival = plan.table[:, layout.ARRIVAL_NS]
    output_tokens = plan.table[:, layout.OUTPUT_TOKENS]
    scheduled, first = outcome[:, layout.SCHEDULED_NS], outcome[:, layout.FIRST_TOKEN_NS]
    done = outcome[:, layout.DONE_NS]
    completed = (status == layout.COMPLETED) & timed
    gaps = np.maximum(output_tokens - 1, 1)
    several = completed & (output_tokens > 1)
    return {
        "status": pl.Series(status).replace_strict(_STATUSES, return_dtype=pl.String),
        "queue_ns": _only(scheduled - arrival, (first > 0) & timed),
        "overhead_ns": _only(extra, (first > 0) & timed),
        "prefill_ns": _only(first - scheduled, (first > 0) & timed),
        "ttft_ns": _only(first - arrival + extra, (first > 0) & timed),
        "itl_mean_ns": _only((done - first) // gaps, several),
        "itl_max_ns": _only(outcome[:, layout.ITL_MAX_NS], several),
        "e2e_ns": _only(done - arrival + extra, completed),
    }


def _only(values: np.ndarray, valid: np.ndarray) -> pl.Series:
    """Return the values as a column that is null wherever they are not valid."""
    return pl.select(pl.when(pl.Series(valid)).then(pl.Series(values))).to_series()


def timeline_frame(simulation: Simulation) -> pl.DataFrame:
    """Return one row an interval of simulated time."""
    count = len(simulation.bins)
    start = np.arange(count, dtype=np.int64) * simulation.bin_ns
    columns = {name: simulation.bins[:, field] for name, field in _BIN_COLUMNS.items()}
    width = np.full(count, simulation.bin_ns, np.int64)
    return pl.DataFrame({"start_ns": start, "width_ns": width, **columns})


def prefixes_frame(tree: PrefixTree, plan: Plan, simulation: Simulation) -> pl.DataFrame:
    """Return one row an edge that at least two prompts contain, in tree order."""
    tree = tree.prompts_only()
    request_of = np.repeat(np.arange(tree.requests, dtype=np.int32), np.diff(tree.path_offsets))
    requests = np.bincount(tree.path_edges, minlength=tree.edges)
    shared = np.flatnonzero(requests > 1)
    first = np.full(tree.edges, -1, np.int64)
    first[tree.path_edges[::-1]] = request_of[::-1]
    hit_tokens, evicted = _edge_totals(tree, plan, simulation)
    parent = tree.edge_parent[shared].astype(np.int64)
    return pl.DataFrame(
        {
            "prefix_id": shared,
            "parent_prefix_id": _only(parent, parent >= 0),
            "start_tokens": tree.edge_start[shared],
            "stop_tokens": tree.edge_stop[shared],
            "requests": requests[shared],
            "sessions": _sessions_on(tree, plan, request_of, shared),
            "first_request_id": first[shared],
            "last_block_id": tree.edge_last_id[shared],
            "hit_tokens": hit_tokens[shared],
            "evicted_blocks": evicted[shared],
        }
    )


def _edge_totals(
    tree: PrefixTree, plan: Plan, simulation: Simulation
) -> tuple[np.ndarray, np.ndarray]:
    """Return hit tokens and evicted blocks of each tree edge, tails counted where they hang."""
    size = int(plan.rules[layout.BLOCK_SIZE])
    paths = plan.paths
    of_block = np.full(len(paths.first), size, np.int64)
    if plan.rules[layout.PARTIAL_BLOCKS]:
        tails = slice(tree.edges, None)
        of_block[tails] = paths.stop_tokens[tails] - paths.first[tails] * size
    counted = paths.tree_edge >= 0
    edge = paths.tree_edge[counted]
    tokens = (simulation.edges[:, layout.REUSED] * of_block)[counted]
    hit_tokens, evicted = np.zeros(tree.edges, np.int64), np.zeros(tree.edges, np.int64)
    np.add.at(hit_tokens, edge, tokens)
    np.add.at(evicted, edge, simulation.edges[counted, layout.EVICTED])
    return hit_tokens, evicted


def _sessions_on(
    tree: PrefixTree, plan: Plan, request_of: np.ndarray, shared: np.ndarray
) -> pl.Series:
    """Return how many sessions' prompts contain each edge; null where there are no sessions."""
    session = plan.table[request_of, layout.SESSION]
    known = session >= 0
    pairs = pl.DataFrame({"edge": tree.path_edges[known], "session": session[known]}).unique()
    counts = np.bincount(pairs["edge"].to_numpy(), minlength=tree.edges)
    return _only(counts[shared], np.full(len(shared), bool(known.any())))
