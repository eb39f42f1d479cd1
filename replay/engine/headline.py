"""What a run found, in a few lines for the person who started it.

The definitions are those of the `summary` report, which has all of them; this one needs no
database, and a test holds the two against each other.
"""

from __future__ import annotations

import math

import polars as pl

from replay.engine.run import RunResult
from replay.units import format_bytes, format_duration

_MISSES = {
    "cold": "cold_tokens",
    "evicted": "capacity_miss_tokens",
    "in flight": "in_flight_tokens",
    "block rounding": "granularity_tokens",
    "not kept": "policy_miss_tokens",
    "not looked up": "disabled_tokens",
}


def headline(result: RunResult) -> list[tuple[str, str]]:
    """Return labelled lines: requests, hits, misses, TTFT with and without caching, the cache."""
    requests = result.tables["requests"]
    done = requests.filter(requests["status"] == "completed")
    lines = [("requests", _outcomes(requests))]
    tokens = int(done["input_tokens"].sum())
    if not result.manifest["content_known"]:
        lines.append(("token hit rate", "no content: reuse unknown"))
    elif tokens:
        lines += [("token hit rate", _hits(done, tokens)), ("missed", _misses(done, tokens))]
    if result.manifest["mode"] == "timed" and len(done):
        lines.append(("TTFT", _ttft(done, "ttft_ns")))
        pairs = done.filter(done["no_cache_status"].eq_missing("completed"))
        if len(pairs):
            lines.append(("... caching off", _ttft(pairs, "no_cache_ttft_ns")))
            lines.append(("... saved, paired", _saving(pairs)))
    lines.append(("cache", _cache(result)))
    return lines


def _outcomes(requests: pl.DataFrame) -> str:
    counts = dict(requests["status"].value_counts().iter_rows())
    parts = [f"{counts.get('completed', 0):,} completed"]
    parts += [f"{counts[name]:,} {name}" for name in ("rejected", "unfinished") if name in counts]
    return ", ".join(parts)


def _share(done: pl.DataFrame, column: str, tokens: int) -> str:
    return f"{int(done[column].sum()) / tokens:.1%}"


def _hits(done: pl.DataFrame, tokens: int) -> str:
    session = _share(done, "session_hit_tokens", tokens)
    others = _share(done, "cross_request_hit_tokens", tokens)
    total = _share(done, "hit_tokens", tokens)
    return f"{total}  ({session} from the same session, {others} from others)"


def _misses(done: pl.DataFrame, tokens: int) -> str:
    parts = [
        f"{_share(done, column, tokens)} {name}"
        for name, column in _MISSES.items()
        if done[column].sum()
    ]
    if done["avoidable_miss_tokens"].sum():
        kept = _share(done, "avoidable_miss_tokens", tokens)
        evicted = next(at for at, part in enumerate(parts) if part.endswith("evicted"))
        parts[evicted] += f" (the optimum would have kept {kept})"
    return ", ".join(parts) or "nothing"


def _ttft(done: pl.DataFrame, column: str) -> str:
    shown = [f"mean {format_duration(int(done[column].sum()) // len(done))}"]
    ordered = done[column].sort()
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        place = max(math.ceil(share * len(done)), 1) - 1
        shown.append(f"{name} {format_duration(ordered[place])}")
    return ", ".join(shown)


def _saving(pairs: pl.DataFrame) -> str:
    without = int(pairs["no_cache_ttft_ns"].sum())
    saved = without - int(pairs["ttft_ns"].sum())
    sign = "-" if saved < 0 else ""
    mean = format_duration(abs(saved) // len(pairs))
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
