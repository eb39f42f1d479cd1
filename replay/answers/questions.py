"""What is asked of the cache alone, put in words: a source, a scenario, lists of names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from replay.analysis.question import Ask, Question, ask, unsized
from replay.answers.sources import Source
from replay.cache.replays import chosen_names
from replay.config.scenario import Scenario
from replay.engine.prepare import prepare_trace
from replay.errors import InputError
from replay.progress import Hook, ignore
from replay.trace.prefix_sample import sample_prefixes
from replay.trace.separation import separated
from replay.units import parse_capacity, parse_duration_ns

LARGEST_BLOCK = 2**20
MOST_POINTS = 10**6


@dataclass(frozen=True, slots=True)
class Words:
    """A question as a person writes it: lists with commas, sizes and times with their units.

    `sample` is the share of the prefixes to estimate from, 0..1, and `by` a column whose groups
    the answer tells apart; `drawn` adds the capacities that a picture of it needs. None and empty
    lists leave the choice to `ask`.
    """

    policies: Sequence[str] = ()
    block_sizes: str | None = None
    capacities: Sequence[str] = ()
    unit: str | None = None
    ttl: str | None = None
    points: int | None = None
    threads: int | None = None
    sample: float | None = None
    by: str | None = None
    drawn: bool = False


def question_about(
    source: Source, scenario: Scenario, words: Words, progress: Hook = ignore
) -> Question:
    """Return the question about a trace, the trace read and made ready for it.

    Raises InputError for a list that names nothing, UnknownNameError, and what reading the trace
    and `ask` raise.
    """
    wanted = _wanted(words)
    bare = unsized(scenario)
    drawn = None
    if words.sample is None:
        prepared = source.prepared(bare, progress, sessions=_tells_sessions_apart(wanted, words.by))
    else:
        if not words.sample:
            raise InputError("--sample must be above 0")
        full = source.trace(progress)
        one_in = round(1 / words.sample)
        if one_in > 1:  # the whole trace is no sample: its curve is exact
            full = separated(full, scenario.trace.separate_by)
            drawn = sample_prefixes(full, one_in, seed=scenario.seed)
            full = drawn.trace
        prepared = prepare_trace(full, bare, sessions=False, progress=progress)
    return ask(replace(prepared, scenario=scenario), wanted, drawn)


def _wanted(words: Words) -> Ask:
    if words.points is not None and not 2 <= words.points <= MOST_POINTS:
        raise InputError(f"--points must be between 2 and {MOST_POINTS:,} (got {words.points})")
    if words.threads is not None and words.threads < 1:
        raise InputError(f"--threads must be at least 1 (got {words.threads})")
    return Ask(
        policies=_names("--policy", words.policies),
        block_sizes=[] if words.block_sizes is None else _block_sizes(words.block_sizes.split(",")),
        capacities=[parse_capacity(text) for text in _names("--capacity", words.capacities)],
        unit=words.unit,
        ttl_ns=None if words.ttl is None else parse_duration_ns(words.ttl),
        points=words.points,
        threads=words.threads,
        drawn=words.drawn,
    )


def _tells_sessions_apart(wanted: Ask, by: str | None) -> bool:
    """Return whether the answer may depend on sessions: by a column, or by what a policy knows.

    Without names all policies are asked for, and one of them knows turns.
    """
    return bool(by) or not wanted.policies or "workload_aware" in wanted.policies


def _names(option: str, given: Sequence[str]) -> list[str]:
    found = list(chosen_names(given))
    if given and not found:
        raise InputError(f"{option} names nothing (got {', '.join(map(repr, given))})")
    return found


def _block_sizes(parts: Iterable[str]) -> list[int]:
    """Return the block sizes of a list such as `16,512`, each once."""
    found: dict[int, None] = {}
    for part in map(str.strip, parts):
        if not part.isdecimal() or not 1 <= int(part) <= LARGEST_BLOCK:
            raise InputError(
                f"--block-size must be numbers of tokens from 1 to {LARGEST_BLOCK:,} (got {part!r})"
            )
        found[int(part)] = None
    return list(found)
