"""When a logged request arrived and whose it is: one key for a whole file, found by its name.

Keys of sessions name sessions. Those of users do only where the requests of a user go on from each
other, nine in ten at least from the one before; else, as without any name, sessions are inferred:
a request joins the one that its messages begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from replay.trace.problems import ProblemList
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.continued import goes_on, inferred_sessions
from replay.trace.readers.json_text import object_in
from replay.trace.readers.logged_requests import LoggedRequest
from replay.trace.readers.source_clock import arrivals_of, split_unit
from replay.trace.readers.text_requests import ASSUMED_TIMES, assumed_arrival_ns

# As they stand without a unit, an underscore or a capital; the first that a file has is taken.
_TIMES = (
    "timestamp", "ts", "time", "datetime", "start", "starttime", "requesttime", "requestedat",
    "arrival", "arrivaltime", "createdat", "created", "date",
)  # fmt: skip
_SESSIONS = (
    "sessionid", "conversationid", "conversation", "threadid", "thread", "chatid", "session",
    "dialogueid", "dialogid", "litellmsessionid",
)  # fmt: skip
_USERS = ("user", "userid", "enduser", "enduserid", "safetyidentifier")
_NAMES = _SESSIONS + _USERS
_FOLLOWING_SHARE = 0.9
_IN_METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class LoggedRow:
    """A request whose time and session are still to be found, in `places`, in this order."""

    request: LoggedRequest
    places: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Requests at their times and in their sessions, with notes on both.

    `clock_start_ns` and `sessions_inferred` are for `logged_trace`.
    """

    requests: list[LoggedRequest]
    notes: list[str]
    clock_start_ns: int | None
    sessions_inferred: bool


def placed(rows: Sequence[LoggedRow], problems: ProblemList) -> Placed:
    """Return the requests of these rows at their times and in their sessions.

    Without a key of times in any row, times are assumed. Rows whose time is faulty or missing are
    added to `problems` and left out.
    """
    found = [dict(_names(row.places)) for row in rows]
    key = _key_of(found, _SESSIONS)
    times, clock_start_ns = _times(rows, problems)
    order = list(range(len(rows)))
    if times is not None:
        known = times
        order = sorted((at for at in order if known[at] is not None), key=lambda at: known[at] or 0)
    sessions, notes, inferred = _sessions(rows, found, key, order)
    if times is None:
        notes.append(ASSUMED_TIMES)
        times = list(_assumed_times(sessions))
    requests = [
        replace(row.request, arrival_ns=time, session=session)
        for row, time, session in zip(rows, times, sessions, strict=True)
        if time is not None
    ]
    return Placed(requests, notes, clock_start_ns, inferred)


def _sessions(
    rows: Sequence[LoggedRow],
    found: Sequence[Mapping[tuple[int, str], str]],
    key: tuple[int, str] | None,
    order: Sequence[int],
) -> tuple[list[str | None], list[str], bool]:
    """Return the session of each row, notes, and whether sessions were inferred.

    A key that every row has stands before others, and one of sessions before one of users, which
    may have several at once. `order` is that of arrival.
    """
    everywhere = key is not None and all(key in names for names in found)
    user = None if everywhere else _key_of(found, _USERS)
    users = [None if user is None else names.get(user) for names in found]
    notes = []
    if user is not None and (key is None or all(name is not None for name in users)):
        if _follow(rows, users, order):
            return users, [f"sessions are named by {user[1]}"], False
        notes.append(f"{user[1]} names no sessions: the requests of one do not follow each other")
    if key is not None:
        names = [names.get(key) for names in found]
        return names, [*notes, f"sessions are named by {key[1]}"], False
    told, joined = inferred_sessions(
        [rows[at].request for at in order], [users[at] for at in order]
    )
    sessions: list[str | None] = [None] * len(rows)
    for at, session in zip(order, told, strict=True):
        sessions[at] = session
    started = len(set(told) - {None})
    if joined:
        notes.append(
            f"sessions are inferred: the messages of {joined:,} requests begin with those of an "
            f"earlier one and its reply, {started:,} start anew"
        )
    elif started:
        notes.append("sessions are inferred: no request goes on from an earlier one's reply")
    return sessions, notes, True


def _follow(rows: Sequence[LoggedRow], users: Sequence[str | None], order: Sequence[int]) -> bool:
    """Return whether the requests of users go on from each other, nearly all of them."""
    before: dict[str, LoggedRequest] = {}
    later = following = 0
    for at in order:
        user, request = users[at], rows[at].request
        if user is None:
            continue
        if user in before:
            later += 1
            following += goes_on(request, before[user])
        before[user] = request
    return following >= _FOLLOWING_SHARE * later


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


def _key_of(
    found: Sequence[Mapping[tuple[int, str], str]], names: tuple[str, ...]
) -> tuple[int, str] | None:
    """Return the key of such names that every row has, else the first that any has."""
    counts: dict[tuple[int, str], int] = {}
    for keys in found:
        for key in keys:
            if _NAMES[key[0] // 2] in names:
                counts[key] = counts.get(key, 0) + 1
    in_all = [key for key, count in counts.items() if count == len(found)]
    return min(in_all or counts, default=None)


def _names(places: Sequence[Mapping[str, Any]]) -> Iterator[tuple[tuple[int, str], str]]:
    for values in reversed(places):  # a name in an earlier place replaces one in a later
        yield from _names_in(values, "", 0)
        try:
            inner = object_in(values.get(_IN_METADATA), _IN_METADATA)
        except RowError:  # it need not say anything
            continue
        if isinstance(inner, Mapping):
            yield from _names_in(inner, f"{_IN_METADATA}.", 1)


def _names_in(
    values: Mapping[str, Any], start: str, more: int
) -> Iterator[tuple[tuple[int, str], str]]:
    for key in values:
        base = key.replace("_", "").replace("-", "").lower()
        if base in _NAMES and (name := _name(values[key])) is not None:
            yield (2 * _NAMES.index(base) + more, f"{start}{key}"), name


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
