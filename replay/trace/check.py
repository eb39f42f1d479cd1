"""The trace doctor: what in a trace would make a replay of it mislead, one finding a line.

A verdict is `ok`, `note` (know it), `warning` (a figure may mislead) or `fault` (rows are wrong).
Each check is one function of what is known of a trace; the thresholds stand above it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.trace.arrivals import burstiness
from replay.trace.check_content import ContentFacts, content_facts
from replay.trace.follow_ups import contained_turns
from replay.trace.frame import SESSIONS_INFERRED, Rejected, Trace
from replay.trace.separation import sharing_notes
from replay.trace.tree import PrefixTree
from replay.units import NS_PER_S, format_duration

OK, NOTE, WARNING, FAULT = "ok", "note", "warning", "fault"
VERDICTS = (OK, NOTE, WARNING, FAULT)

FEW_REQUESTS = 1000
SHOWN_REASONS = 5
SHOWN_LINES = 5
NO_TIMES = "the source has no times"  # how notes of readers begin that assume some
SLOW_PER_S, FAST_PER_S = 1 / 600, 20_000  # rates that a wrong unit of time would give
LONG_SILENCE_SHARE = 0.2
REPEATED_SHARE = 0.001
PILED_UP_SHARE, PILED_UP_LEAST = 0.005, 10
NEAR_SHARE = 0.8  # of the greatest length, from which on lengths are its neighbours
STANDS_OUT = 5  # times as many as of any neighbouring length
TAIL_SHARE = 0.1  # of the pile, that its neighbours must be together: what was cut off had a tail
SHRINKING_SHARE = 0.05
PREMATURE_SHARE = 0.01
COLD_SHARE = 0.25
MISCOUNTED_SHARE = 0.2
COMMON_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report: the verdict, what was found, and what to do about it."""

    check: str
    verdict: str
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Patient:
    """A trace, what its content says where it is known, and the limits it is held against.

    `turns` int64[R] is the earlier request whose turn each prompt contains, -1 for none.
    """

    trace: Trace
    content: ContentFacts | None
    turns: np.ndarray
    context_tokens: int | None
    rejected_allowed: float


def check_trace(
    trace: Trace,
    tree: PrefixTree | None,
    *,
    context_tokens: int | None = None,
    rejected_allowed: float = 0.0,
) -> list[Finding]:
    """Return what is right and wrong with a trace, in the order of the checks.

    `tree` is that of a trace of known content. `context_tokens` is the longest prompt and
    response together that the model takes; `rejected_allowed` the share of rows that may be
    faulty. Linear in requests and edges, but for sorting.
    """
    known = tree if trace.has_content else None
    content = None if known is None else content_facts(trace, known)
    turns = contained_turns(trace, known)
    patient = _Patient(trace, content, turns, context_tokens, rejected_allowed)
    return [finding for check in CHECKS for finding in check(patient)]


def _rows(patient: _Patient) -> Iterator[Finding]:
    trace = patient.trace
    rejected, read = len(trace.rejected), trace.requests + len(trace.rejected)
    if not rejected:
        earlier = trace.meta.rejected_rows
        found = f"{trace.requests:,} requests, none rejected"
        if earlier:
            found = f"{trace.requests:,} requests; {earlier:,} rows were rejected before"
        yield Finding("rows", NOTE if earlier else OK, found)
    else:
        by_reason: dict[str, list[Rejected]] = {}
        for row in trace.rejected:
            by_reason.setdefault(_kind(row.reason), []).append(row)
        reasons = Counter({reason: len(rows) for reason, rows in by_reason.items()})
        faulty = sum(row.is_fault for row in trace.rejected)
        verdict = FAULT if faulty > patient.rejected_allowed * read else NOTE
        found = f"{rejected:,} of {read:,} rows are not used ({rejected / read:.2%})"
        yield Finding("rows", verdict, found, "see the reasons below; convert keeps them aside")
        for reason, count in reasons.most_common(SHOWN_REASONS):
            yield Finding("rows", verdict, f"{count:,}: {reason} ({_lines(by_reason[reason])})")
        if len(reasons) > SHOWN_REASONS:
            yield Finding("rows", verdict, f"and {len(reasons) - SHOWN_REASONS:,} more reasons")
    if trace.requests < FEW_REQUESTS:
        yield Finding(
            "rows", WARNING, f"only {trace.requests:,} requests", "rates of so few are chance"
        )


