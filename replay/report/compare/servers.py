"""What the overhead of two servers may be worth: how far each is from what it was taken for.

What an engine takes outside the GPU is known as a range (hardware/engines). Runs of one engine at
the same end of it err the same way, and nothing of that is a difference between them. Runs of
different engines, or at different ends, err each for itself: a difference in times stands only
where it is there with the slower run's server at its least and the faster one's at its most.

A time of a run is what its server takes beside the steps, and steps, each of which takes
launch and `after` at least. At an end of the range no step changes by more than the greatest factor
by which a part of that changes: a bound, for work of the GPU hides most of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.report.compare.sides import Side

_OF_REQUESTS = ("mean_less_ns", "mean_more_ns", "most_less_ns", "most_more_ns")
_STEPS = ("launch_request_ns", "launch_layer_ns", "eager_layer_ns")  # beside launch and after
_BASE = ("launch_ns", "after_ns")
_BESIDE_STEPS = ("ttft", "e2e")  # metrics with what a request takes outside the GPU in them
NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Apart:
    """How far apart two times must be: one beyond `factor` times the other and `slack_ns`."""

    factor: float = 1.0
    slack_ns: float = 0.0


def named_server(side: Side) -> tuple[str, str] | None:
    """Return whose overhead a run counts, and at which end; None where it counts none."""
    engine = (side.manifest.get("scenario") or {}).get("engine") or {}
    overhead = engine.get("overhead") or "typical"
    return None if engine.get("name") is None or overhead == "none" else (engine["name"], overhead)


def unlike(one: Side, other: Side) -> bool:
    """Return whether the overheads of two runs err each for itself."""
    return one.timed and other.timed and named_server(one) != named_server(other)


def apart(one: Side, other: Side, metric: str) -> Apart | None:
    """Return how far a time of two runs must be apart to be no matter of their servers.

    None where a run counts no server, or does not tell how much it may be off.
    """
    if not unlike(one, other):
        return Apart()
    if named_server(one) is None or named_server(other) is None:
        return None
    found = [_ends(side, metric) for side in (one, other)]
    if found[0] is None or found[1] is None:
        return None
    ways = [_apart(found[0], found[1]), _apart(found[1], found[0])]
    return Apart(max(way.factor for way in ways), max(way.slack_ns for way in ways))


def why_unlike(one: Side, other: Side) -> str:
    """Return why times of two runs with unlike overheads may differ by these alone."""
    none = [side.called for side in (one, other) if named_server(side) is None]
    if none:
        return f"{none[0]} counts nothing of what a server takes outside the GPU, the other does"
    told = [
        f"{name} ({overhead})" if overhead != "typical" else name
        for name, overhead in filter(None, map(named_server, (one, other)))
    ]
    if apart(one, other, "ttft_mean_ms") is None:
        return f"how far what {' and '.join(told)} take outside the GPU may be off was not kept"
    return (
        f"what {' and '.join(told)} take outside the GPU is known as ranges, which allow for such "
        "a difference"
    )


@dataclass(frozen=True, slots=True)
class _Ends:
    """How far a time may be from what it was: `less_ns` and `more_ns`, and its steps' factors."""

    less_ns: float
    more_ns: float
    low: float
    high: float


def _apart(slow: _Ends, fast: _Ends) -> Apart:
    """Solve (slow - less) * low > fast * high + more for slow."""
    return Apart(fast.high / slow.low, fast.more_ns / slow.low + slow.less_ns)


def _ends(side: Side, metric: str) -> _Ends | None:
    record = side.manifest.get("step_times") or {}
    of_requests = _numbers(record.get("request_overhead"), _OF_REQUESTS)
    ends = record.get("server_range") or {}
    names = (*_BASE, *_STEPS)
    used, low, high = (
        _numbers(one, names) for one in (record.get("server"), ends.get("low"), ends.get("high"))
    )
    if of_requests is None or used is None or low is None or high is None:
        return None
    lows, highs = _factors(used, low), _factors(used, high)
    if lows is None or highs is None or min(lows) <= 0:
        return None
    kind = "mean" if metric.endswith("mean_ms") else "most"
    beside = metric.startswith(_BESIDE_STEPS)
    less, more = (of_requests[f"{kind}_{way}_ns"] if beside else 0.0 for way in ("less", "more"))
    return _Ends(less, more, min(1.0, *lows), max(1.0, *highs))


def _factors(used: Mapping[str, float], end: Mapping[str, float]) -> list[float] | None:
    """Return by which factors the parts of a step change; None where one was nothing."""
    pairs = [(sum(used[name] for name in _BASE), sum(end[name] for name in _BASE))]
    pairs += [(used[name], end[name]) for name in _STEPS]
    if any(not before and after for before, after in pairs):
        return None
    return [after / before if before else 1.0 for before, after in pairs]


def _numbers(found: Any, names: tuple[str, ...]) -> dict[str, float] | None:
    if not isinstance(found, Mapping):
        return None
    values = {name: found.get(name) for name in names}
    if not all(type(value) in (int, float) for value in values.values()):
        return None
    return {name: float(value) for name, value in values.items() if value is not None}
