"""The requests that suffered most, each with a reason in a line and its story to unfold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.report.page.drawn import Data, Drawn, Key, LeftOut
from replay.report.page.facts import Facts
from replay.report.page.figures.waits import TAG
from replay.report.words import clock, percent, sentence, wait

LONG_QUEUE, MUCH_EVICTED = 0.25, 0.25  # of the wait, of the prompt
MANY_TOKENS = 8192  # to compute: a step's worth


def reason(row: Mapping[str, Any]) -> str:
    """Return in a line why a request waited, by what is unusual about it."""
    told = []
    if row.get("queue_ms") is not None and row["queue_ms"] > LONG_QUEUE * row["ttft_ms"]:
        told.append(f"queued {wait(row['queue_ms'])} behind others")
    lost = row["capacity_miss_tokens"] or 0
    if lost > MUCH_EVICTED * row["input_tokens"]:
        told.append(f"{percent(lost / row['input_tokens'])} of its prompt had been evicted")
    compute = row["input_tokens"] - (row["hit_tokens"] or 0)
    if compute > MANY_TOKENS:
        told.append(f"{compute:,} tokens to compute")
    if row.get("preemptions"):
        told.append(f"interrupted {'once' if row['preemptions'] == 1 else 'more than once'}")
    return (
        sentence("; ".join(told)) + "."
        if told
        else "Nothing unusual: others were computed at the same time."
    )


def slowest_caption(slowest: Data) -> str:
    """Return how long the slowest request waited, and how much of that in the queue."""
    first = slowest.records[0]
    share = first["queue_ms"] / first["ttft_ms"] if first["ttft_ms"] else 0.0
    return (
        f"The slowest request waited {wait(first['ttft_ms'])}, {percent(share)} of it in the queue."
    )


def slowest(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the longest waits for a first token."""
    rows = data["slowest"].records
    parts = {"queue_ms": "queue", "overhead_ms": "round", "prefill_ms": "prefill"}
    parts = {name: shade for name, shade in parts.items() if any(row[name] for row in rows)}
    paired = any(row["no_cache_ttft_ms"] is not None for row in rows)
    return Drawn(
        caption=slowest_caption(data["slowest"]),
        subtitle=f"The {len(rows)} longest waits for a first token; open one for the whole story.",
        key=tuple(Key(name.removesuffix("_ms"), shade) for name, shade in parts.items()),
        story_columns=(
            "request",
            "wait",
            *(["without"] if paired else []),
            "parts",
            "prompt",
            "reused",
            "evicted",
            "at",
        ),
        stories=tuple(
            {
                "request": f"{row['request_id']}",
                "wait": wait(row["ttft_ms"]),
                "without": "" if row["no_cache_ttft_ms"] is None else wait(row["no_cache_ttft_ms"]),
                "parts": [
                    (shade, 100 * (row[name] or 0) / max(row["ttft_ms"], 1e-9))
                    for name, shade in parts.items()
                ],
                **_about(row),
            }
            for row in rows
        ),
        tag=TAG if facts.overloaded else "",
    )


def most_evicted_caption(lost: Data) -> str:
    """Return how much the request lost that lost most."""
    first = lost.records[0]
    lost = first["capacity_miss_tokens"]
    share = percent(lost / first["input_tokens"])
    return f"One request lost {lost:,} tokens to eviction, {share} of its prompt."


def most_evicted(data: Mapping[str, Data], facts: Facts) -> Drawn | LeftOut:
    """Return the requests that lost most of their prompt to eviction."""
    rows = data["most_evicted"].records
    return Drawn(
        caption=most_evicted_caption(data["most_evicted"]),
        subtitle=f"The {len(rows)} requests that lost most tokens; open one for the whole story.",
        story_columns=("request", "lost", "prompt", "reused", "evicted", "at"),
        stories=tuple(
            {
                "request": f"{row['request_id']}",
                "lost": f"{row['capacity_miss_tokens']:,}",
                **_about(row),
            }
            for row in rows
        ),
    )


def _about(row: Mapping[str, Any]) -> dict[str, str]:
    tokens = max(row["input_tokens"], 1)
    hit, lost = row["hit_tokens"], row["capacity_miss_tokens"]
    return {
        "prompt": f"{row['input_tokens']:,}",
        "reused": "" if hit is None else percent(hit / tokens),
        "evicted": "" if lost is None else percent(lost / tokens),
        "at": clock(row["arrival_s"]),
        "reason": reason(row),
        "id": str(row["request_id"]),
    }
