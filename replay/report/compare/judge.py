"""What a difference between two runs is worth: equal, exact, beyond the GPU model's error or not.

- The same value in both is a **tie**.
- What no step time has a say in is **exact**: tokens of untimed runs.
- Where both runs hold what they came to at the edges of the model's error (`--sensitivity`), and
  both were turned at the same knobs, a difference **stands** if it has one sign at every edge, both
  erring the same way, and is a **tie** otherwise. That is the rule of one run with caching on and
  off (docs/gpu-model.md).
- Else latencies on one GPU, model and number of GPUs have one error, the larger 90th percentile of
  prefill and decode: a difference stands if the larger value is more than that above the smaller.
  On different ones the errors are each run's own, and the values must differ by both.
- Hits of timed runs move a little with step times, and how much is unknown: they **differ**.
- Where the overheads of two servers differ, each may be anywhere in its range
  (`replay.report.compare.servers`): a difference in times that these allow for is **unjudged**,
  and any is where a run counts no server. At the edges each end of one meets each of the other.
- Latencies of an overloaded run measure the length of the trace: **overloaded**, no verdict.
- Step times that are not the fitted model's have an error nobody told: **unjudged**.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay.report.compare.servers import NS_PER_MS, Apart, apart, named_server, unlike
from replay.report.compare.sides import Side

EXACT, STANDS, TIE = "exact", "stands", "tie"
DIFFERS, OVERLOADED, UNJUDGED = "differs", "overloaded", "unjudged"
MEANING = {
    EXACT: "no step time has a say in it",
    STANDS: "beyond the GPU model's error",
    TIE: "the same, or within the GPU model's error: it cannot tell them apart",
    DIFFERS: "tokens of timed runs move a little with step times, and how much is unknown",
    OVERLOADED: "waits of an overloaded run measure the length of the trace",
    UNJUDGED: "how wrong these step times are is unknown, or the ranges of what two servers take "
    "outside the GPU allow for the difference, or one run counts no server",
}
FITTED = "roofline"
_TURNED = {
    TIE: "`replay run --sensitivity` on both judges the difference itself",
    DIFFERS: "`replay run --sensitivity` on both tells of the hit rate",
    UNJUDGED: "`replay run --sensitivity` on both judges the difference itself",
}  # where both can be run at the edges of the model's error
_OF_SERVERS = ("as it is", "overhead ")  # the knobs that turn nothing but the server's overhead

Values = Mapping[str, float | None]  # the metrics of a run by name, null where one is unknown


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared: `unit` is share, ms or a noun; `of_time` whether step times make it.

    `more_is` says whether more of it is better; None where neither is.
    """

    name: str
    unit: str
    of_time: bool = False
    more_is: str | None = None


def _shares(*names: str) -> tuple[Metric, ...]:
    return tuple(Metric(f"{name}_share", "share") for name in names)


def _times(*names: str) -> tuple[Metric, ...]:
    return tuple(Metric(f"{name}_ms", "ms", True, "worse") for name in names)


