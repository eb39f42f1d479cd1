"""Facts of a run made by hand, for the rules that make sentences of them."""

from __future__ import annotations

from typing import Any

from replay.report.page.drawn import Data
from replay.report.page.facts import Facts

SUMMARY = {
    "requests": 2000, "completed": 2000, "rejected": 0, "unfinished": 0,
    "input_tokens": 1_000_000, "hit_tokens": 230_000, "token_hit_rate": 0.23,
    "cold_tokens": 450_000, "capacity_miss_tokens": 320_000, "avoidable_miss_tokens": 220_000,
    "in_flight_tokens": 0, "granularity_tokens": 0, "policy_miss_tokens": 0, "disabled_tokens": 0,
    "recomputed_tokens": 0, "paired_requests": 2000,
    "ttft_mean_ms": 348.0, "ttft_p99_ms": 1560.0, "no_cache_ttft_mean_ms": 668.0,
    "no_cache_ttft_p99_ms": 3480.0, "ttft_saving_mean_ms": 320.0, "ttft_saving": 0.479,
}  # fmt: skip
RUN = {
    "mode": "timed", "input_tokens": 1_000_000, "overloaded": False, "no_cache_overloaded": False,
    "queue_growth": 0.0, "waiting_share": 0.1, "backlog_requests": 1, "drain_ns": 5_000_000,
    "content_ceiling_tokens": 550_000, "block_ceiling_tokens": 550_000,
    "capacity_blocks": 884, "block_size": 512, "kv_bytes_per_token": 131_072, "speedup": 1.0,
    "cache_enabled": True, "evicted_blocks": 24_000, "rejected_rows": 0, "trace_name": "t.jsonl",
}  # fmt: skip
RATES = {
    "this run": 0.23, "the same memory": 0.236, "twice the memory": 0.31,
    "unlimited memory": 0.55, "the same memory, optimum": 0.45,
}  # fmt: skip
HAS = frozenset(
    {
        "completed", "content", "timed", "pair", "arrivals", "sessions", "prefixes", "timeline",
        "curve", "evicted", "evictors",
    }
)  # fmt: skip


def facts(
    *,
    lacking: tuple[str, ...] = (),
    rates: dict[str, float | None] | None = None,
    manifest: dict[str, Any] | None = None,
    **changes: Any,
) -> Facts:
    """Return the facts of a timed run; a keyword changes its summary or its row of `run`."""
    unknown = changes.keys() - SUMMARY.keys() - RUN.keys()
    assert not unknown, unknown
    known = {**RATES, **(rates or {})}
    return Facts(
        summary=SUMMARY | {name: value for name, value in changes.items() if name in SUMMARY},
        run=RUN | {name: value for name, value in changes.items() if name in RUN},
        memory={
            cache: {"token_hit_rate": rate, "capacity_blocks": 884}
            for cache, rate in known.items()
            if rate is not None
        },
        manifest={"step_times": {"prefill_error_p90_percent": 8.3}, **(manifest or {})},
        has=HAS - set(lacking),
    )


def data(*rows: dict[str, Any]) -> Data:
    """Return rows as a figure gets them."""
    return Data(tuple(rows[0]), [tuple(row.values()) for row in rows])
