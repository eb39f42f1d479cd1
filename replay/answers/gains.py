"""What the caches of a session store are worth, as a table with what must be known before it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from replay.analysis.gain import Gain, cache_gains
from replay.answers.sources import Source
from replay.config.scenario import Scenario
from replay.engine.prepare import bound_of, run_notes
from replay.progress import Hook, ignore
from replay.report.notices import UNKNOWN_REUSE
from replay.report.tables import Table


@dataclass(frozen=True, slots=True)
class GainAnswer:
    """Four lines of a trace by `name`: no cache, either and both; `preface` is to be read first."""

    name: str
    lines: list[Gain]
    notes: tuple[str, ...]
    preface: tuple[str, ...]
    content_known: bool


def gain_answer(source: Source, scenario: Scenario, progress: Hook = ignore) -> GainAnswer:
    """Return what a trace gains from the caches of the scenario's session store."""
    prepared = source.prepared(scenario, progress)
    lines = cache_gains(prepared, progress=progress)
    bound = bound_of(prepared)
    preface = [] if bound is None else [bound]
    if not prepared.content_known:
        preface.append(UNKNOWN_REUSE)
    notes = (*prepared.trace.meta.notes, *run_notes(prepared))
    known = prepared.content_known
    return GainAnswer(prepared.trace.meta.name, lines, notes, tuple(preface), known)


def gain_table(answer: GainAnswer) -> Table:
    """Return a row for each line, without the columns in which nothing is known."""
    rows = [asdict(line) for line in answer.lines]
    known = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return Table(known, [tuple(row[name] for name in known) for row in rows])
