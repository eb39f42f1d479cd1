"""What a comparison says in words: the findings first, and what it leaves out or refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from replay.errors import InputError
from replay.report.compare.deltas import Delta, worded
from replay.report.compare.judge import OVERLOADED, STANDS, TIE, UNJUDGED, Judge, Values
from replay.report.compare.ranking import ranked_by
from replay.report.compare.servers import why_unlike
from replay.report.compare.sides import Side
from replay.report.tables import Table

Word = Callable[[str, float], str]  # a unit and a value, as people read it


def refuse(
    sides: Sequence[Side], metrics: Sequence[Values], completed: Sequence[int], *, kept: bool
) -> None:
    """Raise InputError for runs that have nothing to compare.

    `metrics` are of the requests compared, `completed` how many each run completed; `kept` is false
    for folders that will be gone, which no message names.
    """
    hint = "`replay report` on each says what became of the requests" if kept else None
    empty = [
        str(side.run.folder) if kept else side.name
        for side, count in zip(sides, completed, strict=True)
        if not count
    ]
    if empty:
        raise InputError(
            f"{', '.join(empty)}: no request completed, so there is nothing to compare", hint=hint
        )
    if not all(values["requests"] for values in metrics):
        raise InputError(
            "no request completed in every run, so there is nothing to compare", hint=hint
        )
    untimed = [side.called for side in sides if not side.timed]
    unknown = [side.called for side in sides if not side.content_known]
    if untimed and unknown:
        raise InputError(
            f"nothing to compare: no time passes in {', '.join(untimed)}, and what the requests "
            f"of {', '.join(unknown)} share is unknown",
            hint="compare timed runs, or runs of a trace that tells its content",
        )


def of_pair(judge: Judge, found: Sequence[Delta], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield what differs between two runs of the same requests; `counts` are of their pairs."""
    named = {one.metric.name: one for one in found}
    if all(not one.difference for one in found) and not any(
        counts[name] for name in ("faster", "slower", "reuse_more", "reuse_less")
    ):
        pairs = counts["pairs"]
        whole = "the one request" if pairs == 1 else f"all {pairs:,} requests"
        yield f"Nothing differs: {whole} came out the same in both."
        return
    for name, say in (("token_hit_rate", _reuse), ("ttft_mean_ms", _wait)):
        if name in named:
            yield say(judge, named[name])
    yield from _of_servers(judge, found)
    yield from _counted(judge, counts)


def of_others(
    sides: Sequence[Side], metrics: Sequence[Values], *, word: Word = worded
) -> Iterator[str]:
    """Yield what runs of different requests came to, each for itself; `word` writes values."""
    if rates := _each(sides, metrics, "token_hit_rate", "share", word):
        yield f"Of the prompt tokens of their own requests are reused: {', '.join(rates)}."
    halves = _each(sides, metrics, "ttft_p50_ms", "ms", word)
    tails = _each(sides, metrics, "ttft_p99_ms", "ms", word)
    if halves and tails:
        yield (
            f"Half of the requests have their first token within: {', '.join(halves)}; "
            f"99 of 100 within: {', '.join(tails)}."
        )


def _each(
    sides: Sequence[Side], metrics: Sequence[Values], name: str, unit: str, word: Word
) -> list[str]:
    """Return each run with a metric; none where one has none."""
    found = [(side.called, values[name]) for side, values in zip(sides, metrics, strict=True)]
    known = [f"{called} {word(unit, value)}" for called, value in found if value is not None]
    return known if len(known) == len(found) else []


def of_ranking(order: Table, sides: Sequence[Side], *, word: Word = worded) -> Iterator[str]:
    """Yield which run is first in a ranking, or which share that place; `word` writes values."""
    place, letter = order.columns.index("place"), order.columns.index("run")
    called = {side.letter: side.called for side in sides}
    first = [called[one[letter]] for one in order.rows if one[place] == 1]
    by = ranked_by(sides)
    if not first:
        yield "No run has a place: waits of overloaded runs measure the length of the trace."
        return
    value = order.rows[0][order.columns.index(by)]
    if by == "token_hit_rate":
        told, what = word("share", value), "reuses most of the prompt tokens"
    else:
        told, what = word("ms", value), "has the first token soonest, on average"
    if len(first) == 1:
        yield f"{first[0]} {what}: {told}."
    else:
        others = ", ".join(first[1:])
        yield f"{first[0]} {what} ({told}), but {others} cannot be told apart from it."


