"""Tair KVCache optimizer traces: JSON lines of look-ups in a cache, by chained block keys.

    {"type": "get", "instance_id": "instance-a", "trace_id": "t-1", "timestamp_ns": 1000,
     "keys": [101, 102], "input_len": 33, "query_type": "prefix_match", "block_mask": [],
     "sw_size": 0, "location_spec_names": []}
    {"instance_id": "instance-a", "trace_id": "t-1", "timestamp_us": 1, "tokens": [],
     "keys": [101, 102, 103], "query_type": "prefix_match", "block_mask": [], "sw_size": 0,
     "location_spec_names": [], "input_len": 33, "output_len": 12, "total_keys": [101, 102, 104]}

The first is the present form, of full blocks alone; the second the older one, of dialog turns
(https://github.com/alibaba/tair-kvcache, kv_cache_manager/optimizer/docs/strategy_config.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import (
    covering,
    fresh_id,
    powers_of_two_between,
    sizes_between,
    unsigned,
)
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    NO_OUTPUT,
    NO_RESPONSE,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import ANYTHING, INTEGER, LIST, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import joined_values

_NS_PER_US = 1_000
_YEAR_2001_NS = 10**18  # times of traces with a clock of their own are far below
_WRITE = "write"
_READS = ("get", "request", "dialog")
_PREFIX_MATCH = "prefix_match"
_INT64, _UINT64 = -(2**63), 2**64 - 1
_DROPPED = ("tokens", "total_keys", "location_spec_names", "sw_size", "ttl_us", "block_mask")
_SHAPES = (
    RowShape(
        (
            key("instance_id", kind=ANYTHING),
            key("keys", kind=LIST),
            key("input_len", kind=INTEGER),
            key("timestamp_us", "timestamp_ns", kind=INTEGER),
        )
    ),
)


def looks_like_tair(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Tair optimizer trace."""
    return fits_any(head, _SHAPES)


