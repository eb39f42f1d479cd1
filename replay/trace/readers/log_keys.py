"""When a logged request arrived and whose it is: one key for a whole file, found by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replay.trace.problems import ProblemList
from replay.trace.readers.logged_requests import LoggedRequest
from replay.trace.readers.source_clock import arrivals_of, split_unit
from replay.trace.readers.text_requests import ASSUMED_TIMES, assumed_arrival_ns

# As they stand without a unit, an underscore or a capital; the first that a file has is taken.
_TIMES = (
    "timestamp", "ts", "time", "datetime", "start", "starttime", "requesttime", "requestedat",
    "arrival", "arrivaltime", "createdat", "created", "date",
)  # fmt: skip
_NAMES = (
    "session_id", "sessionId", "conversation_id", "conversation", "thread_id", "chat_id", "session",
    "user", "user_id",
)  # fmt: skip
_IN_METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """A request whose time and session are still to be found, in `places`, in this order."""

    request: LoggedRequest
    places: tuple[Mapping[str, Any], ...]


def placed(
    rows: Sequence[LoggedRow], problems: ProblemList
) -> tuple[list[LoggedRequest], list[str], int | None]:
    """Return the requests at their times and in their sessions, notes, and the clock's start.

    Without a key of times in any row, times are assumed. Rows whose time is faulty or missing are
    added to `problems` and left out.
    """
    sessions, name = _sessions(rows)
    notes = [f"sessions are named by {name}"] if name else []
    times, clock_start_ns = _times(rows, problems)
    if times is None:
        notes.append(ASSUMED_TIMES)
        times = list(_assumed_times(sessions))
    requests = [
        replace(row.request, arrival_ns=time, session=session)
        for row, time, session in zip(rows, times, sessions, strict=True)
        if time is not None
    ]
    return requests, notes, clock_start_ns


def _times(
    rows: Sequence[LoggedRow], problems: ProblemList
) -> tuple[list[int | None] | None, int | None]:
    found = [dict(_time_keys(row.places)) for row in rows]
    known = [rank for keys in found for rank in keys]
    if not known:
        return None, None
    first = min(known)
    key = next(keys[first][0] for keys in found if first in keys)
    for row, keys in zip(rows, found, strict=True):
        if first not in keys:
            problems.add(f"lacks {key}, which other rows have", line=row.request.line)
    values = [
        (row.request.line, keys[first][1])
        for row, keys in zip(rows, found, strict=True)
        if first in keys
    ]
    times, clock_start_ns = arrivals_of(key, values, problems)
    at = iter(times)
    return [next(at) if first in keys else None for keys in found], clock_start_ns


def _time_keys(
    places: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[tuple[int, int, str], tuple[str, object]]]:
    """Yield ((place, rank, key), (key, value)) of each key that may be a time."""
    for place, values in enumerate(places):
        for key, value in values.items():
            base = split_unit(key)[0].replace("_", "").lower()
            if base in _TIMES and value is not None:
                yield (place, _TIMES.index(base), key), (key, value)


def _sessions(rows: Sequence[LoggedRow]) -> tuple[list[str | None], str | None]:
    """Return the session of each row, and the key that names them: one that every row has, or any.

    Keys of sessions stand before those of users, who may have several.
    """
    found = [dict(_names(row.places)) for row in rows]
    counts: dict[tuple[int, str], int] = {}
    for names in found:
        for key in names:
            counts[key] = counts.get(key, 0) + 1
    if not counts:
        return [None] * len(rows), None
    in_all = [key for key, count in counts.items() if count == len(rows)]
    best = min(in_all or counts)
    return [names.get(best) for names in found], best[1]


def _names(places: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, str], str]]:
    for values in reversed(places):  # a name in an earlier place replaces one in a later
        for rank, key in enumerate(_NAMES):
            if (name := _name(values.get(key))) is not None:
                yield (2 * rank, key), name
            inner = values.get(_IN_METADATA)
            if isinstance(inner, Mapping) and (name := _name(inner.get(key))) is not None:
                yield (2 * rank + 1, f"{_IN_METADATA}.{key}"), name


def _name(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


def _assumed_times(sessions: Sequence[str | None]) -> Iterator[int]:
    """Yield arrivals: a row without a session is a conversation of its own."""
    conversations: dict[str, int] = {}
    turns: dict[str, int] = {}
    for row, session in enumerate(sessions):
        name = f"row {row}" if session is None else f"session {session}"
        turns[name] = turns.get(name, -1) + 1
        conversation = conversations.setdefault(name, len(conversations))
        yield assumed_arrival_ns(conversation, turns[name])


def own_values(row: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, object]:
    """Return the single values of a row by their keys, but those that say a prompt or a time."""
    return {
        key: value
        for key, value in row.items()
        if isinstance(value, str | int | float)
        and key not in left_out
        and split_unit(key)[0].replace("_", "").lower() not in _TIMES
    }
