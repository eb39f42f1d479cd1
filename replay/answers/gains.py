"""What the caches of a session store are worth, as a table with what must be known before it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from replay.analysis.gain import Gain, cache_gains
from replay.answers.sources import Source
from replay.config.defaults import is_given, with_defaults
from replay.config.scenario import Scenario
from replay.engine.named_engine import rules_of
from replay.engine.prepare import bound_of, run_notes
from replay.progress import Hook, ignore
from replay.report.notices import UNKNOWN_REUSE
from replay.report.tables import Table

OTHER_RULES = (
    "the session store is replayed with engine.scheduler vllm: that of {} needs a radix cache, "
    "which keeps no sessions; its other values are its own"
)


@dataclass(frozen=True, slots=True)
class GainAnswer:
    """Four lines of a trace by `name`: no cache, either and both; `preface` is to be read first."""

    name: str
    lines: list[Gain]
    notes: tuple[str, ...]
    preface: tuple[str, ...]
    content_known: bool


def gain_answer(source: Source, scenario: Scenario, progress: Hook = ignore) -> GainAnswer:
    """Return what a trace gains from the caches of the scenario's session store.

    A named engine whose scheduler works over no such store is replayed by vLLM's, and a note says
    so. Raises InputError where a key was given that only the engine's own scheduler knows.
    """
    scenario, own_notes = _over_a_store(scenario)
    prepared = source.prepared(scenario, progress)
    lines = cache_gains(prepared, progress=progress)
    bound = bound_of(prepared)
    preface = [] if bound is None else [bound]
    if not prepared.content_known:
        preface.append(UNKNOWN_REUSE)
    notes = (*own_notes, *prepared.trace.meta.notes, *run_notes(prepared))
    known = prepared.content_known
    return GainAnswer(prepared.trace.meta.name, lines, notes, tuple(preface), known)


def _over_a_store(scenario: Scenario) -> tuple[Scenario, list[str]]:
    """Return the scenario with a scheduler that works over a session store, and what to note."""
    given = is_given(scenario, "engine.scheduler")
    if given or scenario.engine.name is None or rules_of(scenario.engine.name) != "sglang":
        return scenario, []
    by_vllm = with_defaults(
        scenario, {"engine.scheduler": "vllm"}, whose="a session store, which sglang has none of"
    )
    return by_vllm, [OTHER_RULES.format(scenario.engine.name)]


def gain_table(answer: GainAnswer) -> Table:
    """Return a row for each line, without the columns in which nothing is known."""
    rows = [asdict(line) for line in answer.lines]
    known = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return Table(known, [tuple(row[name] for name in known) for row in rows])