def read_tair(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a Tair optimizer trace; the block size is found unless options say it.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(problems)
    for line, row in walk_objects(source.data, problems):
        parser.take(line, row)
    parser.settle_outputs()
    size = options.block_size or parser.found_size()
    requests = parser.in_blocks(size, source.sha256) if size else []
    times = [request.arrival_ns for request in requests]
    meta = source_meta(
        source,
        format_name="tair",
        content="chained block keys of the source; responses have none",
        block_size=size,
        notes=parser.notes(size, given=options.block_size is not None),
        clock_start_ns=0 if times and min(times) >= _YEAR_2001_NS else None,
    )
    read = parser.rows + problems.total - parser.told
    return content_trace(requests, source, problems, meta, read=read)


@dataclass(slots=True)
class _Parser:
    """Turns rows into requests, and finds how large their blocks are."""

    problems: ProblemList
    rows: int = 0
    told: int = 0
    _found: list[ContentRequest] = field(default_factory=list)
    _writes: int = 0
    _silent: int = 0
    _unsaid: set[int] = field(default_factory=set)
    _tails: int = 0

    def take(self, line: int, values: Mapping[str, object]) -> None:
        """Add the request of a row, or what is wrong with it; writes are passed over."""
        if values.get("type") == _WRITE:
            self._writes += 1
            return
        self.rows += 1
        row = CheckedRow(values)
        request = self._request(line, row)
        for fault in row.faults:
            self._tell(line, fault)
        if row.faults:
            return
        query = values.get("query_type")
        if query not in (None, _PREFIX_MATCH):
            self.problems.leave_out(line, f"no prefix look-up (query_type {shown(query)})")
        else:
            self._found.append(request)

    def settle_outputs(self) -> None:
        """Assume one token where the length of a response is not said, or is 0 in every row.

        A 0 among others is a look-up whose request failed, and is left out.
        """
        said = any(request.output_tokens for request in self._found)
        found = []
        for request in self._found:
            if request.output_tokens:
                found.append(request)
            elif said and request.line not in self._unsaid:
                self.problems.leave_out(request.line, NO_RESPONSE)
            else:
                self._silent += 1
                found.append(replace(request, output_tokens=1))
        self._found = found

    def found_size(self) -> int | None:
        """Return the only power of two that fits every row as a block size; else tell why not."""
        if not self._found:
            return None
        tokens, counts = self._shapes()
        lowest, highest = sizes_between(tokens, counts)
        fits = powers_of_two_between(lowest, highest)
        if len(fits) == 1:
            return fits[0]
        if fits:
            words = ", ".join(map(str, fits[:4]))
            self.problems.add(f"its keys fit blocks of several sizes (got {words} ...)")
        else:
            self.problems.add("no power of two is a block size that fits the keys of every row")
            if lowest <= highest:
                self.problems.hint(f"sizes from {lowest} to {highest} fit")
        self.problems.hint("say it by --trace-block-size")
        return None

    def in_blocks(self, size: int, sha256: str) -> list[ContentRequest]:
        """Return the requests with an id for each block of that size; tell of those that misfit."""
        kept = []
        for request in self._found:
            tokens, ids = request.input_tokens, list(request.block_ids or ())
            fresh = fresh_id(sha256, request.line)
            covered = covering(ids, tokens=tokens, size=size, fresh=fresh)
            if covered is None:
                self._tell(
                    request.line,
                    f"input_len {tokens} in blocks of {size} needs {tokens // size} or "
                    f"{-(-tokens // size)} keys (got {len(ids)})",
                )
                continue
            self._tails += covered[1]
            kept.append(replace(request, block_ids=covered[0]))
        return kept

    def notes(self, size: int | None, *, given: bool) -> list[str]:
        """Return what was found, passed over and assumed."""
        found = []
        if not given:
            found.append(f"blocks have {size} tokens: the only power of two that fits every row")
        if self._writes:
            found.append(f"{self._writes:,} writes to the cache were passed over")
        if self._silent:
            found.append(NO_OUTPUT)
        if self._tails:
            found.append(
                f"{self._tails:,} partial last blocks have no key: each is taken for one that "
                "never comes again"
            )
        return found

    def _tell(self, line: int, fault: str) -> None:
        self.problems.add(fault, line=line)
        self.told += 1

    def _shapes(self) -> tuple[np.ndarray, np.ndarray]:
        tokens = [request.input_tokens for request in self._found]
        counts = [len(request.block_ids or ()) for request in self._found]
        return np.array(tokens, np.int64), np.array(counts, np.int64)

    def _request(self, line: int, row: CheckedRow) -> ContentRequest:
        kind = row.text("type")
        if kind is not None and kind not in _READS:
            known = ", ".join((*_READS, _WRITE))
            row.faults.append(f"type must be one of {known} (got {shown(kind)})")
        ids = row.integers("keys", lowest=_INT64, highest=_UINT64)
        if ids is None and not row.faults:
            row.lacks("keys")
        tokens = row.tokens("input_len")
        output_tokens = row.integer_or_none("output_len", lowest=0, highest=LARGEST_TOKENS)
        if output_tokens is None:
            self._unsaid.add(line)
        row.text("query_type")
        request = ContentRequest(
            line=line,
            arrival_ns=_time_ns(row),
            input_tokens=tokens,
            output_tokens=output_tokens or 0,
            block_ids=unsigned(ids or []),
        )
        local = _local_blocks(row)
        return replace(request, other=joined_values(row.rest(*_DROPPED), local))


def _time_ns(row: CheckedRow) -> int:
    time_ns = row.integer_or_none("timestamp_ns", lowest=0, highest=LARGEST_NS)
    if time_ns is not None or row.values.get("timestamp_ns") is not None:
        return time_ns or 0
    name = "timestamp_us" if row.values.get("timestamp_us") is not None else "timestamp_ns"
    return _NS_PER_US * row.integer(name, lowest=0, highest=LARGEST_NS // _NS_PER_US)


def _local_blocks(row: CheckedRow) -> dict[str, object]:
    """Return how many blocks from the start the engine had itself, where `block_mask` says so."""
    mask = row.values.get("block_mask")
    if not isinstance(mask, list):
        blocks = row.integer_or_none("block_mask", lowest=0, highest=2**31 - 1)
        return {} if blocks is None else {"local_hit_blocks": blocks}
    if not all(isinstance(one, bool) for one in mask):
        row.faults.append(f"block_mask must hold truths, or be a number (got {shown(mask)})")
    blocks = next((place for place, one in enumerate(mask) if one is not True), len(mask))
    return {"local_hit_blocks": blocks} if mask else {}


TAIR = Reader(
    name="tair",
    suffixes=(".jsonl",),
    meaning="JSON lines of the Tair KVCache optimizer: instance_id, timestamp, keys, input_len",
    content="chained block keys; responses have none",
    sessions="none: inferred by prefix chaining",
    assumes="the only block size that fits, unless --trace-block-size says it; responses of one "
    "token where their length is not there",
    sniff=looks_like_tair,
    read=read_tair,
    takes=("block_size",),
    shapes=_SHAPES,
)
