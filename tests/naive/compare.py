"""Two runs compared in plain Python, request by request: the twin of `replay compare`'s SQL."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

Row = dict
MOST_BUCKETS = 11
MS = 1e6


def completed(*runs: Sequence[Row]) -> list[dict[int, Row]]:
    """Return the requests of each run that completed in all of them, by request_id."""
    done = [
        {row["request_id"]: row for row in rows if row["status"] == "completed"} for rows in runs
    ]
    shared = set.intersection(*(set(found) for found in done))
    return [{name: found[name] for name in sorted(shared)} for found in done]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value at the nearest rank."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def metrics(done: dict[int, Row]) -> dict[str, float | None]:
    """Return what a run comes to over some of its requests."""
    rows = list(done.values())
    tokens = sum(row["input_tokens"] for row in rows)

    def share(name: str) -> float:
        return sum(row[name] for row in rows) / tokens

    def known(name: str) -> list[float]:
        return [row[name] / MS for row in rows if row[name] is not None]

    found: dict[str, float | None] = {
        "requests": len(rows),
        "token_hit_rate": share("hit_tokens"),
        "session_hit_share": share("session_hit_tokens"),
        "cross_request_hit_share": share("cross_request_hit_tokens"),
        "computed_tokens": sum(
            row["input_tokens"] - row["hit_tokens"] + (row["recomputed_tokens"] or 0)
            for row in rows
        ),
    }
    for cause in ("cold", "capacity_miss", "avoidable_miss", "in_flight", "granularity",
                  "policy_miss", "disabled"):  # fmt: skip
        found[f"{cause}_share"] = share(f"{cause}_tokens")
    for name in ("ttft", "queue", "prefill", "e2e"):
        times = known(f"{name}_ns")
        found[f"{name}_mean_ms"] = sum(times) / len(times) if times else None
    for name, shares in (("ttft", (0.5, 0.9, 0.99)), ("e2e", (0.5, 0.99))):
        for one in shares:
            times = known(f"{name}_ns")
            found[f"{name}_p{100 * one:g}_ms"] = quantile(times, one) if times else None
    gaps = [
        (row["itl_mean_ns"] / MS, row["output_tokens"] - 1)
        for row in rows
        if row["itl_mean_ns"] is not None
    ]
    weights = sum(weight for _, weight in gaps)
    found["itl_mean_ms"] = sum(gap * weight for gap, weight in gaps) / weights if weights else None
    return found


def slices(rows: Sequence[Row]) -> dict[str, Callable[[Row], str | None]]:
    """Return what a request is told by, and how it is called there."""
    of_session: dict[int, int] = defaultdict(int)
    for row in rows:
        of_session[row["session_id"]] += 1

    def turn(row: Row) -> str | None:
        if row["turn"] is None:
            return None
        return str(row["turn"]) if row["turn"] < 10 else "10+"

    def prompt(row: Row) -> str:
        low = 0
        while row["input_tokens"] >= 1000 * max(1, 2 * low):
            low = max(1, 2 * low)
        return "below 1,000" if not low else f"{1000 * low:,}-{2000 * low:,}"

    def session(row: Row) -> str | None:
        if row["session_id"] is None:
            return None
        size = of_session[row["session_id"]]
        for least, name in ((20, "20+"), (10, "10-19"), (5, "5-9")):
            if size >= least:
                return name
        return str(size)

    found: dict[str, Callable[[Row], str | None]] = {
        "turn": turn, "prompt tokens": prompt, "requests of the session": session,
    }  # fmt: skip
    for name in ("kind", "model", "adapter", "tenant"):
        if any(name in row for row in rows):
            found[name] = lambda row, name=name: row[name]
    return found


def differ(one: float, other: float, band: float) -> bool:
    """Return whether two times are further apart than the error of both."""
    return max(one, other) > min(one, other) * band


def gained(a: dict[int, Row], b: dict[int, Row], band: float | None) -> dict[tuple, dict]:
    """Return who gained and who lost by slice and bucket."""
    found = {}
    for name, bucket_of in slices(list(a.values())).items():
        buckets: dict[str, list[int]] = defaultdict(list)
        for request, row in a.items():
            if (bucket := bucket_of(row)) is not None:
                buckets[bucket].append(request)
        largest = sorted(buckets, key=lambda one: (-len(buckets[one]), one))
        for rare in largest[MOST_BUCKETS:]:
            buckets.setdefault("others", []).extend(buckets.pop(rare))
        for bucket, requests in buckets.items():
            found[name, bucket] = _bucket([a[i] for i in requests], [b[i] for i in requests], band)
    return found


def _bucket(a: list[Row], b: list[Row], band: float | None) -> dict:
    tokens = sum(row["input_tokens"] for row in a)
    times = [[row["ttft_ns"] for row in rows] for rows in (a, b)]
    pairs = list(zip(*times, strict=True))
    sums = [sum(column) for column in times]
    judged = None if band is None else "stands" if differ(*sums, band) else "tie"
    return {
        "requests": len(a),
        "a_token_hit_rate": sum(row["hit_tokens"] for row in a) / tokens,
        "b_token_hit_rate": sum(row["hit_tokens"] for row in b) / tokens,
        "a_ttft_mean_ms": sums[0] / len(a) / MS,
        "b_ttft_mean_ms": sums[1] / len(b) / MS,
        "faster_in_b": None if band is None else sum(x > y * band for x, y in pairs),
        "slower_in_b": None if band is None else sum(y > x * band for x, y in pairs),
        "verdict": "tie" if sums[0] == sums[1] else judged,
    }


def most_changed(a: dict[int, Row], b: dict[int, Row], name: str, sign: int) -> list[tuple]:
    """Return the ten requests that lost most and the ten that gained most, worst and best first.

    `name` is what is compared, `sign` 1 where more of it is worse.
    """
    by = {i: sign * (b[i][name] - a[i][name]) for i in a}
    lost = sorted((i for i in by if by[i] > 0), key=lambda i: (-by[i], i))[:10]
    won = sorted((i for i in by if by[i] < 0), key=lambda i: (by[i], i))[:10]
    return [("lost", i) for i in lost] + [("gained", i) for i in won]


def timeline(rows: Sequence[Row], width_ns: int, capacity: int, block_size: int) -> list[dict]:
    """Return what an engine did in intervals of a width that holds whole ones of the run."""
    bins: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        bins[row["start_ns"] // width_ns].append(row)
    found = []
    for at, inside in sorted(bins.items()):
        total = {name: sum(row[name] for row in inside) for name in inside[0]}
        busy, seconds = total["busy_ns"], width_ns / 1e9
        found.append(
            {
                "from_s": at * seconds,
                "running": total["running_request_ns"] / busy if busy else 0,
                "waiting": total["waiting_request_ns"] / busy if busy else 0,
                "held_share": total["used_block_ns"] / busy / capacity if busy else None,
                "cached_share": total["cached_block_ns"] / busy / capacity if busy else None,
                "evicted_tokens_per_s": total["evicted_blocks"] * block_size / seconds,
                "prompt_tokens_per_s": total["prefill_tokens"] / seconds,
                "preemptions": total["preemptions"],
            }
        )
    return found