def _reuse(judge: Judge, found: Delta) -> str:
    one, other = judge.one.called, judge.other.called
    before, after = (worded("share", value) for value in (found.one, found.other))
    if not found.difference:
        return f"{one} and {other} reuse the same {before} of the prompt tokens."
    told = f"{other} reuses {after} of the prompt tokens where {one} reuses {before}."
    if before == after:
        how = "more" if found.difference > 0 else "less"
        told = f"{other} reuses hardly {how} than {one}: {after} of the prompt tokens."
    if found.verdict == TIE:
        return f"{told} Which reuses more depends on the GPU model's error."
    return told


def _wait(judge: Judge, found: Delta) -> str:
    one, other = judge.one.called, judge.other.called
    before, after = (worded("ms", value) for value in (found.one, found.other))
    if not found.difference:
        return f"The mean time to first token is the same, {before}."
    if found.verdict == STANDS and found.change is not None:
        way = "sooner" if found.difference < 0 else "later"
        return (
            f"In {other} the first token comes {abs(found.change):.0%} {way} on average: "
            f"{after} instead of {before}."
        )
    told = f"The first token comes after {before} on average in {one}, {after} in {other}"
    if found.verdict == TIE:
        return f"{told}: the GPU model cannot tell them apart{_how_wrong(judge)}."
    if found.verdict == OVERLOADED:
        return f"{told}, but a run is overloaded: its waits measure the length of the trace."
    if judge.unlike_servers and judge.band is not None:
        return f"{told}; nobody can say if that differs: {why_unlike(judge.one, judge.other)}."
    return f"{told}; how wrong the step times are is unknown, so nobody can say if that differs."


def _of_servers(judge: Judge, found: Sequence[Delta]) -> Iterator[str]:
    """Yield why times other than the first tokens' are unjudged, where it is for the servers."""
    open_ones = [one.metric.name for one in found if one.verdict == UNJUDGED]
    if open_ones and judge.unlike_servers and judge.band is not None:
        if "ttft_mean_ms" in open_ones:  # it was said there
            return
        names = ", ".join(name.removesuffix("_ms").replace("_", " ") for name in open_ones)
        yield f"Nobody can say if {names} differ: {why_unlike(judge.one, judge.other)}."


def _counted(judge: Judge, counts: Mapping[str, int]) -> Iterator[str]:
    other = judge.other.called
    if counts["reuse_more"] or counts["reuse_less"]:
        yield (
            f"Of {counts['pairs']:,} requests {counts['reuse_more']:,} reuse more in {other}, "
            f"{counts['reuse_less']:,} less."
        )
    if (counts["faster"] or counts["slower"]) and judge.band_of_times is not None:
        yield (
            f"{counts['faster']:,} have their first token sooner in {other}, "
            f"{counts['slower']:,} later; {counts['beyond']:,} differ by more than "
            f"{_all_errors(judge)}."
        )


def _all_errors(judge: Judge) -> str:
    if judge.unlike_servers:
        return "the GPU model's error and the ranges of both servers' overhead"
    return "the GPU model's error"


def left_out(
    sides: Sequence[Side], why_unpaired: str | None, metrics: Sequence[Values]
) -> Iterator[str]:
    """Yield what is not compared, and why."""
    if why_unpaired is not None:
        yield f"Not paired by request, compared by quantiles: {why_unpaired}."
        if len(sides) > 2:
            yield "Not ranked, for the requests are not the same."
    untimed = [side.called for side in sides if not side.timed]
    if 0 < len(untimed) < len(sides):
        yield (
            f"Latencies are left out, for no time passes in {', '.join(untimed)}: requests came "
            "one after another there, so hits differ by that, too."
        )
    unknown = [side.called for side in sides if not side.content_known]
    if unknown:
        yield f"Reuse is left out: what the requests of {', '.join(unknown)} share is unknown."
    if why_unpaired is None and any(map(_not_compared, sides, metrics)):
        yield f"Compared are the {metrics[0]['requests']:,} requests that completed in every run."


def _not_compared(side: Side, values: Values) -> int:
    """Return how many requests of a run did not complete in every one."""
    return int(side.manifest["tables"]["requests"] - (values["requests"] or 0))


def _how_wrong(judge: Judge) -> str:
    if judge.edges is not None:
        return ", for the sign changes within its error"
    return "" if judge.band is None else f", for its error is {judge.band - 1:.1%}"
