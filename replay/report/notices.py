"""What must be read before the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.runs.open import NOT_VERIFIABLE, Run
from replay.units import format_duration

UNKNOWN_REUSE = (
    "no content: reuse unknown. The trace has lengths only, so no prompt is found to share a "
    "prefix with another; what is shown holds where nothing is reused."
)
FEW_PREMATURE = 0.01  # share of follow-ups too early up to which it is a note


def warnings(manifest: Mapping[str, Any]) -> list[str]:
    """Return what must be known before any number: bounds, overload, requests nobody could send."""
    main = manifest.get("overload") or {}
    baseline = manifest.get("no_cache_overload") or {}
    bound = manifest.get("upper_bound")
    lines = [] if bound is None else [bound]
    if manifest.get("content_known") is False:
        lines.append(UNKNOWN_REUSE)
    if main.get("overloaded"):
        lines.append(
            f"OVERLOADED: {_why(main)} {_how_badly(main)} "
            "Latencies below measure how long the trace is, not how fast the system is."
        )
    if baseline.get("overloaded"):
        also = "also " if main.get("overloaded") else ""
        lines.append(
            f"With caching off the system is {also}overloaded. {_how_badly(baseline)} Latency "
            "savings below grow with the length of the trace; savings of prefill do not."
        )
    said, share = _premature(manifest)
    if share > FEW_PREMATURE:
        lines.append(f"CAUSALITY: {said}")
    return lines


def _premature(manifest: Mapping[str, Any]) -> tuple[str, float]:
    """Return what to say of follow-ups before the turn they contain has ended, and their share."""
    causality = manifest.get("causality") or {}
    early, follow_ups = causality.get("premature_follow_ups"), causality.get("follow_ups")
    if not early:
        return "", 0.0
    return (
        f"{early:,} of {follow_ups:,} follow-ups arrive before the turn they contain has ended: no "
        "client could have sent them yet. Their hits are too few and their queues too long; "
        "`premature_ns` of the table requests says which they are and by how much.",
        early / follow_ups,
    )


def notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the numbers of a run assume, of the trace first."""
    trace = manifest.get("trace") or {}
    said, share = _premature(manifest)
    few = [said] if 0 < share <= FEW_PREMATURE else []
    return [*(trace.get("notes") or []), *(manifest.get("notes") or []), *few]


def is_uncalibrated(note: str) -> bool:
    """Return whether a note says that step times of a GPU were fitted to no measurement of it."""
    return " is uncalibrated: " in note


def unverified(run: Run) -> list[str]:
    """Return that nobody can tell whether a run is what was written, where that is so."""
    return [] if run.verified else [f"the run is {NOT_VERIFIABLE}"]


def _why(overload: Mapping[str, Any]) -> str:
    if overload.get("growing", True):
        return "requests arrive faster than they are served."
    return "more requests are there at once than can be served."


def _how_badly(overload: Mapping[str, Any]) -> str:
    told = []
    if overload.get("growing", True):
        told.append(
            f"The queue grows by {overload['queue_growth']:.2f} s every second; when the last "
            f"request arrived {overload['backlog_requests']:,} were waiting, for another "
            f"{format_duration(overload['drain_ns'])}."
        )
    if overload.get("saturated"):
        told.append(
            f"{overload['waiting_share']:.0%} of the requests waited longer than service takes: "
            f"{format_duration(overload['queue_mean_ns'])} on average, for "
            f"{format_duration(overload['service_mean_ns'])} of service."
        )
    return " ".join(told)
