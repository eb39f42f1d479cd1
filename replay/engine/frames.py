"""From the kernels' integer tables to the tables of a run: columns of replay/schema.py."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.engine.causality import premature_ns
from replay.engine.diagnosis import Alternatives, Diagnosis
from replay.engine.events import prefix_cache_events
from replay.engine.plan import Plan
from replay.engine.simulate import Simulation
from replay.kernels import layout
from replay.runs.rows import Rows
from replay.schema import CARRIED, REQUESTS, TRACE, column_names

if TYPE_CHECKING:
    from replay.engine.overhead import EngineOverhead
    from replay.trace.frame import Trace

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
    "waiting_max_requests": layout.WAITING_MAX,
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


@dataclass(frozen=True, slots=True)
class RequestTable:
    """The table `requests` of a run, which makes any of its rows.

    `global_prefix` int[R] is how deep each prompt is what most start with, `turn` int[R] the
    request whose turn it contains, -1 for none. `overhead` is what requests take outside the GPU;
    None where no time passes. `answers` int[R] is `answers_beside` of the replay, and
    `no_cache_answers` that of its pair; None where they take no time. What was hit and why the rest
    was not is null unless `content_known`.
    """

    trace: Trace
    plan: Plan
    main: Simulation
    baseline: Simulation | None
    others: Alternatives | None
    global_prefix: np.ndarray
    turn: np.ndarray
    overhead: EngineOverhead | None
    answers: np.ndarray | None
    no_cache_answers: np.ndarray | None
    content_known: bool

    def rows(self) -> Rows:
        """Return the table, one row a request."""
        return Rows(self.plan.requests, self.make)

    def make(self, start: int, stop: int) -> pl.DataFrame:
        """Return the rows of some requests.

        Latencies are null where the clock never ran or got there.
        """
        rows = slice(start, stop)
        frame, outcome = self.trace.frame[rows], self.main.outcome
        absent = pl.Series([None] * (stop - start))
        columns: dict[str, object] = {
            name: frame[name] if name in frame.columns else absent
            for name in ("request_id", "session_id", "turn", "parent_request_id", "arrival_ns")
        }
        tokens = self.plan.table[rows, layout.INPUT_TOKENS]
        columns["input_tokens"] = tokens
        columns["output_tokens"] = self.plan.table[rows, layout.OUTPUT_TOKENS]
        columns |= {name: outcome[rows, field] for name, field in _COUNTS.items()}
        diagnosis = None if self.others is None else self.others.diagnosis(outcome, start, stop)
        for field in dataclasses.fields(Diagnosis):
            columns[field.name] = absent if diagnosis is None else getattr(diagnosis, field.name)
        columns["prefix_cache_event"] = prefix_cache_events(outcome, tokens, rows)
        global_prefix = self.global_prefix[rows].astype(np.int64)
        columns["global_prefix_hit_tokens"] = np.minimum(outcome[rows, layout.HIT], global_prefix)
        columns |= self._turns(rows)
        columns["forgotten_tokens"] = frame.get_column("forgotten_tokens", default=absent)
        columns |= self._evictors(rows)
        columns |= self._admissions(rows)
        columns |= self._latencies(self.main, self.answers, rows)
        paired = {}
        if self.baseline is not None:
            paired = self._latencies(self.baseline, self.no_cache_answers, rows)
        for name in _PAIRED:
            columns[f"no_cache_{name}"] = paired.get(name, absent)
        if not self.content_known:
            columns |= dict.fromkeys(_ABOUT_CONTENT, absent.cast(pl.Int64))
            columns["prefix_cache_event"] = absent
        made = pl.DataFrame(columns).select(column_names(REQUESTS))
        known = {*column_names(TRACE), *made.columns} - {*CARRIED}
        extra = [name for name in frame.columns if name not in known]
        return made.hstack(frame.select(extra)) if extra else made

    @property
    def _timed(self) -> bool:
        return self.overhead is not None

    def _evictors(self, rows: slice) -> dict[str, pl.Series]:
        """Return by whom and when the first block that each request missed was evicted."""
        by = self.main.outcome[rows, layout.EVICTED_BY]
        when = self.main.outcome[rows, layout.EVICTED_AT_NS]
        return {"evicted_by_request_id": _only(by - 1, by > 0), "evicted_ns": _only(when, by != 0)}

    def _admissions(self, rows: slice) -> dict[str, pl.Series]:
        """Return how each request of a replay without time was admitted and left."""
        outcome = self.main.outcome
        status = outcome[rows, layout.STATUS]
        untimed = np.full(len(status), not self._timed)
        held = (status == layout.COMPLETED) & (self.plan.rules[layout.HOLD_NS] > 0)
        response = pl.Series(outcome[rows, layout.RESPONSE])
        return {
            "admitted_ns": _only(outcome[rows, layout.ADMITTED_NS], held),
            "lookup_attempts": _only(outcome[rows, layout.ATTEMPTS], untimed),
            "response_status": response.replace_strict(_RESPONSES, return_dtype=pl.String),
            "response_evicted_blocks": _only(outcome[rows, layout.EVICTED_LATER], untimed),
        }

    def _turns(self, rows: slice) -> dict[str, pl.Series]:
        """Return the turn that each prompt contains, and how long before its end it arrived."""
        turn = self.turn[rows].astype(np.int64)
        columns = {"contained_request_id": _only(turn, turn >= 0)}
        early, known = self.premature_ns(rows)
        if not self._timed:
            return columns | {"premature_ns": pl.Series([None] * len(turn))}
        return columns | {"premature_ns": _only(early, known)}

    def premature_ns(self, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return what `replay.engine.causality` says of some requests; nothing where untimed."""
        turn = self.turn[rows].astype(np.int64)
        if not self._timed:
            return np.zeros(len(turn), np.int64), np.zeros(len(turn), np.bool_)
        outcome, before = self.main.outcome, np.maximum(turn, 0)
        status = outcome[before, layout.STATUS]
        done = outcome[before, layout.DONE_NS] + self._overhead_ns(self.answers, before)
        return premature_ns(
            turn,
            self.plan.table[rows, layout.ARRIVAL_NS],
            np.where(status == layout.COMPLETED, done, self.main.end_ns),
            status == layout.REJECTED,
        )

    def _overhead_ns(self, answers: np.ndarray | None, rows: slice | np.ndarray) -> np.ndarray:
        tokens = self.plan.table[rows, layout.INPUT_TOKENS]
        if self.overhead is None:
            return np.zeros_like(tokens)
        beside = np.zeros_like(tokens) if answers is None else answers[rows]
        return self.overhead.of(tokens, beside)

    def _latencies(
        self, simulation: Simulation, answers: np.ndarray | None, rows: slice
    ) -> dict[str, pl.Series]:
        outcome, timed = simulation.outcome, self._timed
        status = outcome[rows, layout.STATUS]
        arrival = self.plan.table[rows, layout.ARRIVAL_NS]
        output_tokens = self.plan.table[rows, layout.OUTPUT_TOKENS]
        extra = self._overhead_ns(answers, rows)
        scheduled = outcome[rows, layout.SCHEDULED_NS]
        first, done = outcome[rows, layout.FIRST_TOKEN_NS], outcome[rows, layout.DONE_NS]
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
            "itl_max_ns": _only(outcome[rows, layout.ITL_MAX_NS], several),
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