METRICS = (
    Metric("requests", "requests"),
    Metric("token_hit_rate", "share", more_is="better"),
    *_shares("session_hit", "cross_request_hit", "cold", "capacity_miss", "avoidable_miss"),
    *_shares("in_flight", "granularity", "policy_miss", "disabled"),
    Metric("computed_tokens", "tokens", more_is="worse"),
    Metric("evicted_tokens", "tokens"),
    Metric("preemptions", "", more_is="worse"),
    Metric("rejected", "requests", more_is="worse"),
    Metric("unfinished", "requests", more_is="worse"),
    *_times("ttft_mean", "ttft_p50", "ttft_p90", "ttft_p99", "queue_mean", "prefill_mean"),
    *_times("itl_mean", "e2e_mean", "e2e_p50", "e2e_p99"),
)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges differences between two runs."""

    one: Side
    other: Side

    @property
    def band(self) -> float | None:
        """The factor by which two latencies must differ; None where the error is unknown."""
        errors = [_error(side) for side in (self.one, self.other)]
        if errors[0] is None or errors[1] is None:
            return None
        if self.one_model:
            return 1 + max(errors[0], errors[1])
        return (1 + errors[0]) * (1 + errors[1])

    @property
    def unlike_servers(self) -> bool:
        """Whether what the servers of both take outside the GPU errs each for itself."""
        return unlike(self.one, self.other)

    def apart(self, name: str) -> Apart | None:
        """Return how far a time must be apart to stand; None where nobody can tell."""
        servers = apart(self.one, self.other, name)
        if self.band is None or servers is None:
            return None
        return Apart(self.band * servers.factor, self.band * servers.slack_ns)

    @property
    def band_of_times(self) -> float | None:
        """The band, where times can be told at all: both runs timed, and none overloaded."""
        sides = self.one, self.other
        told = all(side.timed and not side.overloaded for side in sides)
        return self.band if told and self.apart("ttft") is not None else None

    @property
    def one_model(self) -> bool:
        """Whether both runs take step times from the same model of the same machine."""
        return _machine(self.one) == _machine(self.other)

    @property
    def edges(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]] | None:
        """Both runs at each edge of the model's error; None where they were not run there."""
        bands = [
            (side.manifest.get("sensitivity") or {}).get("runs") or []
            for side in (self.one, self.other)
        ]
        knobs = [[run.get("knob") for run in band] for band in bands]
        if not bands[0] or knobs[0] != knobs[1] or not self.one_model:
            return None
        return list(zip(*bands, strict=True))

    def verdict(self, metric: Metric, one: float | None, other: float | None) -> str | None:
        """Return what a difference is worth; None where a value is unknown."""
        if one is None or other is None:
            return None
        if metric.of_time and (self.one.overloaded or self.other.overloaded):
            return OVERLOADED
        if one == other:
            return TIE
        if not self.one.timed and not self.other.timed:
            return EXACT
        at_edges = self._at_edges(metric.name)
        if at_edges is not None:
            return STANDS if min(at_edges) > 0 or max(at_edges) < 0 else TIE
        if not metric.of_time:
            return DIFFERS
        needed = self.apart(metric.name)
        if self.band is None or needed is None:
            return UNJUDGED
        low, high = sorted((one, other))
        if high > low * needed.factor + needed.slack_ns / NS_PER_MS:
            return STANDS
        return UNJUDGED if self.unlike_servers and high > low * self.band else TIE

    def _at_edges(self, name: str) -> list[float] | None:
        """Return the difference at each edge, None where a metric was not kept there."""
        edges = self.edges or []
        if self.unlike_servers:
            alone = [pair for pair in edges if str(pair[0].get("knob")).startswith(_OF_SERVERS)]
            if not alone:
                return None
            edges = edges + [(one, other) for one, _ in alone for _, other in alone]
        differences = []
        for one, other in edges:
            before, after = _kept(one, name), _kept(other, name)
            if before is None or after is None:
                return None
            differences.append(after - before)
        return differences or None


def meanings(verdicts: Container[str | None], sides: Sequence[Side]) -> Iterator[str]:
    """Yield what verdicts mean, and what tells more where these runs can be asked for it."""
    can_turn = all(map(_can_turn, sides)) and (
        all(map(named_server, sides)) or not any(map(named_server, sides))
    )
    for word, meaning in MEANING.items():
        if word in verdicts:
            more = f"; {_TURNED[word]}" if can_turn and word in _TURNED else ""
            yield f"{word}: {meaning}{more}"


def _can_turn(side: Side) -> bool:
    """Return whether `--sensitivity` has knobs to turn: only the fitted model has."""
    return side.timed and (side.manifest.get("step_times") or {}).get("backend") == FITTED


def _kept(run: Mapping[str, Any], name: str) -> float | None:
    if name == "token_hit_rate":
        return run.get(name)
    value: float | None = (run.get("metrics") or {}).get(name)
    return value


def _error(side: Side) -> float | None:
    """Return the error of a run's step times as a share; None where nobody told."""
    record = side.manifest.get("step_times") or {}
    if record.get("backend") != FITTED:
        return None
    errors = [record.get(f"{phase}_error_p90_percent") for phase in ("prefill", "decode")]
    known = [float(error) for error in errors if error is not None]
    return max(known) / 100 if len(known) == len(errors) else None


def _machine(side: Side) -> tuple[object, ...]:
    """Return what one error of step times is an error of: kernels of a GPU for a model's layers."""
    gpu, scenario = side.manifest.get("gpu") or {}, side.manifest.get("scenario") or {}
    return (
        *(gpu.get(name) for name in ("name", "model", "tensor_parallel")),
        (scenario.get("model") or {}).get("weight_dtype"),
        (side.manifest.get("step_times") or {}).get("backend"),
    )
