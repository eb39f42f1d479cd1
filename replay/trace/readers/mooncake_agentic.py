"""Agentic Mooncake traces: Mooncake rows that say which requests they wait for, and how long.

    {"request_id": "r2", "session_id": "a", "input_length": 700, "output_length": 20,
     "hash_ids": [0, 1], "timestamp": 1500.0, "wait_for": ["r1"], "delay": 30.0,
     "tool_wait_ms": 400.0, "prefix_reset": false}

The format of Dynamo's replay (https://github.com/ai-dynamo/dynamo, lib/data-gen/src/mooncake.rs)
and of AIPerf's sessions (https://github.com/ai-dynamo/aiperf, MooncakeTrace): times in ms that need
not be whole, `input_tokens`, `output_tokens`, `created_time` and `delay_ms` as other names,
`hash_ids`, `output_length` and times optional. A row without a time of its own arrives `delay` and
`tool_wait_ms` after those it waits for, else after the row before it in its session; responses are
assumed to take no time. Sessions whose rows say what each turn adds: mooncake_deltas.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import bare_note, fresh_ids, hint_at_sizes
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_OUTPUT,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.mooncake_deltas import (
    BLOCK_SIZE,
    CONTENT,
    DELTA_MODES,
    put_together,
    signs_of,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import (
    ANYTHING,
    INTEGER,
    LIST,
    NUMBER,
    RowShape,
    fits_any,
    key,
)
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import joined_values
from replay.trace.readers.text_requests import START_GAP_NS, TURN_GAP_NS
from replay.units import NS_PER_MS

_TIMES = ("timestamp", "created_time")
_DELAYS = ("delay", "delay_ms")
_OUTPUTS = ("output_length", "output_tokens")
_LISTS = ("wait_for", "branches", "tool_events", "output_token_ids", "routing_constraints")
_OWN = (
    "wait_for", "branches", "prefix_reset", "tool_wait_ms", "tool_events", "delay", "delay_ms",
    "input_tokens", "output_tokens", "created_time", "request_kind",
)  # fmt: skip
_TEXTS = frozenset(("messages", "payload", "text_input", "requests", "conversations", "turns"))
_PROMPT = key("input_length", "input_tokens", kind=INTEGER)
_IDS = key("hash_ids", kind=LIST)
_SESSION = key("session_id", kind=ANYTHING)
_SHAPES = (
    RowShape((_PROMPT, _IDS, key(*_OWN, kind=ANYTHING)), never=_TEXTS),
    RowShape((_PROMPT, _IDS), never=_TEXTS.union(_TIMES, ("chat_id",))),
    RowShape((_PROMPT, _IDS), never=_TEXTS.union(_OUTPUTS, ("chat_id",))),
    RowShape(
        (
            key("input_length", kind=INTEGER),
            _SESSION,
            key(*_DELAYS, kind=NUMBER),
            key("hash_ids", kind=LIST, optional=True),
        ),
        never=_TEXTS,
    ),
    RowShape(
        (key("input_length", kind=INTEGER), key("output_length", kind=INTEGER), _SESSION),
        never=_TEXTS.union(_TIMES, ("hash_ids", "chat_id")),
    ),
)
_CHAINED = "prefix-chained block ids of the source; responses have none"
_ASSUMED = (
    "requests have no time of their own; assumed: each arrives delay and tool_wait_ms after what "
    "it waits for, responses take no time"
)
_UNTIMED = (
    "the source has no times; assumed: a session starts each second, and a turn follows the one "
    "before it after its delay, or after 30 s, responses take no time"
)


def looks_like_mooncake_agentic(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an agentic Mooncake trace."""
    return fits_any(head, _SHAPES)


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
    requests = parser.whole_prompts(parser.placed(), source.sha256)
    known = any(request.block_ids for request in requests)
    deltas = any(request.segments for request in requests)
    meta = source_meta(
        source,
        format_name="mooncake-agentic",
        content=CONTENT if deltas else _CHAINED if known else LENGTHS_ONLY,
        block_size=parser.size if known else None,
        notes=parser.notes,
    )
    read = parser.rows + problems.total - parser.told
    timed = _UNTIMED not in parser.notes
    return content_trace(requests, source, problems, meta, read=read, note_disorder=timed)


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
    notes: list[str] = field(default_factory=list)
    _modes: set[str] = field(default_factory=set)
    _paced: set[int] = field(default_factory=set)
    _silent: list[int] = field(default_factory=list)
    _broken: dict[str, int] = field(default_factory=dict)
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
        if row.faults:
            self._broken.setdefault(found.request.session or "", line)
            return
        self._found.append(found)
        mode = values.get("context_mode")
        self._modes |= {mode} if isinstance(mode, str) else set()
        if found.arrival_ns is None or "delay_ns" in found.request.other:
            self._paced.add(line)
        if not found.request.output_tokens:
            self.problems.leave_out(line, NO_RESPONSE)

    def hint(self) -> None:
        """Say which block sizes fit, where the one that was taken does not."""
        if self._misfits:
            tokens, counts = np.array(self._shapes, np.int64).T
            hint_at_sizes(self.problems, tokens, counts)

    def whole_prompts(
        self, requests: Sequence[ContentRequest], sha256: str
    ) -> list[ContentRequest]:
        """Return the requests with prompts that are whole, and ids for all blocks if for any."""
        linked = any(row.wait_for for row in self._found)
        if not linked:
            signs = signs_of(requests, size=self.size, paced=self._paced, modes=self._modes)
            self.notes += [signs.note] if signs.note else []
            if signs.are_deltas:
                kept = [one for one in requests if not self._lost(one)]
                inside = DELTA_MODES[1] in self._modes
                told = self.problems.total
                kept = put_together(kept, self.problems, size=self.size, with_responses=inside)
                self.told += self.problems.total - told
                return kept
        bare = sum(not request.block_ids for request in requests)
        if bare == len(requests):
            return [replace(request, block_ids=None) for request in requests]
        self.notes += bare_note(bare)
        return [
            request
            if request.block_ids
            else replace(
                request,
                block_ids=fresh_ids(sha256, request.line, -(-request.input_tokens // self.size)),
            )
            for request in requests
        ]

    def _lost(self, request: ContentRequest) -> bool:
        """Return whether a turn before this one is faulty, and tell that it is of no use then."""
        line = self._broken.get(request.session or "", request.line)
        if request.session is None or line >= request.line:
            return False
        self._tell(request.line, f"adds to a prompt that line {line} is a part of, which is faulty")
        return True

    def placed(self) -> list[ContentRequest]:
        """Return the requests at their arrivals, those of the source or assumed ones."""
        self._check_outputs()
        timed = any(row.arrival_ns is not None for row in self._found)
        self._link(timed=timed)
        if self._found and not timed:
            self.notes.append(_UNTIMED)
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
        if untimed and timed:
            self.notes.append(f"{len(untimed):,} {_ASSUMED}")
        return requests

    def _check_outputs(self) -> None:
        """Tell which rows have no length of their response, unless none has."""
        if self._silent and len(self._silent) < self.rows:
            for line in self._silent:
                self._tell(line, "lacks output_length or output_tokens, which other rows have")
        elif self._silent:
            self.notes.append(NO_OUTPUT)

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def _row(self, line: int, row: CheckedRow) -> _Row:
        name = row.text("request_id")
        if name is not None and self._lines.setdefault(name, line) != line:
            row.faults.append(f"request_id stands on line {self._lines[name]} already (got {name})")
        tokens = row.tokens("input_length", "input_tokens")
        output_tokens = row.integer_or_none(*_OUTPUTS, lowest=0, highest=LARGEST_TOKENS)
        if output_tokens is None and not row.faults:
            self._silent.append(line)
        ids = row.integers("hash_ids", lowest=0, highest=2**64 - 1)
        if ids is not None:
            self._check_count(row, tokens, ids)
        delay_ns = row.duration_ns(*_DELAYS, unit_ns=NS_PER_MS)
        tool_ns = row.duration_ns("tool_wait_ms", unit_ns=NS_PER_MS)
        arrival_ns = row.duration_ns(*_TIMES, unit_ns=NS_PER_MS)
        session, wait_for = row.text("session_id"), _names(row, "wait_for")
        made = {"source_request_id": name, "delay_ns": delay_ns, "tool_wait_ns": tool_ns}
        request = ContentRequest(
            line=line,
            arrival_ns=0,
            input_tokens=tokens,
            output_tokens=1 if output_tokens is None else output_tokens,
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

    def _link(self, *, timed: bool) -> None:
        """Find which rows those without a time of their own follow.

        In a file without times, each that follows none starts a second after the last that does.
        """
        roots = 0
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
                if not timed and not row.wait_ns:
                    row.wait_ns = TURN_GAP_NS
            if row.arrival_ns is None and not row.after and not unknown and not timed:
                row.arrival_ns = START_GAP_NS * roots
                roots += 1
            elif row.arrival_ns is None and not row.after and not unknown:
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
    meaning="Mooncake rows with delay, wait_for or no time, as Dynamo and AIPerf replay them",
    content="prefix-chained block ids; responses have none, but where turns add to a prompt",
    sessions="session_id",
    assumes="blocks of 512 tokens; without a timestamp, responses take no time; rows that are "
    "shorter than what was said before and share no block with it add to it",
    sniff=looks_like_mooncake_agentic,
    read=read_mooncake_agentic,
    takes=("block_size",),
    shapes=_SHAPES,
)
