"""LLMServingSim workloads: JSON lines with prompts and responses as token ids, times in ns.

    {"input_toks": 3, "output_toks": 2, "arrival_time_ns": 46926808,
     "input_tok_ids": [5971, 2927, 220], "output_tok_ids": [9, 12]}
    {"session_id": "a", "arrival_time_ns": 0, "sub_requests": [
     {"input_toks": 300, "output_toks": 20, "tool_duration_ns": 1500000000}, ...]}

A row is a request, or a session of them; a file may have both (https://github.com/casys-kaist/
LLMServingSim). Token ids are optional. `tool_duration_ns` passes between the end of a response and
the next request of its session. When a response ends is not in the file: it is assumed to take no
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.checked_row import LARGEST_NS, CheckedRow
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
from replay.trace.readers.shapes import INTEGER, LIST, OBJECTS, RowShape, fits_any, key
from replay.trace.readers.source import Source

_SESSION = "sub_requests"
_LARGEST_TOKEN = 2**32 - 1
_TOKEN_IDS = "token ids of the source, of prompts and, where it has them, of responses"
_ASSUMED_TIMES = (
    "when responses end is not in the source; assumed: a request of a session arrives "
    "tool_duration_ns after the one before it, responses take no time"
)
_TIME = key("arrival_time_ns", kind=INTEGER)
_SHAPES = (
    RowShape(
        (
            key("input_toks", kind=INTEGER),
            key("output_toks", kind=INTEGER),
            _TIME,
            key("input_tok_ids", kind=LIST, optional=True),
        )
    ),
    RowShape((key(_SESSION, kind=OBJECTS), _TIME)),
)


def looks_like_llmservingsim(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an LLMServingSim workload."""
    return fits_any(head, _SHAPES)


def read_llmservingsim(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an LLMServingSim workload: exact to the token where it has token ids.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(problems)
    for line, row in walk_objects(source.data, problems):
        parser.take(line, row)
    known = parser.check_content()
    meta = source_meta(
        source,
        format_name="llmservingsim",
        content=_TOKEN_IDS if known else LENGTHS_ONLY,
        notes=parser.notes(),
    )
    read = parser.rows + problems.total - parser.told
    return content_trace(parser.requests, source, problems, meta, read=read)


@dataclass(slots=True)
class _Parser:
    """Turns rows into requests; counts what the notes say."""

    problems: ProblemList
    requests: list[ContentRequest] = field(default_factory=list)
    rows: int = 0
    told: int = 0
    timed: bool = False
    empty: int = 0

    def take(self, line: int, row: dict[str, object]) -> None:
        """Add the requests of a row, or what is wrong with it."""
        self.rows += 1
        checked = CheckedRow(row)
        found = list(self._requests(line, checked))
        for fault in checked.faults:
            self._tell(line, fault)
        if checked.faults:
            return
        kept = [request for request in found if request.output_tokens]
        if not kept:
            self.problems.leave_out(line, NO_RESPONSE)
        else:
            self.empty += len(found) - len(kept)
        self.requests += kept

    def check_content(self) -> bool:
        """Return whether prompts have token ids; tell which rows have none while others do."""
        known = any(request.tokens is not None for request in self.requests)
        if known:
            bare = {request.line for request in self.requests if request.tokens is None}
            for line in sorted(bare):
                self._tell(line, "lacks input_tok_ids, which other rows have")
        return known

    def notes(self) -> tuple[str, ...]:
        """Return what was assumed and left out."""
        found = [_ASSUMED_TIMES] if self.timed else []
        if self.empty:
            found.append(f"{self.empty:,} sub_requests without a response were left out")
        return tuple(found)

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def _requests(self, line: int, row: CheckedRow) -> Iterator[ContentRequest]:
        arrival_ns = row.integer("arrival_time_ns", lowest=0, highest=LARGEST_NS)
        session = _session(row)
        if row.values.get(_SESSION) is None:
            yield self._request(line, row, arrival_ns, session)
            return
        steps = row.values[_SESSION]
        if not isinstance(steps, list) or not steps:
            row.faults.append(f"{_SESSION} must be a list of requests (got {shown(steps)})")
            return
        self.timed |= len(steps) > 1
        shared = row.rest(_SESSION)
        for place, values in enumerate(steps):
            name = f"{_SESSION}[{place}]"
            if not isinstance(values, dict):
                row.faults.append(f"{name} must be an object (got {shown(values)})")
                return
            step = CheckedRow(values, place=f"{name}.", faults=row.faults)
            wait_ns = step.integer_or_none("tool_duration_ns", lowest=0, highest=LARGEST_NS)
            request = self._request(line, step, arrival_ns, session or f"line {line}", shared)
            yield request
            arrival_ns += wait_ns or 0
            if arrival_ns > LARGEST_NS:
                row.faults.append(f"{name}.tool_duration_ns leads out of range (got {wait_ns})")
                return

    def _request(
        self,
        line: int,
        row: CheckedRow,
        arrival_ns: int,
        session: str | None,
        shared: dict[str, object] | None = None,
    ) -> ContentRequest:
        input_tokens = row.tokens("input_toks")
        output_tokens = row.tokens("output_toks", lowest=0)
        return ContentRequest(
            line=line,
            arrival_ns=arrival_ns,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            tokens=_ids(row, "input_tok_ids", "input_toks", input_tokens),
            response_tokens=_ids(row, "output_tok_ids", "output_toks", output_tokens),
            session=session,
            other={**(shared or {}), **row.rest()},
        )


def _session(row: CheckedRow) -> str | None:
    if type(row.values.get("session_id")) is int:
        return str(row.integer("session_id", lowest=-(2**63), highest=2**63 - 1))
    return row.text("session_id")


def _ids(row: CheckedRow, name: str, length_name: str, length: int) -> list[int] | None:
    ids = row.integers(name, lowest=0, highest=_LARGEST_TOKEN)
    if ids is not None and len(ids) != length and length:
        row.faults.append(
            f"{row.place}{length_name} is {length} (got {len(ids)} {row.place}{name})"
        )
    return ids


LLMSERVINGSIM = Reader(
    name="llmservingsim",
    suffixes=(".jsonl",),
    meaning="JSON lines: input_toks, output_toks, arrival_time_ns, token ids; or sub_requests",
    content="token ids of prompts and responses, where it has them",
    sessions="a row with sub_requests is one; session_id",
    assumes="in a session a request arrives tool_duration_ns after the one before it",
    sniff=looks_like_llmservingsim,
    read=read_llmservingsim,
    shapes=_SHAPES,
)
