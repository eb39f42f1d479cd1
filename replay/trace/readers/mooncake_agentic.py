"""Agentic Mooncake traces: Mooncake rows that say which requests they wait for, and how long.

    {"request_id": "r2", "session_id": "a", "input_length": 700, "output_length": 20,
     "hash_ids": [0, 1], "timestamp": 1500.0, "wait_for": ["r1"], "delay": 30.0,
     "tool_wait_ms": 400.0, "prefix_reset": false}

The format of Dynamo's replay (https://github.com/ai-dynamo/dynamo, lib/data-gen/src/mooncake.rs):
times in ms that need not be whole, `input_tokens`, `output_tokens`, `created_time` and `delay_ms`
as other names. A row without a time of its own arrives `delay` and `tool_wait_ms` after those it
waits for, else after the row before it in its session; responses are assumed to take no time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import hint_at_sizes
from replay.trace.readers.checked_row import LARGEST_NS, CheckedRow
from replay.trace.readers.content_requests import (
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.mooncake import BLOCK_SIZE
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import joined_values
from replay.units import NS_PER_MS

_TIMES = ("timestamp", "created_time")
_DELAYS = ("delay", "delay_ms")
_LISTS = ("wait_for", "branches", "tool_events", "output_token_ids", "routing_constraints")
_OWN = (
    "wait_for", "branches", "prefix_reset", "tool_wait_ms", "tool_events", "delay", "delay_ms",
    "input_tokens", "output_tokens", "created_time", "request_kind",
)  # fmt: skip
_KEY = rb'(?<!\\)"(?:%s)"\s*:'
_BLOCKS = re.compile(_KEY % b"hash_ids")
_SIGNS = re.compile(_KEY % "|".join(_OWN).encode())
_ASSUMED = (
    "requests have no time of their own; assumed: each arrives delay and tool_wait_ms after what "
    "it waits for, responses take no time"
)


def looks_like_mooncake_agentic(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an agentic Mooncake trace."""
    start = head.lstrip()
    if not start.startswith((b"{", b"[")):
        return False
    return _BLOCKS.search(start) is not None and _SIGNS.search(start) is not None


