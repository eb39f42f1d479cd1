"""What the sentences of a page are made from: one run's numbers, and what it has to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.report.db import RunDatabase
from replay.report.library import run_report
from replay.report.words import count, size

LEAST_MEMORY = 0.02  # share of the prompt tokens evicted below which memory is not the limit


@dataclass(frozen=True, slots=True)
class Facts:
    """One run: the rows of `report.summary` and `run`, of `report.memory`, and its manifest.

    `has` are the needs of figures that it meets, see `replay.report.page.gallery.LACKS`.
    """

    summary: Mapping[str, Any]
    run: Mapping[str, Any]
    memory: Mapping[str, Mapping[str, Any]]
    manifest: Mapping[str, Any]
    has: frozenset[str]

    @property
    def timed(self) -> bool:
        """Whether time passed in it."""
        return self.run["mode"] == "timed"

    @property
    def paired(self) -> bool:
        """Whether the same requests ran once more with caching off."""
        return bool(self.summary["paired_requests"])

    @property
    def cache_on(self) -> bool:
        """Whether anything could be reused."""
        return self.run["cache_enabled"] is not False

    @property
    def content_known(self) -> bool:
        """Whether it is known which prompts share content."""
        return "content" in self.has

    @property
    def overloaded(self) -> bool:
        """Whether the queue outgrew the GPU, so that latencies measure the trace."""
        return bool(self.run["overloaded"])

    @property
    def only_cache_carries(self) -> bool:
        """Whether the load is carried with caching on and not with it off."""
        return not self.overloaded and bool(self.run["no_cache_overloaded"])

    @property
    def waits_mean_nothing(self) -> bool:
        """Whether a comparison of waits would measure how long the trace is."""
        return self.overloaded or self.only_cache_carries

    @property
    def all_completed(self) -> bool:
        """Whether no request was rejected or left unfinished."""
        return bool(self.summary["completed"] == self.summary["requests"])

    @property
    def stopped_early(self) -> bool:
        """Whether the run stopped before all requests ended: what is of all of them is left out."""
        return bool(self.summary["unfinished"])

    @property
    def hit_rate(self) -> float | None:
        """Hit tokens over prompt tokens of completed requests."""
        return self.summary["token_hit_rate"]

    @property
    def repeats(self) -> float | None:
        """The share of the prompt tokens that earlier requests contained: the content ceiling.

        Where the run stopped early it is of the completed requests, as `hit_rate` is.
        """
        if self.stopped_early:
            return None if self.hit_rate is None else 1 - self.share("cold_tokens")
        ceiling, tokens = self.run["content_ceiling_tokens"], self.all_input_tokens
        if ceiling is not None and tokens:
            return ceiling / tokens
        return None if self.hit_rate is None else 1 - self.share("cold_tokens")

    @property
    def in_whole_blocks(self) -> float | None:
        """What of these an unlimited cache of whole blocks hits: the block ceiling."""
        if self.stopped_early:
            return None  # it is known of all requests only
        ceiling, tokens = self.run["block_ceiling_tokens"], self.all_input_tokens
        return ceiling / tokens if ceiling is not None and tokens else None

    @property
    def all_input_tokens(self) -> int:
        """Prompt tokens of all requests, whatever became of them."""
        return self.run["input_tokens"]

    def share(self, column: str) -> float:
        """Return a column of the summary over the prompt tokens, 0 where it is null."""
        return (self.summary[column] or 0) / max(self.summary["input_tokens"], 1)

    @property
    def evicted(self) -> float:
        """The share of the prompt tokens that had been in the cache and were evicted."""
        return self.share("capacity_miss_tokens")

    @property
    def model_error(self) -> float:
        """The 90th percentile of the error of prefill steps, as a share; 0 where unknown."""
        times = self.manifest.get("step_times") or {}
        return float(times.get("prefill_error_p90_percent") or 0) / 100

    def rate(self, cache: str) -> float | None:
        """Return the hit rate of a line of `report.memory`, None where there is no such line.

        It is over the tokens of all requests, completed or not, which `hit_rate` is not.
        """
        row = self.memory.get(cache)
        return None if row is None else row["token_hit_rate"]

    def room(self, blocks: int | None) -> str:
        """Return a capacity as a person sizes it: GiB where a model is known, else blocks."""
        if blocks is None:
            return "unlimited memory"
        per_token, block_size = self.run["kv_bytes_per_token"], self.run["block_size"]
        if per_token is not None and block_size is not None:
            return size(blocks * block_size * per_token)
        return count(blocks, "token" if block_size == 1 else "block")


_HAS = """
SELECT
    (SELECT count(*) > 0 FROM completed) AS completed,
    (SELECT count(*) > 0 AND count(hit_tokens) = count(*) FROM requests) AS content,
    (SELECT mode = 'timed' FROM run)
        AND (SELECT count(ttft_ns) > 0 FROM completed) AS timed,
    (SELECT mode = 'untimed' FROM run) AS untimed,
    (SELECT count(*) > 0 FROM paired) AS pair,
    (SELECT max(arrival_ns) > 0 FROM completed) AS arrivals,
    (SELECT count(turn) > 0 FROM completed) AS sessions,
    (SELECT count(*) > 0 FROM prefixes WHERE requests > 1) AS prefixes,
    (SELECT count(*) > 0 FROM timeline) AS timeline,
    (SELECT count(*) > 0 FROM curve) AS curve,
    (SELECT count(*) FILTER (status = 'unfinished') = 0 FROM requests) AS ended,
    (SELECT coalesce(sum(capacity_miss_tokens), 0) > 0 FROM completed) AS evicted,
    (SELECT count(evicted_ns) > 0 FROM completed WHERE capacity_miss_tokens > 0) AS evictors
"""
_ALL_TOKENS = "SELECT coalesce(sum(input_tokens), 0)::BIGINT FROM requests"


def facts_of(database: RunDatabase) -> Facts:
    """Return what there is to say of an open run; raises QueryError."""
    run = _row(database, "FROM run")
    run["input_tokens"] = database.query(_ALL_TOKENS).table().rows[0][0]
    has = _row(database, _HAS)
    memory = run_report(database, "memory")
    return Facts(
        summary=_row(database, "FROM report.summary"),
        run=run,
        memory={row[0]: dict(zip(memory.columns, row, strict=True)) for row in memory.rows},
        manifest=database.run.manifest,
        has=frozenset(name for name, met in has.items() if met),
    )


def _row(database: RunDatabase, sql: str) -> dict[str, Any]:
    table = database.query(sql).table()
    return dict(zip(table.columns, table.rows[0], strict=True))
