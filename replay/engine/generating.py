"""What a prompt repeats of responses that are still being generated: in flight, not never seen.

The kernels count a response as seen when its request completes. A follow-up that arrives before the
turn it contains has ended holds tokens that exist in the trace and not yet in the engine: earlier
requests contained them, no cache could have them. They count as in flight, in whole blocks as all
that an infinite cache would reuse, the rest as granularity. So of every replay the tokens that are
not cold are those of the content ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from replay.engine.outcome import Outcome
from replay.engine.plan import Plan
from replay.kernels import layout

_REQUESTS_AT_ONCE = 1 << 18
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Generating:
    """What is still being generated of each prompt when it is looked up.

    `outcome` int64[R, OUTCOME_FIELDS] counts it; `start_tokens` and `stop_tokens` int64[R] say
    where it lies in the prompt, in whole blocks; `author` int64[E] is the first request to have an
    edge of the plan's paths, R for none.
    """

    outcome: np.ndarray | Outcome
    start_tokens: np.ndarray
    stop_tokens: np.ndarray
    author: np.ndarray


def count_generating(plan: Plan, outcome: np.ndarray | Outcome, left_queue: int) -> Generating:
    """Return the outcome of a replay with what was still being generated counted as such.

    `left_queue` is how many requests were admitted or rejected, the first so many, where the replay
    was untimed. What one that was admitted before has and nobody has seen is its response, to come;
    where requests come one after another there is none. Linear in the edges of paths.
    """
    paths, size = plan.paths, int(plan.rules[layout.BLOCK_SIZE])
    tokens = plan.table[:, layout.INPUT_TOKENS]
    seen = tokens - outcome[:, layout.COLD]
    ideal = seen - outcome[:, layout.GRANULARITY]
    if not (paths.prompt_stop < paths.stop).any():
        return Generating(outcome, ideal, ideal, np.full(len(paths.first), plan.requests))
    turn, ran = _turns(outcome, left_queue)
    first = np.full(len(paths.first), _NEVER)
    for start, stop in _stretches(plan.requests):
        edge, owner, _ = _places(plan, start, stop)
        _put_least(first, edge[ran[owner]], turn[owner[ran[owner]]])
    depth = np.zeros(plan.requests, np.int64)
    for start, stop in _stretches(plan.requests):
        edge, owner, in_prompt = _places(plan, start, stop)
        had = in_prompt & (first[edge] < turn[owner])
        depth[owner[had]] = paths.stop_tokens[edge[had]]  # the deepest stands last
    author = _put_names(first, turn, ran)
    looked_up = outcome[:, layout.INPUT_BLOCKS] > 0
    known = np.where(looked_up, np.maximum(seen, depth), seen)
    whole = np.minimum(known // size, plan.table[:, layout.MATCH_BLOCKS]) * size
    reach = np.where(known > seen, np.maximum(ideal, whole), ideal)
    off = (plan.table[:, layout.SKIPS] > 0) | (plan.rules[layout.ENABLED] == 0)
    columns = {
        layout.COLD: np.where(looked_up, tokens - known, outcome[:, layout.COLD]),
        layout.IN_FLIGHT: outcome[:, layout.IN_FLIGHT] + np.where(off, 0, reach - ideal),
    }
    for cause, counted, count in (
        (layout.GRANULARITY, looked_up & ~off, known - reach),
        (layout.DISABLED, looked_up & off, known),
    ):
        columns[cause] = np.where(counted, count, outcome[:, cause])
    return Generating(_with(outcome, columns), ideal, reach, author)


def _turns(outcome: np.ndarray | Outcome, left_queue: int) -> tuple[np.ndarray, np.ndarray]:
    """Return when requests were admitted or given up, int64[R] in order, and bool[R] if admitted.

    Without time they are in order of arrival.
    """
    admission = outcome[:, layout.ADMISSION]
    if admission.any():
        return np.abs(admission), admission > 0
    turn = np.arange(len(admission))
    return turn, (outcome[:, layout.STATUS] != layout.REJECTED) & (turn < left_queue)


def _put_least(least: np.ndarray, places: np.ndarray, values: np.ndarray) -> None:
    """Put values in their places unless what is there is less."""
    if (np.diff(values) >= 0).all():  # the first of several stands last
        values = np.minimum(values[::-1], least[places[::-1]])
        least[places[::-1]] = values
    else:
        np.minimum.at(least, places, values)


def _put_names(first: np.ndarray, turn: np.ndarray, ran: np.ndarray) -> np.ndarray:
    """Replace turns by the requests whose they are, and _NEVER by R, in place."""
    whose = np.zeros(int(turn.max(initial=0)) + 1, np.int64)
    whose[turn[ran]] = np.flatnonzero(ran)
    there = first < _NEVER
    first[there] = whose[first[there]]
    first[~there] = len(turn)
    return first


def _with(outcome: np.ndarray | Outcome, columns: Mapping[int, np.ndarray]) -> np.ndarray | Outcome:
    """Return an outcome with other columns in the place of some."""
    if isinstance(outcome, Outcome):
        return outcome.changed(columns)
    changed = outcome.copy()
    for field, values in columns.items():
        changed[:, field] = values
    return changed


def _stretches(requests: int) -> list[tuple[int, int]]:
    """Return (start, stop) of so many requests that memory does not go with the trace's length."""
    starts = range(0, requests, _REQUESTS_AT_ONCE)
    return [(start, min(start + _REQUESTS_AT_ONCE, requests)) for start in starts]


def _places(plan: Plan, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return edge, owner and whether it is of the prompt of each place of some requests' paths."""
    paths = plan.paths
    first, lengths = paths.start[start:stop], paths.stop[start:stop] - paths.start[start:stop]
    owner = np.repeat(np.arange(start, stop), lengths)
    begin = int(first[0])
    place = np.arange(begin, begin + len(owner))
    return paths.path_edges[begin : begin + len(owner)], owner, place < paths.prompt_stop[owner]
