"""A trace looked at whole, without a cache: its facts, and what would make a replay mislead."""

from __future__ import annotations

from dataclasses import dataclass

from replay.progress import Hook, ignore
from replay.report.tables import Table
from replay.trace.check import Finding, check_trace
from replay.trace.continuation import continue_sessions, may_assume
from replay.trace.describe import Facts, describe, notes
from replay.trace.frame import Trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import PrefixTree, build_tree


@dataclass(frozen=True, slots=True)
class Described:
    """A trace as it was looked at: with the sessions found, its tree where content is known."""

    trace: Trace
    tree: PrefixTree | None
    facts: dict[str, Facts]
    notes: list[str]


def described(trace: Trace, *, sessions: bool = True, progress: Hook = ignore) -> Described:
    """Return the facts of a trace by group, and notes; `sessions` looks for some where none are."""
    trace, tree = grown(trace, sessions=sessions, progress=progress)
    return Described(trace, tree, describe(trace, tree), notes(trace))


def grown(
    trace: Trace, *, sessions: bool = True, progress: Hook = ignore
) -> tuple[Trace, PrefixTree | None]:
    """Return a trace with the sessions found, and its tree where content is known or assumed."""
    if may_assume(trace):
        trace = continue_sessions(trace)
    progress("Finding what repeats", 0, 0)
    if sessions:
        trace = infer_sessions(trace)
    return trace, build_tree(trace) if trace.has_content else None


def checked(
    trace: Trace,
    *,
    context_tokens: int | None,
    rejected_allowed: float,
    progress: Hook = ignore,
) -> list[Finding]:
    """Return the trace doctor's findings on a trace that was read with all its faulty rows."""
    progress("Looking at it", 0, 0)
    trace = infer_sessions(trace)
    if may_assume(trace):
        trace = continue_sessions(trace)
    tree = build_tree(trace) if trace.has_content else None
    return check_trace(
        trace, tree, context_tokens=context_tokens, rejected_allowed=rejected_allowed
    )


def finding_table(findings: list[Finding]) -> Table:
    """Return one row a finding."""
    columns = ("check", "verdict", "found", "advice")
    return Table(
        columns, [tuple(getattr(one, name) or None for name in columns) for one in findings]
    )