def read_mooncake_agentic(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an agentic Mooncake file; blocks have 512 tokens unless options say else.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(problems, options.block_size or BLOCK_SIZE)
    for line, row in walk_objects(source.data, problems):
        parser.take(line, row)
    parser.hint()
    requests, assumed = parser.placed()
    meta = source_meta(
        source,
        format_name="mooncake-agentic",
        content="prefix-chained block ids of the source; responses have none",
        block_size=parser.size,
        notes=(f"{assumed:,} {_ASSUMED}",) if assumed else (),
    )
    read = parser.rows + problems.total - parser.told
    return content_trace(requests, source, problems, meta, read=read)


@dataclass(slots=True)
class _Row:
    """A request whose arrival may still have to be found: `after` are the rows it follows."""

    request: ContentRequest
    arrival_ns: int | None
    wait_ns: int
    wait_for: list[str]
    name: str | None
    after: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Parser:
    """Turns rows into requests, and finds when those arrive that follow others."""

    problems: ProblemList
    size: int
    rows: int = 0
    told: int = 0
    _found: list[_Row] = field(default_factory=list)
    _lines: dict[str, int] = field(default_factory=dict)
    _shapes: list[tuple[int, int]] = field(default_factory=list)
    _misfits: bool = False

    def take(self, line: int, values: Mapping[str, object]) -> None:
        """Add a row, or what is wrong with it."""
        self.rows += 1
        row = CheckedRow(values)
        found = self._row(line, row)
        for fault in row.faults:
            self._tell(line, fault)
        if not row.faults:
            self._found.append(found)
            if not found.request.output_tokens:
                self.problems.leave_out(line, NO_RESPONSE)

    def hint(self) -> None:
        """Say which block sizes fit, where the one that was taken does not."""
        if self._misfits:
            tokens, counts = np.array(self._shapes, np.int64).T
            hint_at_sizes(self.problems, tokens, counts)

    def placed(self) -> tuple[list[ContentRequest], int]:
        """Return the requests at their arrivals, and how many of these were assumed."""
        self._link()
        untimed = [place for place, row in enumerate(self._found) if row.arrival_ns is None]
        followers: dict[int, list[int]] = {}
        missing = {place: len(self._found[place].after) for place in untimed}
        for place in untimed:
            for earlier in self._found[place].after:
                followers.setdefault(earlier, []).append(place)
        ready = [place for place, row in enumerate(self._found) if row.arrival_ns is not None]
        while ready:
            for place in followers.get(ready.pop(), ()):
                missing[place] -= 1
                if not missing[place]:
                    self._place(place)
                    ready.append(place)
        for place in untimed:
            if self._found[place].arrival_ns is None and self._found[place].after:
                line = self._found[place].request.line
                self._tell(line, "waits for a request without a time, or in a circle for itself")
        requests = [
            replace(row.request, arrival_ns=row.arrival_ns)
            for row in self._found
            if row.arrival_ns is not None
        ]
        return requests, len(untimed)

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def _row(self, line: int, row: CheckedRow) -> _Row:
        name = row.text("request_id")
        if name is not None and self._lines.setdefault(name, line) != line:
            row.faults.append(f"request_id stands on line {self._lines[name]} already (got {name})")
        tokens = row.tokens("input_length", "input_tokens")
        output_tokens = row.tokens("output_length", "output_tokens", lowest=0)
        ids = row.integers("hash_ids", lowest=0, highest=2**64 - 1)
        if ids is None and not row.faults:
            row.lacks("hash_ids")
        self._check_count(row, tokens, ids or [])
        delay_ns = row.duration_ns(*_DELAYS, unit_ns=NS_PER_MS)
        tool_ns = row.duration_ns("tool_wait_ms", unit_ns=NS_PER_MS)
        arrival_ns = row.duration_ns(*_TIMES, unit_ns=NS_PER_MS)
        session, wait_for = row.text("session_id"), _names(row, "wait_for")
        made = {"source_request_id": name, "delay_ns": delay_ns, "tool_wait_ns": tool_ns}
        request = ContentRequest(
            line=line,
            arrival_ns=0,
            input_tokens=tokens,
            output_tokens=output_tokens,
            block_ids=ids,
            session=session,
            other=joined_values(row.rest(*_LISTS), made),
        )
        return _Row(request, arrival_ns, (delay_ns or 0) + (tool_ns or 0), wait_for, name)

    def _check_count(self, row: CheckedRow, tokens: int, ids: list[int]) -> None:
        if row.faults:
            return
        self._shapes.append((tokens, len(ids)))
        wanted = -(-tokens // self.size)
        if len(ids) != wanted:
            self._misfits = True
            row.faults.append(
                f"input_length {tokens} in blocks of {self.size} needs {wanted} hash_ids "
                f"(got {len(ids)})"
            )

    def _link(self) -> None:
        """Find which rows those without a time of their own follow."""
        places = {row.name: place for place, row in enumerate(self._found) if row.name}
        last: dict[str, int] = {}
        for place, row in enumerate(self._found):
            session, line = row.request.session, row.request.line
            unknown = [name for name in row.wait_for if name not in places]
            if unknown:
                self._tell(line, f"wait_for names no request of the file (got {unknown[0]!r})")
            row.after = [places[name] for name in row.wait_for if name in places]
            if not row.wait_for and session in last:
                row.after = [last[session]]
            if row.arrival_ns is None and not row.after and not unknown:
                self._tell(line, f"lacks {' or '.join(_TIMES)}, and follows no other request")
            if session is not None:
                last[session] = place

    def _place(self, place: int) -> None:
        row = self._found[place]
        arrivals = [self._found[earlier].arrival_ns or 0 for earlier in row.after]
        row.arrival_ns = max(arrivals) + row.wait_ns
        if row.arrival_ns > LARGEST_NS:
            self._tell(row.request.line, f"delay leads out of range (got {row.wait_ns} ns)")
            row.arrival_ns = LARGEST_NS


def _names(row: CheckedRow, key: str) -> list[str]:
    names: Sequence[object] | object = row.values.get(key)
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        row.faults.append(f"{key} must be a list of request ids (got {shown(names)})")
        return []
    return names


MOONCAKE_AGENTIC = Reader(
    name="mooncake-agentic",
    suffixes=(".jsonl",),
    meaning="Mooncake rows with delay, wait_for or tool_wait_ms, as Dynamo's replay reads them",
    content="prefix-chained block ids; responses have none",
    sessions="session_id",
    assumes="blocks of 512 tokens; without a timestamp, responses take no time",
    sniff=looks_like_mooncake_agentic,
    read=read_mooncake_agentic,
    takes=("block_size",),
)