def _lines(rows: Sequence[Rejected]) -> str:
    """Return where rows stand, the first few of them, with their file where there are several."""
    several = len({row.file for row in rows}) > 1
    shown = [
        f"{Path(row.file).name}:{row.line}" if several else str(row.line)
        for row in rows[:SHOWN_LINES]
    ]
    more = f" and {len(rows) - SHOWN_LINES:,} more" if len(rows) > SHOWN_LINES else ""
    return f"line{'s' if len(rows) > 1 else ''} {', '.join(shown)}{more}"


def _kind(reason: str) -> str:
    """Return a reason without the values of its row, so that equal faults count together."""
    return re.sub(r"(?<![\w])-?\d[\d.,e+]*", "#", re.sub(r"'[^']*'", "'...'", reason))


def _clock(patient: _Patient) -> Iterator[Finding]:
    assumed = [note for note in patient.trace.meta.notes if note.startswith(NO_TIMES)]
    for text in assumed:
        yield Finding("clock", WARNING, text, "times mean nothing: replay --untimed")
    if assumed:
        return
    arrival = patient.trace.column("arrival_ns")
    span, spread = int(arrival[-1]), burstiness(arrival)
    late = [note for note in patient.trace.meta.notes if "order of time" in note]
    for text in late:
        yield Finding("clock", NOTE, text, "sorted here; requests of one time stay in file order")
    if not span:
        yield Finding(
            "clock", WARNING, "all requests arrive at once", "times mean nothing: replay --untimed"
        )
        return
    rate = patient.trace.requests / (span / NS_PER_S)
    found = f"{format_duration(span)} long, {rate:.4g} requests/s"
    if not SLOW_PER_S <= rate <= FAST_PER_S and patient.trace.requests > 1:
        yield Finding("clock", WARNING, found, "is the unit of time right?")
    else:
        yield Finding("clock", OK, found)
    if spread.tick_ns is not None:
        yield Finding(
            "clock",
            WARNING,
            f"ticks of {format_duration(spread.tick_ns)}: {spread.distinct_ratio:.1%} of arrivals "
            "are distinct",
            f"bursts are the clock's: --set trace.arrival_jitter={format_duration(spread.tick_ns)}",
        )
    gap = int(np.diff(arrival).max())
    if gap > LONG_SILENCE_SHARE * span and patient.trace.requests > 2:
        yield Finding(
            "clock",
            WARNING,
            f"nothing arrives for {format_duration(gap)}",
            "cut it out, or keep it: replay convert --window",
        )


def _lengths(patient: _Patient) -> Iterator[Finding]:
    trace = patient.trace
    total = trace.column("input_tokens") + trace.column("output_tokens")
    longest = int(total.max())
    limit = patient.context_tokens
    if limit is not None and longest > limit:
        over = int((total > limit).sum())
        yield Finding(
            "context",
            FAULT,
            f"{over:,} requests are longer than {limit:,} tokens; the longest has {longest:,}",
            "no such model served this",
        )
    else:
        yield Finding("context", OK, f"longest prompt and response: {longest:,} tokens")
    inputs = trace.column("input_tokens")
    if piled := _piled_up(inputs):
        yield Finding(
            "context",
            WARNING,
            f"{piled:,} prompts have exactly {int(inputs.max()):,} tokens, and none has more",
            "prompts were cut off there: their starts or ends are missing",
        )
    for name in ("input_tokens", "output_tokens"):
        values = trace.column(name)
        if trace.requests > 1 and values.min() == values.max():
            yield Finding(
                "lengths",
                WARNING,
                f"every {name.split('_')[0]} has {values[0]:,} tokens",
                "lengths look made up",
            )


