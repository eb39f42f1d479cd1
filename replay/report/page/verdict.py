"""What a run comes to, in a heading, a few sentences and five numbers. Every word has a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replay.report.page.facts import LEAST_MEMORY, Facts
from replay.report.words import amount, count, listed, percent, sentence, wait

NEARLY_ALL, MOST = 0.9, 0.5
SAME = 0.005  # hit rates that differ by less are called the same


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the strip: what it is, its value, what to hold it against."""

    label: str
    value: str
    context: str
    bad: bool = False


def headline(facts: Facts) -> str:
    """Return the finding of a run as one sentence: overload before reuse, reuse before time."""
    if not facts.summary["completed"]:
        return "No request of this trace was completed."
    if facts.overloaded:
        return f"This GPU cannot carry this load: {_how_overloaded(facts)}."
    if not facts.content_known:
        return "What a prefix cache would reuse of this trace is unknown: it has lengths only."
    if not facts.cache_on:
        return "The prefix cache was off in this run: nothing was reused."
    if facts.only_cache_carries:
        return "With the prefix cache this GPU carries the load; without it, it does not."
    assert facts.hit_rate is not None
    reused = percent(facts.hit_rate)
    if not facts.timed:
        return f"The prefix cache would reuse {reused} of the prompt tokens."
    if not facts.paired:
        return (
            f"The prefix cache reused {reused} of the prompt tokens; "
            "run with engine.baseline=true to see what that saved."
        )
    return _saving(facts)


def _saving(facts: Facts) -> str:
    summary = facts.summary
    saved, before = summary["ttft_saving"] or 0.0, summary["no_cache_ttft_mean_ms"]
    after = before - summary["ttft_saving_mean_ms"]
    if abs(saved) <= facts.model_error:
        return (
            "The prefix cache made no difference to the wait for the first token "
            "that the GPU model can tell."
        )
    verb = "cut" if saved > 0 else "lengthened"
    return (
        f"The prefix cache {verb} the average wait for the first token by {percent(abs(saved))}, "
        f"from {wait(before)} to {wait(after)}."
    )


def _how_overloaded(facts: Facts) -> str:
    growth = facts.run["queue_growth"] or 0.0
    overload = facts.manifest.get("overload") or {}
    if overload.get("growing", True):
        return f"the queue grows by {growth:.2g}\u00a0s every second"
    share = percent(facts.run["waiting_share"] or 0.0)
    return f"{share} of the requests wait longer than they are served"


def lede(facts: Facts) -> str:
    """Return what was reused, what became of the rest, and what would change it."""
    told = list(_lede(facts))
    if facts.stopped_early and facts.summary["completed"]:
        told.insert(0, _who_is_counted(facts))
    return " ".join(told)


def _who_is_counted(facts: Facts) -> str:
    done, unfinished = facts.summary["completed"], facts.summary["unfinished"]
    verb = "is" if done == 1 else "are"
    return (
        f"Counted {verb} the {count(done, 'request')} that completed: the run stopped before "
        f"{unfinished:,} more had ended, so nobody can tell what other memory would do."
    )


def _lede(facts: Facts) -> Iterator[str]:
    if not facts.summary["completed"]:
        yield _none_completed(facts)
        return
    if not facts.content_known or facts.hit_rate is None:
        yield "No prompt is known to share a prefix with another; all else holds without reuse."
        return
    hit, repeats = facts.hit_rate, facts.repeats or 0.0
    if not repeats:
        which = "of them " if facts.stopped_early else ""
        yield f"No prompt {which}repeats what an earlier one contained: there is nothing to reuse."
        return
    if not facts.cache_on:
        whose = "their" if facts.stopped_early else "all"
        yield f"{percent(repeats)} of {whose} prompt tokens repeat what earlier requests contained."
        return
    whole = facts.in_whole_blocks
    rounded = ""
    if whole is not None and repeats - whole >= 0.01:
        rounded = f" ({percent(whole)} in whole blocks)"
    repeating = f"{percent(repeats)} that repeat{rounded}"
    whose = "their" if facts.stopped_early else "all"
    yield f"{percent(hit)} of {whose} prompt tokens were reused, of {repeating}."
    yield _the_rest(facts, repeats - hit)
    if facts.stopped_early:
        pass  # what more memory would do is known of all requests only
    elif facts.evicted < LEAST_MEMORY:
        yield "Memory is not the limit."
    else:
        yield from _what_would_help(facts)
    if facts.overloaded:
        yield "What waits there are measures how long the trace is, so none is compared."


