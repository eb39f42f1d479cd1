"""A trace made of others: several joined, a window or a sample, sped up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError
from replay.reading import read_whole
from replay.trace.arrivals import speed_up
from replay.trace.frame import Trace
from replay.trace.merge import merge_traces
from replay.trace.select import sample, window
from replay.trace.sessions import infer_sessions

MOST_KEY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a trace, in this order; None leaves it as it is.

    `window_ns` is where it starts and stops, the end None for that of the trace; `share` 0..1 of
    what `by` names is kept, drawn with `seed`; arrival times are divided by `speedup`.
    """

    window_ns: tuple[int, int | None] | None = None
    share: float | None = None
    by: str = "session"
    seed: int = 0
    speedup: float | None = None


def changed(trace: Trace, change: Change) -> Trace:
    """Return the trace after the change; raises what each part of it raises."""
    if change.window_ns is not None:
        start, stop = change.window_ns
        last = int(trace.frame["arrival_ns"][-1])
        trace = window(trace, start, last + 1 if stop is None else stop)
    if change.share is not None:
        if change.by == "session":
            trace = infer_sessions(trace)
        trace = sample(trace, change.share, by=change.by, seed=change.seed)
    if change.speedup is not None:
        trace = speed_up(trace, change.speedup)
    return trace


def joined(traces: Sequence[Trace], paths: Sequence[str | Path]) -> Trace:
    """Return several traces as one, named after all of them; one stays as it is."""
    name = " + ".join(trace.meta.name for trace in traces)
    return merge_traces(traces, path=str(paths[0]), name=name)


def key_in(path: Path) -> bytes:
    """Return the secret in a file; raises InputError where it cannot be read."""
    try:
        return read_whole(path, most_bytes=MOST_KEY_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the key {path}: {getattr(error, 'strerror', None) or error}",
            hint="make one with: head -c 32 /dev/urandom > key",
        ) from error
