"""The table `run`: the scalars of a run's manifest as one row for SQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.errors import InputError
from replay.runs.layout import MANIFEST
from replay.runs.open import Run


@dataclass(frozen=True, slots=True)
class RunColumn:
    """One column of `run`: `type` is DuckDB's, `place` the dotted path to it in the manifest."""

    name: str
    type: str
    unit: str
    meaning: str
    place: str


RUN_COLUMNS = (
    RunColumn("mode", "VARCHAR", "", "timed or untimed", "mode"),
    RunColumn("block_size", "BIGINT", "tokens", "tokens in a KV block", "cache.block_size"),
    RunColumn("capacity_blocks", "BIGINT", "blocks", "KV the cache may hold; null: no limit", "cache.capacity_blocks"),
    RunColumn("capacity_tokens", "BIGINT", "tokens", "the same in tokens", "cache.capacity_tokens"),
    RunColumn("capacity_bytes", "BIGINT", "bytes", "the same in bytes; null without a model", "cache.capacity_bytes"),
    RunColumn("capacity_source", "VARCHAR", "", "where the capacity comes from", "cache.capacity_source"),
    RunColumn("kv_bytes_per_token", "BIGINT", "bytes", "KV of one token, all layers", "cache.kv_bytes_per_token"),
    RunColumn("evicted_blocks", "BIGINT", "blocks", "cached blocks evicted over the whole run", "totals.evicted_blocks"),
    RunColumn("end_ns", "BIGINT", "ns", "when the run ended", "totals.end_ns"),
    RunColumn("overloaded", "BOOLEAN", "", "requests arrived faster than they were served, or more at once than could be served; null when untimed", "overload.overloaded"),
    RunColumn("queue_growth", "DOUBLE", "s/s", "seconds of queue gained per second of arrivals", "overload.queue_growth"),
    RunColumn("backlog_requests", "BIGINT", "requests", "waiting when the last one arrived", "overload.backlog_requests"),
    RunColumn("drain_ns", "BIGINT", "ns", "last arrival until the last of them was scheduled", "overload.drain_ns"),
    RunColumn("waiting_share", "DOUBLE", "share", "of requests, that waited longer than service_mean_ns", "overload.waiting_share"),
    RunColumn("queue_mean_ns", "BIGINT", "ns", "mean wait of all that arrived", "overload.queue_mean_ns"),
    RunColumn("service_mean_ns", "BIGINT", "ns", "mean service of what completed, from scheduled to done", "overload.service_mean_ns"),
    RunColumn("no_cache_overloaded", "BOOLEAN", "", "overloaded in the paired run with caching off; null without one", "no_cache_overload.overloaded"),
    RunColumn("no_cache_queue_growth", "DOUBLE", "s/s", "queue_growth with caching off", "no_cache_overload.queue_growth"),
    RunColumn("no_cache_backlog_requests", "BIGINT", "requests", "backlog_requests with caching off", "no_cache_overload.backlog_requests"),
    RunColumn("no_cache_drain_ns", "BIGINT", "ns", "drain_ns with caching off", "no_cache_overload.drain_ns"),
    RunColumn("follow_ups", "BIGINT", "requests", "whose prompt contains an earlier turn; null when untimed", "causality.follow_ups"),
    RunColumn("premature_follow_ups", "BIGINT", "requests", "of these, arrived before that turn had ended", "causality.premature_follow_ups"),
    RunColumn("content_ceiling_tokens", "BIGINT", "tokens", "prompt tokens that earlier requests contained; null where content is unknown", "ceilings.content_ceiling_tokens"),
    RunColumn("block_ceiling_tokens", "BIGINT", "tokens", "what of these an unlimited cache hits, in whole blocks, requests one after another", "ceilings.block_ceiling_tokens"),
    RunColumn("gpu", "VARCHAR", "", "GPU modelled; null when untimed", "gpu.name"),
    RunColumn("tensor_parallel", "BIGINT", "", "GPUs the replica spans; null when untimed", "gpu.tensor_parallel"),
    RunColumn("model", "VARCHAR", "", "model served; null when untimed", "gpu.model"),
    RunColumn("cache_enabled", "BOOLEAN", "", "false: nothing was reused", "scenario.cache.enabled"),
    RunColumn("policy", "VARCHAR", "", "eviction policy", "scenario.cache.policy"),
    RunColumn("speedup", "DOUBLE", "", "what arrival times were divided by", "scenario.trace.speedup"),
    RunColumn("seed", "BIGINT", "", "of everything drawn at random", "seed"),
    RunColumn("trace_name", "VARCHAR", "", "the trace", "trace.name"),
    RunColumn("trace_path", "VARCHAR", "", "where it was read from", "trace.path"),
    RunColumn("trace_sha256", "VARCHAR", "", "digest of its file", "trace.sha256"),
    RunColumn("trace_format", "VARCHAR", "", "its format", "trace.format"),
    RunColumn("trace_requests", "BIGINT", "requests", "requests in it", "trace.requests"),
    RunColumn("trace_block_size", "BIGINT", "tokens", "tokens one of its block ids stands for", "trace.block_size"),
    RunColumn("trace_content", "VARCHAR", "", "how it tells equal content", "trace.content"),
    RunColumn("trace_sessions", "VARCHAR", "", "where its sessions come from", "trace.sessions"),
    RunColumn("rejected_rows", "BIGINT", "", "rows of it that could not be used", "trace.rejected_rows"),
    RunColumn("replay_version", "VARCHAR", "", "version that wrote the run", "replay_version"),
    RunColumn("created_at", "VARCHAR", "", "when, in UTC", "created_at"),
    RunColumn("result_digest", "VARCHAR", "", "equal for equal results", "result_digest"),
)  # fmt: skip

_ACCEPTED: dict[str, tuple[type, ...]] = {
    "BIGINT": (int,),
    "DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "VARCHAR": (str, int, float, bool, list, dict),
}


def run_row(run: Run) -> tuple[Any, ...]:
    """Return the values of `RUN_COLUMNS`, null where the manifest has none.

    Raises InputError for a value of another type: the manifest was changed.
    """
    return tuple(_value(run, column) for column in RUN_COLUMNS)


def _value(run: Run, column: RunColumn) -> Any:
    value: Any = run.manifest
    for key in column.place.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return None
    is_stray_bool = isinstance(value, bool) and bool not in _ACCEPTED[column.type]
    is_too_large = column.type == "BIGINT" and isinstance(value, int) and not _fits(value)
    if not isinstance(value, _ACCEPTED[column.type]) or is_stray_bool or is_too_large:
        raise InputError(
            f"{run.folder / MANIFEST}: {column.place}: not a {column.type} (got {value!r})",
            hint="the run was changed by hand",
        )
    if column.type == "VARCHAR" and not isinstance(value, str):
        return json.dumps(value)
    # A name that is no UTF-8 on the disk came through JSON as lone surrogates, unknown to SQL.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63
