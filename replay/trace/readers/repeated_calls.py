"""Calls that a log holds twice: rows of rotated logs that overlap, a call told by two loggers.

A row that equals an earlier one and has an id, its own or its response's, tells of the same call.
So do two rows with one response id, prompt and response, where no id of the log has two different
calls (servers that are only played give all responses one). The later one is put aside. What looks
repeated and need not be (equal rows without an id, another response to one request id) stays and is
counted: it may be a retry, which an engine served. Where response ids name one call each, they are
kept as `response_id`, by which a call is known again in another file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from replay.trace.problems import ProblemList
from replay.trace.readers.continued import said_by
from replay.trace.readers.log_keys import LoggedRow
from replay.trace.readers.logged_requests import LoggedRequest

_IDS = ("id", "request_id", "requestId", "response_id", "call_id", "x_request_id")
RESPONSE_ID = "response_id"
_SHORTEST_ID = 8  # of a response, to be taken for one that no other has


@dataclass(slots=True)
class RepeatedCalls:
    """Knows the calls of a log so far, and which of them came again."""

    equal: int = 0
    retried: int = 0
    _again: dict[int, str] = field(default_factory=dict)
    _rows: dict[bytes, int] = field(default_factory=dict)
    _responses: dict[str, LoggedRequest] = field(default_factory=dict)
    _same_response: dict[int, str] = field(default_factory=dict)
    _response_of: dict[int, str] = field(default_factory=dict)
    _unlike: bool = False
    _requests: set[str] = field(default_factory=set)

    def see(self, line: int, row: Mapping[str, Any], call: LoggedRow) -> None:
        """Take note of the call that a row tells of."""
        answer = call.places[-1]
        response = answer.get("id") if answer is not row else None
        response = response if isinstance(response, str) and response else None
        ids = [str(row[name]) for name in _IDS if isinstance(row.get(name), str | int)]
        before = self._rows.setdefault(_digest(row), line)
        if before < line:
            if ids or response:
                self._again[line] = f"repeats line {before:,}, id and all"
            else:
                self.equal += 1
            return
        self.retried += any(one in self._requests for one in ids)
        self._requests.update(ids)
        if response is not None:
            self._response_of[line] = response
            self._see_response(response, call.request)

    def _see_response(self, name: str, request: LoggedRequest) -> None:
        first = self._responses.setdefault(name, request)
        if first is request:
            return
        if first.usage != request.usage or said_by(first) != said_by(request):
            self._unlike = True
        elif len(name) >= _SHORTEST_ID:
            again = f"repeats the response {name} of line {first.line:,}"
            self._same_response[request.line] = again

    def once(self, rows: Sequence[LoggedRow], problems: ProblemList) -> list[LoggedRow]:
        """Return the calls, each once; the others are put aside in `problems`."""
        again = self._again | ({} if self._unlike else self._same_response)
        for line, reason in again.items():
            problems.leave_out(line, reason)
        kept = [row for row in rows if row.request.line not in again]
        return self._named(kept)

    def _named(self, rows: list[LoggedRow]) -> list[LoggedRow]:
        """Return the calls with the ids of their responses, where no two share one."""
        names = [self._response_of.get(row.request.line) for row in rows]
        known = [name for name in names if name is not None]
        if len(set(known)) < len(known) or any(len(name) < _SHORTEST_ID for name in known):
            return rows
        return [
            row
            if name is None
            else replace(
                row, request=replace(row.request, other={**row.request.other, RESPONSE_ID: name})
            )
            for row, name in zip(rows, names, strict=True)
        ]

    def notes(self) -> list[str]:
        """Return what came again."""
        once = len(self._again) + (0 if self._unlike else len(self._same_response))
        told = (
            (once, "rows repeat the call of an earlier one, id and all, and were taken once"),
            (self.equal, "rows equal an earlier one and have no id: all are kept"),
            (self.retried, "requests have the id of an earlier one and differ: all are kept"),
        )
        why = " (retries, or logs that overlap?)"
        return [f"{count:,} {what}{why}" for count, what in told if count]


def _digest(value: object) -> bytes:
    text = json.dumps(value, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).digest()
