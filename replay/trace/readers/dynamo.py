"""Dynamo request traces: JSON lines, a record when a request ends, 64-bit chained block hashes.

    {"timestamp": 12, "event": {"schema": "dynamo.request.trace.v1", "event_type": "request_end",
     "event_time_unix_ms": 1777312801000, "agent_context": {"session_id": "run-42"}, "request":
     {"request_id": "r-1", "request_received_ms": 1777312800000, "output_tokens": 16, "replay":
     {"trace_block_size": 64, "input_length": 128, "input_sequence_hashes": [1487..., 2746...]}}}}

Records may stand alone, without the envelope of the sink that wrote them. Fields are those of
https://github.com/ai-dynamo/dynamo, lib/llm/src/request_trace/types.rs; the older schema
dynamo.agent.trace.v1 has the same, with other names for sessions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import covering, fresh_id
from replay.trace.readers.checked_row import LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import RowShape, fits_any, key, one_of
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import joined_values
from replay.units import NS_PER_MS

_SCHEMAS = ("dynamo.request.trace.v1", "dynamo.agent.trace.v1")
_SHAPES = (RowShape((key("schema", kind=one_of(*_SCHEMAS)),), within=("event",)),)
_REQUEST = "request_end"
_OTHERS = ("tool_start", "tool_end", "tool_error", "request_payload")
_LARGEST_MS = (2**63 - 1) // NS_PER_MS
_RUNS = ("session_id", "workflow_id")
_LANES = ("trajectory_id", "program_id")
_HASHES = "chained block hashes of the source; responses have none"


def looks_like_dynamo(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Dynamo request trace."""
    return fits_any(head, _SHAPES)


