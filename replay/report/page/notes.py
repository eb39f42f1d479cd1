"""What must be read before the numbers, and what to keep in mind with them: one line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from replay.report.notices import is_uncalibrated, notes, unverified, warnings
from replay.report.page.facts import Facts
from replay.report.words import count, sentence
from replay.runs.open import Run

_LEAD = re.compile(r"([^:.;()]{3,60}): (.+)", re.DOTALL)
_WORD = re.compile(r"([A-Z]{5,}): (.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Line:
    """A note; `lead` is what it is about, where it says so before a colon."""

    lead: str
    text: str


def read_first(facts: Facts, run: Run) -> list[Line]:
    """Return what must be known before any number: the warnings of the run, and how sure it is."""
    lines = [line_of(text) for text in (*unverified(run), *warnings(facts.manifest))]
    return lines + [line_of(text) for text in notes(facts.manifest) if is_uncalibrated(text)]


def keep_in_mind(facts: Facts) -> list[Line]:
    """Return what the numbers assume, what was put aside, and how exact times are."""
    told = [text for text in notes(facts.manifest) if not is_uncalibrated(text)]
    return [line_of(text) for text in dict.fromkeys([*told, *_about(facts)])]


def _about(facts: Facts) -> Iterator[str]:
    summary, run = facts.summary, facts.run
    if run["rejected_rows"]:
        rows = count(run["rejected_rows"], "row")
        yield f"rows put aside: {rows} of the trace could not be used; rejected.jsonl has them"
    lost = [f"{summary[name]:,} {name}" for name in ("rejected", "unfinished") if summary[name]]
    if lost:
        of = count(summary["requests"], "request")
        yield f"not completed: {' and '.join(lost)} of {of}; rates and waits leave them out"
    times = facts.manifest.get("step_times") or {}
    if facts.timed and times.get("calibrated"):
        prefill, decode = (times.get(f"{name}_error_p90_percent") for name in ("prefill", "decode"))
        yield (
            f"times are modelled: step times of this GPU are calibrated, 90% of steps within "
            f"{prefill:g}% (prefill) and {decode:g}% (decode)"
        )
    for verdict in _ties(facts):
        yield f"inside the model's error: {verdict}"


def _ties(facts: Facts) -> list[str]:
    """Return the metrics that `--sensitivity` called a tie."""
    band = facts.manifest.get("sensitivity")
    found = band.get("differences") if isinstance(band, dict) else None
    return [
        f"{one['metric']} with the cache and without is a tie"
        for one in found or ()
        if str(one.get("verdict", "")).startswith("tie")
    ]


def line_of(text: str) -> Line:
    """Return a note with what it is about apart."""
    found = _WORD.fullmatch(text) or _LEAD.fullmatch(text)
    lead, rest = (sentence(found[1]), sentence(found[2])) if found else ("", sentence(text))
    return Line(lead, rest if rest.endswith((".", "?", "!", ")")) else f"{rest}.")
