"""What must be read before the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replay.runs.open import NOT_VERIFIABLE, Run
from replay.units import format_duration


def warnings(manifest: Mapping[str, Any]) -> list[str]:
    """Return what must be known before any mean: overload, and requests that nobody could send."""
    main = manifest.get("overload") or {}
    baseline = manifest.get("no_cache_overload") or {}
    lines = []
    if main.get("overloaded"):
        lines.append(
            f"OVERLOADED: requests arrive faster than they are served. {_how_badly(main)} "
            "Latencies below measure how long the trace is, not how fast the system is."
        )
    if baseline.get("overloaded"):
        also = "also " if main.get("overloaded") else ""
        lines.append(
            f"With caching off the system is {also}overloaded. {_how_badly(baseline)} Latency "
            "savings below grow with the length of the trace; savings of prefill do not."
        )
    return [*lines, *_premature(manifest.get("causality") or {})]


def _premature(causality: Mapping[str, Any]) -> list[str]:
    """Return what to say of follow-ups that come before the turn they contain has ended."""
    early, all_of_them = causality.get("premature_follow_ups"), causality.get("follow_ups")
    if not early:
        return []
    return [
        f"CAUSALITY: {early:,} of {all_of_them:,} follow-ups arrive before the turn they contain has "
        "ended: no client could have sent them yet. Their hits are too few and their queues too "
        "long; `premature_ns` of the table requests says which they are and by how much."
    ]


def notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the numbers of a run assume, of the trace first."""
    trace = manifest.get("trace") or {}
    return [*(trace.get("notes") or []), *(manifest.get("notes") or [])]


def unverified(run: Run) -> list[str]:
    """Return that nobody can tell whether a run is what was written, where that is so."""
    return [] if run.verified else [f"the run is {NOT_VERIFIABLE}"]


def _how_badly(overload: dict[str, Any]) -> str:
    return (
        f"The queue grows by {overload['queue_growth']:.2f} s every second; when the last request "
        f"arrived {overload['backlog_requests']:,} were waiting, for another "
        f"{format_duration(overload['drain_ns'])}."
    )
