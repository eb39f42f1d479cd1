"""LMCache look-up logs: JSON lines, a look-up on each, with the hashes of its chunks.

    {"timestamp": 1711929600.123, "request_id": "req-1", "model_name": "m", "chunk_size": 256,
     "seq_len": 700, "dtypes": ["bfloat16"], "shapes": [[2, 32, 256, 1024]],
     "chunk_hashes": ["0xabcd1234", "0xef567890"]}

What `lmcache server --lookup-hash-log-dir` writes (https://github.com/LMCache/LMCache,
lmcache/v1/mp_observability/subscribers/logging/lookup_hash.py): `timestamp` in seconds since 1970,
`seq_len` tokens of the prompt, and a hash for each full chunk of it, of the chunk and all that
precedes it. The partial last chunk has none and is never found again. Responses are not in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from replay.trace.frame import Trace
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import covering, fresh_id
from replay.trace.readers.checked_row import CheckedRow
from replay.trace.readers.content_requests import (
    NO_OUTPUT,
    ContentRequest,
    content_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, LIST, NUMBER, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import joined_values
from replay.units import NS_PER_S

_LARGEST_CHUNK = 2**20
_LISTS = ("dtypes", "shapes", "chunk_hashes")
_SHAPES = (
    RowShape(
        (
            key("chunk_hashes", kind=LIST),
            key("chunk_size", kind=INTEGER),
            key("seq_len", kind=INTEGER),
            key("timestamp", kind=NUMBER),
        )
    ),
)


def looks_like_lmcache_lookups(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of an LMCache look-up log."""
    return fits_any(head, _SHAPES)


def read_lmcache_lookups(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in an LMCache look-up log; its rows say how large their chunks are.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    source = as_lines(source, problems)
    parser = _Parser(problems, source.sha256)
    for line, row in walk_objects(source.data, problems):
        parser.take(line, row)
    meta = source_meta(
        source,
        format_name="lmcache-lookups",
        content="chained chunk hashes of the source; responses have none",
        block_size=parser.size,
        notes=parser.notes(),
        clock_start_ns=0,
        shared_ids=True,
    )
    read = parser.rows + problems.total - parser.told
    return content_trace(parser.requests, source, problems, meta, read=read)


@dataclass(slots=True)
class _Parser:
    """Turns look-ups into requests, and keeps what all of them must agree on."""

    problems: ProblemList
    sha256: str
    requests: list[ContentRequest] = field(default_factory=list)
    rows: int = 0
    told: int = 0
    size: int | None = None
    _size_line: int = 0
    _tails: int = 0

    def take(self, line: int, values: Mapping[str, object]) -> None:
        """Add the request of a look-up, or what is wrong with it."""
        self.rows += 1
        row = CheckedRow(values)
        request = self._request(line, row)
        for fault in row.faults:
            self.problems.add(fault, line=line)
        self.told += len(row.faults)
        if not row.faults:
            self.requests.append(request)

    def notes(self) -> list[str]:
        """Return what was assumed."""
        found = [NO_OUTPUT] if self.requests else []
        if self._tails:
            found.append(
                f"{self._tails:,} partial last chunks have no hash: each is taken for one that "
                "never comes again"
            )
        return found

    def _request(self, line: int, row: CheckedRow) -> ContentRequest:
        size = row.integer("chunk_size", lowest=1, highest=_LARGEST_CHUNK)
        tokens = row.tokens("seq_len")
        arrival_ns = row.duration_ns("timestamp", unit_ns=NS_PER_S)
        if arrival_ns is None and not row.faults:
            row.lacks("timestamp")
        ids = _ids(row)
        covered = None
        if not row.faults:
            fresh = fresh_id(self.sha256, line)
            covered = covering(ids, tokens=tokens, size=size, fresh=fresh)
        if not row.faults and covered is None:
            row.faults.append(
                f"seq_len {tokens} in chunks of {size} has {tokens // size} full ones "
                f"(got {len(ids)} chunk_hashes)"
            )
        if not row.faults and self.size is None:
            self.size, self._size_line = size, line
        elif not row.faults and size != self.size:
            row.faults.append(f"chunk_size is {self.size} on line {self._size_line} (got {size})")
        model, name = row.text("model_name"), row.text("request_id")
        if not row.faults and covered:
            self._tails += covered[1]
        made = {"model": model or None, "source_request_id": name or None}
        return ContentRequest(
            line=line,
            arrival_ns=arrival_ns or 0,
            input_tokens=tokens,
            output_tokens=1,
            block_ids=covered[0] if covered else None,
            other=joined_values(row.rest(*_LISTS), made),
        )


def _ids(row: CheckedRow) -> list[int]:
    """Return hashes as integers of 64 bits: hexadecimal ones as they are, longer ones hashed."""
    hashes = row.values.get("chunk_hashes")
    if not isinstance(hashes, list):
        row.faults.append(f"chunk_hashes must be a list of texts (got {shown(hashes)})")
        return []
    found = []
    for place, one in enumerate(hashes):
        if not isinstance(one, str):
            row.faults.append(f"chunk_hashes[{place}] must be text (got {shown(one)})")
            return []
        found.append(_id(one))
    return found


def _id(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = 2**64
    if -(2**63) <= value < 2**64:
        return value % 2**64
    digest = hashlib.blake2b(text.encode(errors="backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


LMCACHE_LOOKUPS = Reader(
    name="lmcache-lookups",
    suffixes=(".jsonl",),
    meaning="JSON lines of LMCache's look-up log: timestamp in s, seq_len, chunk_hashes",
    content="chained chunk hashes, equal in all files of a deployment; responses have none",
    sessions="none: inferred by prefix chaining",
    assumes="a partial last chunk never comes again; responses of one token",
    sniff=looks_like_lmcache_lookups,
    read=read_lmcache_lookups,
    shapes=_SHAPES,
)