def _piled_up(lengths: np.ndarray) -> int:
    """Return how many prompts have the greatest length, where that looks like a limit, else 0.

    A limit piles up the tail of a distribution: the pile stands out from the lengths just below
    it, and those are there. Prompts that are about as long by nature do not stand out, and those
    of a fixed length have no neighbours.
    """
    highest = int(lengths.max())
    piled = int((lengths == highest).sum())
    near = lengths[(lengths < highest) & (lengths >= NEAR_SHARE * highest)]
    if piled < max(PILED_UP_LEAST, PILED_UP_SHARE * len(lengths)) or not len(near):
        return 0
    most = int(np.unique(near, return_counts=True)[1].max())
    return piled if piled >= STANDS_OUT * most and len(near) >= TAIL_SHARE * piled else 0


def _content(patient: _Patient) -> Iterator[Finding]:
    trace, facts = patient.trace, patient.content
    if facts is None:
        yield Finding(
            "content",
            WARNING,
            "unknown: the trace has lengths only",
            "no content: reuse unknown, and no hit rate means anything",
        )
        return
    assumed = trace.meta.content.startswith("assumed")
    estimated = "approximate" in trace.meta.content
    yield Finding(
        "content",
        WARNING if assumed or estimated else OK,
        trace.meta.content,
        "hit rates are as good as that assumption"
        if assumed
        else "token counts are estimates: give --tokenizer"
        if estimated
        else "",
    )
    yield Finding(
        "content",
        OK,
        f"content ceiling: an unbounded cache hits {facts.ideal_hit_rate:.1%} of prompt tokens "
        f"({int(facts.ideal_hit_tokens.sum()):,} tokens, responses included where they are known)",
    )
    for text in sharing_notes(trace, content_known=True):
        yield Finding("sharing", NOTE, text)
    if facts.repeated_share > REPEATED_SHARE:
        yield Finding(
            "repeats",
            WARNING,
            f"{facts.repeated_share:.2%} of requests repeat another of the same moment, lengths "
            "and content",
            "was the trace concatenated with itself, or are they retries?",
        )
    if facts.common_tokens:
        yield Finding(
            "first block",
            NOTE,
            f"{facts.common_share:.1%} of requests start with the same {facts.common_tokens:,} "
            "tokens",
            "a system prompt: any request hits it, so the request hit rate says little",
        )


def _sessions(patient: _Patient) -> Iterator[Finding]:
    trace = patient.trace
    if not trace.has_sessions:
        yield Finding("sessions", NOTE, "none, and none can be inferred")
        return
    inferred = trace.meta.sessions == SESSIONS_INFERRED
    ids = trace.frame["session_id"].drop_nulls()
    found = f"{ids.n_unique():,} sessions, {trace.meta.sessions}"
    advice = "short turns are not seen to follow: turns are under-counted" if inferred else ""
    yield Finding("sessions", NOTE if inferred else OK, found, advice)
    if "parent_request_id" not in trace.frame.columns:
        return
    follows, parent = _follow_ups(trace)
    if not len(follows):
        return
    inputs = trace.column("input_tokens")
    shrunk = int((inputs[follows] < inputs[parent]).sum())
    share = shrunk / len(follows)
    yield Finding(
        "growth",
        WARNING if share > SHRINKING_SHARE else OK,
        f"{shrunk:,} of {len(follows):,} follow-ups have shorter prompts than the turn before",
        "history is cut or sessions are mixed up: reuse ends where it was cut"
        if share > SHRINKING_SHARE
        else "",
    )