def read_dynamo(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a Dynamo request trace; its records say how large their blocks are.

    Raises TraceError that names the line of each record that breaks the format, where more do
    than the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(problems, source.sha256)
    for line, row in walk_objects(source.data, problems):
        parser.take(line, row)
    parser.check_content()
    meta = source_meta(
        source,
        format_name="dynamo",
        content=LENGTHS_ONLY if parser.size is None else _HASHES,
        block_size=parser.size,
        notes=parser.notes(),
        clock_start_ns=0,
        shared_ids=True,
    )
    read = parser.rows + problems.total - parser.told
    # Records stand in the order in which requests end.
    return content_trace(parser.requests, source, problems, meta, read=read, note_disorder=False)


@dataclass(slots=True)
class _Parser:
    """Turns records into requests, and keeps what all of them must agree on."""

    problems: ProblemList
    sha256: str
    requests: list[ContentRequest] = field(default_factory=list)
    rows: int = 0
    told: int = 0
    size: int | None = None
    _size_line: int = 0
    _lines: dict[str, int] = field(default_factory=dict)
    _skipped: int = 0
    _late: int = 0
    _tails: int = 0

    def take(self, line: int, row: Mapping[str, object]) -> None:
        """Add the request of a record, or what is wrong with it."""
        event = row.get("event", row)
        if isinstance(event, Mapping) and event.get("event_type") in _OTHERS:
            self._skipped += 1
            return
        self.rows += 1
        if not isinstance(event, Mapping):
            self._tell(line, f"event must be an object (got {shown(event)})")
            return
        record = CheckedRow(event)
        found = self._request(line, record)
        for fault in dict.fromkeys(record.faults):
            self._tell(line, fault)
        if record.faults or found is None:
            return
        if found.output_tokens:
            self.requests.append(found)
        else:
            self.problems.leave_out(line, NO_RESPONSE)

    def check_content(self) -> None:
        """Tell which requests have no hashes while others do."""
        for request in self.requests:
            if request.block_ids is None and self.size is not None:
                self._tell(request.line, "lacks request.replay, which other records have")

    def notes(self) -> list[str]:
        """Return what was passed over and what was assumed."""
        found = []
        if self._skipped:
            found.append(f"{self._skipped:,} events of tools and payloads were passed over")
        if self._late:
            found.append(
                f"{self._late:,} requests say neither when they were received nor how long they "
                "took: they are taken to arrive when they end"
            )
        if self._tails:
            found.append(
                f"{self._tails:,} partial last blocks have no hash: each is taken for one that "
                "never comes again"
            )
        return found

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def _request(self, line: int, record: CheckedRow) -> ContentRequest | None:
        _check_kind(record)
        request = record.within("request")
        if request is None:
            if not record.faults:
                record.lacks("request")
            return None
        self._check_name(line, request)
        output_tokens = request.tokens("output_tokens", lowest=0)
        arrival_ns, late = _arrival_ns(record, request)
        other = _other(record, request)
        session = _session(record)
        input_tokens, ids, bare_tail = self._content(line, request)
        if not record.faults:
            self._late += late
            self._tails += bare_tail
        return ContentRequest(
            line=line,
            arrival_ns=arrival_ns,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            block_ids=ids,
            session=session,
            other=other,
        )

    def _check_name(self, line: int, request: CheckedRow) -> None:
        name = request.text("request_id")
        if name is None:
            return
        first = self._lines.setdefault(name, line)
        if first != line:
            request.faults.append(
                f"request.request_id stands on line {first} already (got {shown(name)})"
            )

    def _content(self, line: int, request: CheckedRow) -> tuple[int, list[int] | None, bool]:
        """Return the length of a prompt, its blocks, and whether the last one had no hash."""
        replay = request.within("replay")
        if replay is None:
            return request.tokens("input_tokens"), None, False
        size = replay.tokens("trace_block_size")
        tokens = replay.tokens("input_length")
        ids = replay.integers("input_sequence_hashes", lowest=0, highest=2**64 - 1)
        if ids is None and not replay.faults:
            replay.lacks("input_sequence_hashes")
        if replay.faults or ids is None:
            return tokens, None, False
        covered = covering(ids, tokens=tokens, size=size, fresh=fresh_id(self.sha256, line))
        if covered is None:
            replay.faults.append(
                f"input_length {tokens} in blocks of {size} needs {-(-tokens // size)} "
                f"input_sequence_hashes (got {len(ids)})"
            )
            return tokens, None, False
        if self.size is None:
            self.size, self._size_line = size, line
        elif size != self.size:
            replay.faults.append(
                f"request.replay.trace_block_size is {self.size} on line {self._size_line} "
                f"(got {size})"
            )
        return tokens, *covered


def _arrival_ns(record: CheckedRow, request: CheckedRow) -> tuple[int, bool]:
    """Return when a request was received, and whether that is when it ended, for want of better."""
    end_ms = record.integer("event_time_unix_ms", lowest=0, highest=_LARGEST_MS)
    start_ms = request.integer_or_none("request_received_ms", lowest=0, highest=_LARGEST_MS)
    took_ns = request.duration_ns("total_time_ms", unit_ns=NS_PER_MS)
    if start_ms is not None:
        return start_ms * NS_PER_MS, False
    return max(end_ms * NS_PER_MS - (took_ns or 0), 0), took_ns is None


def _check_kind(record: CheckedRow) -> None:
    schema, kind = record.text("schema"), record.text("event_type")
    if record.faults:
        return
    if schema not in _SCHEMAS:
        record.faults.append(f"schema must be {' or '.join(_SCHEMAS)} (got {shown(schema)})")
    elif kind != _REQUEST:
        known = ", ".join((_REQUEST, *_OTHERS))
        record.faults.append(f"event_type must be one of {known} (got {shown(kind)})")


def _session(record: CheckedRow) -> str | None:
    """Return the name of a session: of the run, and of the lane of it where there are several."""
    context = record.within("agent_context")
    if context is None:
        return None
    names = [context.text(*_RUNS), context.text(*_LANES)]
    return "/".join(name for name in names if name) or None


def _other(record: CheckedRow, request: CheckedRow) -> dict[str, object]:
    """Return what was measured, and the source's own values."""
    found: dict[str, object] = {
        "recorded_hit_tokens": request.integer_or_none(
            "cached_tokens", lowest=0, highest=LARGEST_TOKENS
        ),
        "recorded_ttft_ns": request.duration_ns("ttft_ms", unit_ns=NS_PER_MS),
        "recorded_e2e_ns": request.duration_ns("total_time_ms", unit_ns=NS_PER_MS),
        "model": request.text("model"),
        "source_request_id": request.text("request_id"),
    }
    finish = request.within("finish_reason_metadata")
    if finish is not None:
        found["finish_reason"] = finish.text("finish_reason")
    own = request.rest("replay", "worker", "finish_reason_metadata", "input_tokens")
    context = record.within("agent_context")
    return joined_values(own, found | ({} if context is None else context.rest(*_RUNS)))


DYNAMO = Reader(
    name="dynamo",
    suffixes=(".jsonl",),
    meaning="JSON lines: request_end records of Dynamo, with chained 64-bit block hashes",
    content="chained block hashes, equal in all files of a deployment; responses have none",
    sessions="agent_context: session_id, with trajectory_id where there is one",
    assumes="a partial last block without a hash never comes again",
    sniff=looks_like_dynamo,
    read=read_dynamo,
    shapes=_SHAPES,
)