def _the_rest(facts: Facts, rest: float) -> str:
    if rest < SAME:
        return "Hardly more could have been."
    causes = {
        "was evicted before it came back": facts.evicted,
        "was still being computed when it was asked for": facts.share("in_flight_tokens"),
        "was lost to rounding down to whole blocks": facts.share("granularity_tokens"),
        "was in memory, but not kept for who asked": facts.share("policy_miss_tokens"),
        "was not looked up": facts.share("disabled_tokens"),
    }
    cause, share = max(causes.items(), key=lambda item: item[1])
    if share >= NEARLY_ALL * rest:
        return f"The rest {cause}."
    how_much = "Most of the rest" if share >= MOST * rest else "The largest part of the rest"
    return f"{how_much} {cause}."


def _none_completed(facts: Facts) -> str:
    rejected, unfinished = facts.summary["rejected"], facts.summary["unfinished"]
    told = []
    if rejected:
        told.append(f"{count(rejected, 'request')} can never fit into the KV memory")
    if unfinished:
        told.append(f"{count(unfinished, 'request')} had not ended when the run stopped")
    return f"{listed(told) or 'The trace has no requests'}."


def _what_would_help(facts: Facts) -> Iterator[str]:
    """Yield what the optimum and twice the memory would reuse, where that is known."""
    best, twice = facts.rate("the same memory, optimum"), facts.rate("twice the memory")
    told = []
    this = facts.rate("this run")
    if not facts.all_completed and this is not None:
        told.append(f"of all requests, completed or not, that is {percent(this)}")
    if best is not None and best > (this or 0.0) + SAME:
        told.append(f"in the same memory a perfect policy would have reused {percent(best)}")
    elif best is not None:
        told.append("no policy would reuse more in the same memory")
    if twice is not None:
        more = "twice the memory, " if best is not None else "twice the memory would reuse "
        told.append(f"{more}{percent(twice)}")
    if told:
        yield sentence("; ".join(told)) + "."


def tiles(facts: Facts) -> list[Tile]:
    """Return the strip of numbers, at most five, the load first where it is too much."""
    if not facts.summary["completed"]:
        return [Tile("Requests", "0", f"of {facts.summary['requests']:,} completed", bad=True)]
    shown = [*_waits(facts), *_reuse(facts)]
    if not facts.timed:
        return shown
    return [*_load(facts), *shown] if facts.overloaded else [*shown, *_load(facts)]


def _waits(facts: Facts) -> Iterator[Tile]:
    summary = facts.summary
    if not facts.timed or facts.overloaded:
        return
    compared = facts.paired and not facts.only_cache_carries
    for label, name in (("Mean wait, first token", "mean"), ("Slowest 1 in 100 waits", "p99")):
        context = "no pair to compare with"
        if facts.only_cache_carries:
            context = "without the cache the queue only grows"
        elif compared:
            without = wait(summary[f"no_cache_ttft_{name}_ms"])
            context = (
                f"{without} without the cache" if name == "mean" else f"{without} without (p99)"
            )
        elif not facts.content_known or not facts.cache_on:
            context = "nothing was reused" if name == "mean" else "p99"
        yield Tile(label, wait(summary[f"ttft_{name}_ms"]), context)


def _reuse(facts: Facts) -> Iterator[Tile]:
    summary = facts.summary
    tokens = amount(summary["input_tokens"])
    if not facts.content_known or facts.hit_rate is None:
        yield Tile("Prompt tokens", tokens, f"in {count(summary['completed'], 'request')}")
        return
    repeats = percent(facts.repeats or 0.0)
    yield Tile("Prompt tokens reused", f"{facts.hit_rate:.1%}", f"of {repeats} that repeat")
    spared = summary["hit_tokens"] - (summary["recomputed_tokens"] or 0)
    yield Tile("Prefill spared", amount(spared), f"of {tokens} prompt tokens")
    if not facts.timed:
        avoidable = summary["avoidable_miss_tokens"]
        context = "before they came back"
        if avoidable:
            context = f"{percent(facts.share('avoidable_miss_tokens'))} a perfect policy had kept"
        yield Tile("Evicted", f"{facts.evicted:.1%}", context)
        blocks = facts.run["capacity_blocks"]
        yield Tile("Cache", "no limit" if blocks is None else facts.room(blocks), _evictions(facts))


def _evictions(facts: Facts) -> str:
    return f"{facts.run['evicted_blocks'] or 0:,} evictions"


def _load(facts: Facts) -> Iterator[Tile]:
    run = facts.run
    if not facts.overloaded:
        both = "with the cache or without" if run["no_cache_overloaded"] is False else ""
        context = f"no growing queue, {both}" if both else "no growing queue"
        if facts.only_cache_carries:
            context = "but not without the cache"
        yield Tile("Load", "kept up", context)
        return
    yield Tile("Load", "too much", _how_overloaded(facts), bad=True)
    drain = wait((run["drain_ns"] or 0) / 1e6)
    yield Tile("Left waiting", f"{run['backlog_requests']:,}", f"at the last arrival, for {drain}")
