"""Where a question gets its trace: from a file, read when it is asked, or from memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from replay.config.scenario import Scenario
from replay.engine.growing import Grown, grow, grown_by
from replay.engine.machine import find_machine
from replay.engine.prepare import Prepared, check_size, fit, prepare
from replay.progress import Hook, ignore
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions

KEPT_TREES = 4  # of one trace: under so many ways of reading its sessions and content


class Source(Protocol):
    """What questions are asked about."""

    def trace(self, progress: Hook = ignore) -> Trace:
        """Return the trace as it was read."""

    def prepared(
        self, scenario: Scenario, progress: Hook = ignore, *, sessions: bool = True
    ) -> Prepared:
        """Return the trace made ready for a scenario, as `engine.prepare.prepare` does."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file, a folder or a pattern of files; a long one may be read without being held whole."""

    path: str | Path
    format_name: str | None = None
    options: ReadOptions = DEFAULTS

    def trace(self, progress: Hook = ignore) -> Trace:
        """Return the trace; raises what `load_trace` raises."""
        return load_trace(
            self.path, format_name=self.format_name, options=self.options, progress=progress
        )

    def prepared(
        self, scenario: Scenario, progress: Hook = ignore, *, sessions: bool = True
    ) -> Prepared:
        """Return the trace read anew and made ready for a scenario."""
        return prepare(
            self.path,
            scenario,
            format_name=self.format_name,
            options=self.options,
            sessions=sessions,
            progress=progress,
        )


class HeldSource:
    """A trace in memory, with the trees that were grown from it: the next question has them.

    Threads may share one: a tree is grown once, and nobody writes to it afterwards.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._grown: OrderedDict[tuple[str, bool], Grown] = OrderedDict()
        self._lock = Lock()

    def trace(self, progress: Hook = ignore) -> Trace:
        """Return the trace."""
        return self._trace

    def prepared(
        self, scenario: Scenario, progress: Hook = ignore, *, sessions: bool = True
    ) -> Prepared:
        """Return the trace made ready for a scenario, its tree grown only if none fits yet."""
        machine = find_machine(scenario)
        check_size(machine, self._trace.meta.block_size)
        return fit(self._grow(machine.scenario, progress, sessions=sessions), machine)

    def _grow(self, scenario: Scenario, progress: Hook, *, sessions: bool) -> Grown:
        key = grown_by(scenario), sessions
        with self._lock:
            if key not in self._grown:
                grown = grow(self._trace, scenario, sessions=sessions, progress=progress)
                self._grown[key] = grown
            self._grown.move_to_end(key)
            while len(self._grown) > KEPT_TREES:
                self._grown.popitem(last=False)
            return self._grown[key]
