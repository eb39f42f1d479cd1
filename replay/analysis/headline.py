"""What a run found, in a few lines for the person who started it.

The definitions are those of the `summary` report, which has all of them; this one needs no
database, and a test holds the two against each other.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from replay.engine.run import RunResult
from replay.engine.totals import exact_sum, total
from replay.units import format_bytes, format_duration

_MISSES = {
    "cold": "cold_tokens",
    "evicted": "capacity_miss_tokens",
    "in flight": "in_flight_tokens",
    "block rounding": "granularity_tokens",
    "not kept": "policy_miss_tokens",
    "not looked up": "disabled_tokens",
}
_SUMMED = (
    "input_tokens", "hit_tokens", "session_hit_tokens", "cross_request_hit_tokens",
    *_MISSES.values(), "avoidable_miss_tokens",
)  # fmt: skip


@dataclass(slots=True)
class _Found:
    """What the requests of a run come to: counts, sums over completed ones, and their TTFT.

    `pairs` are those that completed with caching off too; times are parts of int64 in ns.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    ttft: list[np.ndarray] = field(default_factory=list)
    no_cache_ttft: list[np.ndarray] = field(default_factory=list)

    def add(self, part: pl.DataFrame) -> None:
        """Add some rows of the table `requests`."""
        self.statuses.update(dict(part["status"].value_counts().iter_rows()))
        done = part.filter(part["status"] == "completed")
        for name in _SUMMED:
            self.sums[name] += total(done[name])
        pairs = done.filter(done["no_cache_status"].eq_missing("completed"))
        self.pairs += len(pairs)
        self.sums["paired_ttft_ns"] += total(pairs["ttft_ns"])
        self.ttft.append(_values(done["ttft_ns"]))
        self.no_cache_ttft.append(_values(pairs["no_cache_ttft_ns"]))

    def share(self, column: str) -> str:
        """Return a sum over the prompt tokens of completed requests."""
        return f"{self.sums[column] / self.sums['input_tokens']:.1%}"


def headline(result: RunResult) -> list[tuple[str, str]]:
    """Return labelled lines: requests, hits, misses, TTFT with and without caching, the cache."""
    found = _Found()
    for part in result.rows["requests"].stretches():
        found.add(part)
    lines = [("requests", _outcomes(found))]
    if not result.manifest.get("content_known", True):
        lines.append(("token hit rate", "no content: reuse unknown"))
    elif found.sums["input_tokens"]:
        lines += [("token hit rate", _hits(found)), ("missed", _misses(found))]
    if result.manifest["mode"] == "timed" and found.statuses["completed"]:
        lines.append(("TTFT", _ttft(found.ttft)))
        if found.pairs:
            lines.append(("... caching off", _ttft(found.no_cache_ttft)))
            lines.append(("... saved, paired", _saving(found)))
    lines.append(("cache", _cache(result)))
    return lines


def _values(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Int64).drop_nulls().to_numpy()


def _outcomes(found: _Found) -> str:
    counts = found.statuses
    parts = [f"{counts['completed']:,} completed"]
    parts += [f"{counts[name]:,} {name}" for name in ("rejected", "unfinished") if counts[name]]
    return ", ".join(parts)


def _hits(found: _Found) -> str:
    session, others = found.share("session_hit_tokens"), found.share("cross_request_hit_tokens")
    return f"{found.share('hit_tokens')}  ({session} from the same session, {others} from others)"


def _misses(found: _Found) -> str:
    parts = [
        f"{found.share(column)} {name}" for name, column in _MISSES.items() if found.sums[column]
    ]
    if found.sums["avoidable_miss_tokens"]:
        kept = found.share("avoidable_miss_tokens")
        evicted = next(at for at, part in enumerate(parts) if part.endswith("evicted"))
        parts[evicted] += f" (the optimum would have kept {kept})"
    return ", ".join(parts) or "nothing"


def _ttft(parts: list[np.ndarray]) -> str:
    ordered = np.sort(np.concatenate(parts))
    shown = [f"mean {format_duration(exact_sum(ordered) // len(ordered))}"]
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        place = max(math.ceil(share * len(ordered)), 1) - 1
        shown.append(f"{name} {format_duration(int(ordered[place]))}")
    return ", ".join(shown)


def _saving(found: _Found) -> str:
    without = sum(map(exact_sum, found.no_cache_ttft))
    saved = without - found.sums["paired_ttft_ns"]
    sign = "-" if saved < 0 else ""
    mean = format_duration(abs(saved) // found.pairs)
    return f"mean {sign}{mean} ({saved / max(without, 1):.1%})"


def _cache(result: RunResult) -> str:
    cache = result.manifest["cache"]
    blocks = cache["capacity_blocks"]
    size = "unlimited"
    if blocks is not None:
        single = cache["block_size"] == 1
        size = f"{blocks:,} " + ("tokens" if single else f"blocks of {cache['block_size']} tokens")
    if cache["capacity_bytes"] is not None:
        size += f", {format_bytes(cache['capacity_bytes'])}"
    source = f" ({cache['capacity_source']})" if blocks is not None else ""
    return f"{size}{source}, {result.manifest['totals']['evicted_blocks']:,} evictions"
