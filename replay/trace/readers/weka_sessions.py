"""Sessions of WEKA traces in time: when each request arrived, and which called which sub-agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from replay.trace.readers.checked_row import LARGEST_NS
from replay.units import NS_PER_S

SUBAGENT = "subagent"
GLOBAL_SCOPE = "global"
_JOIN_NS = 1_000  # a microsecond: times are rounded


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A request and where it stands: `spawned_by` is the place of a sub-agent's caller.

    `shares` says that its block ids mean the same in other sessions.
    """

    line: int
    arrival_ns: int
    session: str
    agent: str | None
    spawned_by: int | None
    shares: bool
    row: Mapping[str, Any]


def walk(
    rows: list[dict[str, Any]], start_ns: int, agent: str | None, *, from_spawn: bool
) -> Iterator[tuple[int, str | None, dict[str, Any]]]:
    """Yield (arrival, agent, row) of requests; those of a sub-agent follow where it stands.

    Its times count from where it stands, or from the same start as the others.
    """
    for place, row in enumerate(rows):
        at = start_ns + seconds_ns(row["t"])
        if row["type"] == SUBAGENT:
            named = str(row.get("agent_id", place))
            inner = named if agent is None else f"{agent}/{named}"
            start = at if from_spawn else start_ns
            yield from walk(row["requests"], start, inner, from_spawn=from_spawn)
        else:
            yield at, agent, row


def before_spawn(rows: list[dict[str, Any]]) -> bool:
    """Return whether what is within a sub-agent, at any depth, has a time before its spawn."""
    return any(
        any(seconds_ns(inner["t"]) + _JOIN_NS < seconds_ns(row["t"]) for inner in row["requests"])
        or before_spawn(row["requests"])
        for row in rows
        if row["type"] == SUBAGENT
    )


def all_requests(
    sessions: Mapping[int, Mapping[str, Any]], *, from_spawn: bool
) -> list[SessionRequest]:
    """Return the requests of sessions by line, in the order of the file."""
    names: set[str] = set()
    found: list[SessionRequest] = []
    for line, session in sessions.items():
        name = str(session["id"])
        if name in names:
            name = f"{name}, line {line}"
        names.add(name)
        walked = walk(session["requests"], 0, None, from_spawn=from_spawn)
        shares = session.get("hash_id_scope") == GLOBAL_SCOPE
        found += _requests(line, name, walked, len(found), shares=shares)
    return found


def _requests(
    line: int,
    name: str,
    walked: Iterable[tuple[int, str | None, Mapping[str, Any]]],
    before: int,
    *,
    shares: bool,
) -> list[SessionRequest]:
    """Return the requests of a session in the order of its file; `before` are there already."""
    found: list[SessionRequest] = []
    last: dict[str | None, int] = {}
    spawned: dict[str | None, int | None] = {None: None}
    for at, agent, row in walked:
        place = before + len(found)
        if agent is not None and agent not in spawned:
            caller = agent.rpartition("/")[0] or None
            spawned[agent] = last.get(caller)
        own = name if agent is None else f"{name}/{agent}"
        by = spawned[agent] if agent not in last else None
        found.append(SessionRequest(line, min(at, LARGEST_NS), own, agent, by, shares, row))
        last[agent] = place
    return found


def seconds_ns(value: float) -> int:
    """Return seconds in ns: what the digits say that a float is written with, not its bits."""
    return int(Decimal(repr(value)) * NS_PER_S)