def _follow_ups(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Return the requests whose parent is of their own session, and those parents."""
    known = np.flatnonzero(trace.frame["parent_request_id"].is_not_null().to_numpy())
    parent = trace.frame["parent_request_id"].drop_nulls().to_numpy()
    session = trace.frame["session_id"].fill_null(-1).to_numpy()
    own = (session[known] == session[parent]) & (session[known] >= 0)
    return known[own], parent[own]


def _causality(patient: _Patient) -> Iterator[Finding]:
    """Hold follow-ups against the end of the turn they contain, where the source recorded it."""
    trace, turn = patient.trace, patient.turns
    follows = np.flatnonzero(turn >= 0)
    if not len(follows):
        return
    recorded = trace.frame.get_column("recorded_e2e_ns", default=None)
    if recorded is not None:
        known = recorded.is_not_null().to_numpy()
        follows = follows[known[turn[follows]]]
    if recorded is None or not len(follows):
        yield Finding(
            "causality",
            NOTE,
            f"{int((turn >= 0).sum()):,} follow-ups contain an earlier turn, and the source does "
            "not say when turns ended",
            "whether one arrives too early is decided by a run: replay run counts them",
        )
        return
    arrival = trace.column("arrival_ns")
    end = arrival + recorded.fill_null(0).to_numpy()
    early = int((arrival[follows] < end[turn[follows]]).sum())
    share = early / len(follows)
    yield Finding(
        "causality",
        WARNING if share > PREMATURE_SHARE else NOTE if early else OK,
        f"{early:,} of {len(follows):,} follow-ups arrive before the turn they contain had ended, "
        "by the times the source recorded",
        "are arrivals and durations on one clock? no client can have sent them" if early else "",
    )


def _warm_up(patient: _Patient) -> Iterator[Finding]:
    facts = patient.content
    if facts is None or facts.cold_share is None:
        return
    found = (
        f"{facts.cold_share:.1%} of prompt tokens arrive within {format_duration(facts.reuse_ns)}, "
        "in which 90% of reuse happens"
    )
    if facts.cold_share > COLD_SHARE:
        advice = "the trace is too short to trust: its cache starts cold, so hit rates are low"
        yield Finding("cold start", WARNING, found, advice)
    else:
        yield Finding("cold start", OK, found)


def _recorded_hits(patient: _Patient) -> Iterator[Finding]:
    frame, facts = patient.trace.frame, patient.content
    inputs = patient.trace.column("input_tokens")
    if "recorded_hit_tokens" in frame.columns and facts is not None:
        recorded = frame["recorded_hit_tokens"].fill_null(0).to_numpy()
        over = int((recorded > facts.ideal_hit_tokens).sum())
        found = (
            f"the source recorded {recorded.sum() / inputs.sum():.1%} of prompt tokens as hits; "
            f"an unbounded cache would have {facts.ideal_hit_tokens.sum() / inputs.sum():.1%}"
        )
        yield Finding("recorded hits", OK, found)
        if over:
            yield Finding(
                "recorded hits",
                WARNING,
                f"{over:,} requests hit more than their content allows",
                "the source shares more than the trace says, or earlier requests are missing",
            )


def _recorded_lengths(patient: _Patient) -> Iterator[Finding]:
    frame = patient.trace.frame
    for what, name in (("prompts", "input_tokens"), ("responses", "output_tokens")):
        if f"recorded_{name}" not in frame.columns:
            continue
        known = frame[f"recorded_{name}"].is_not_null().to_numpy()
        recorded = int(frame[f"recorded_{name}"].drop_nulls().sum())
        if not recorded:
            continue
        off = patient.trace.column(name)[known].sum() / recorded - 1
        yield Finding(
            "recorded lengths",
            WARNING if abs(off) > MISCOUNTED_SHARE else OK,
            f"{what} have {off:+.1%} tokens against what the source recorded",
            "give the model's own --tokenizer" if abs(off) > MISCOUNTED_SHARE else "",
        )


CHECKS: tuple[Callable[[_Patient], Iterator[Finding]], ...] = (
    _rows, _clock, _lengths, _content, _sessions, _causality, _warm_up, _recorded_hits,
    _recorded_lengths,
)  # fmt: skip
