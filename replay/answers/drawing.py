"""A trace drawn from a profile, with what to know of it."""

from __future__ import annotations

from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.trace.tokens import tokens_of
from replay.workload.generate import at_rate, generate
from replay.workload.profiles import NamedProfile
from replay.workload.summary import rate_missed


def drawn(
    profile: NamedProfile, rate: float | None, *, tokens: bool, progress: Hook = ignore
) -> tuple[Trace, list[str]]:
    """Return a trace drawn from a profile, and what to know of it; `tokens` adds token ids.

    `rate` in requests per second, None leaves the profile's own. Raises what drawing raises.
    """
    if rate is not None:
        profile = at_rate(profile, rate)
    trace = generate(profile, progress=progress)
    notes = [*trace.meta.notes[1:], *rate_missed(trace, rate)]
    if tokens:
        progress("Making token ids", 0, 0)
        trace = tokens_of(trace)
    return trace, notes
