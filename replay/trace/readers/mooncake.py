"""Mooncake traces: one JSON object a line, block ids of 512 tokens, prefix-chained.

    {"timestamp": 0, "input_length": 2290, "output_length": 316, "hash_ids": [0, 42, 43, 44, 45]}

Times are milliseconds, `hash_ids` has ceil(input_length / block size) ids, the last one possibly
partial (format and example: https://github.com/kvcache-ai/Mooncake, FAST25-release). A key of this
program's own, `response_hash_ids`, has those of the full blocks that the response completes. AIPerf
and Dynamo write times with decimals, and AIPerf takes rows without hash_ids. A plain file is
scanned byte by byte in a kernel; a file with other keys, or with anything that is not plain, is
walked line by line, which is slower and says exactly what is wrong and where.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl

from replay.kernels.tree.mooncake_lines import NOT_PLAIN, scan_lines
from replay.trace.blocks import FlatBlocks, flat_blocks
from replay.trace.frame import (
    SESSIONS_NONE,
    SESSIONS_SOURCE,
    Trace,
    TraceMeta,
    canonical_trace,
)
from replay.trace.lists import list_column
from replay.trace.priorities import PRIORITY, priority_faults
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import (
    bare_note,
    check_chained,
    hint_at_sizes,
    sizes_that_fit,
    with_fresh,
)
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS
from replay.trace.readers.column_tables import TableColumn
from replay.trace.readers.column_values import Telling, times_in
from replay.trace.readers.content_requests import LENGTHS_ONLY
from replay.trace.readers.decimals import is_number
from replay.trace.readers.json_lines import walk_objects
from replay.trace.readers.mooncake_deltas import BLOCK_SIZE
from replay.trace.readers.named_sessions import with_turns
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, LIST, NUMBER, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns
from replay.units import NS_PER_MS

LENGTHS = ("input_length", "output_length")
NUMBERS = ("timestamp", *LENGTHS)
_IDS = "hash_ids"
RESPONSE_IDS = "response_hash_ids"  # replay's own: the full blocks a response completes
_SCHEMA = dict.fromkeys(("arrival_ns", *LENGTHS), pl.Int64()) | {_IDS: pl.List(pl.Int64)}
_SHORTEST_ROW = len('{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[]}')
_LARGEST_MS = LARGEST_NS // NS_PER_MS
_INT64 = range(-(2**63), 2**63)
_TIME = re.compile(
    rb'"timestamp"[ \t\r]*:[ \t\r]*'
    rb"((?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?=[ \t\r,}])"
)
_NO_TEXTS = frozenset(("messages", "payload", "text_input", "requests", "conversations", "turns"))
_SHAPES = (
    RowShape(
        (
            key("timestamp", kind=NUMBER),
            key("input_length", kind=INTEGER),
            key("output_length", kind=INTEGER),
            key(_IDS, kind=LIST, optional=True),
        ),
        never=_NO_TEXTS,
    ),
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a file: arrival_ns, LENGTHS, ids and the source's scalar columns, by line.

    Ids are null where a row has none. `session` is the column of the names of sessions, where the
    source has such.
    """

    frame: pl.DataFrame
    lines: np.ndarray
    notes: tuple[str, ...] = ()
    session: str | None = None

    def kept(self, keep: np.ndarray) -> _Rows:
        if keep.all():
            return self
        return replace(self, frame=self.frame.filter(keep), lines=self.lines[keep])


def looks_like_mooncake(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Mooncake trace."""
    return fits_any(head, _SHAPES)


def read_mooncake(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a Mooncake file, in blocks of the size that the options say.

    Otherwise they have 512 tokens, or where these do not fit the rows the only size that does.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows = _parse_plain(source.data) or _parse_lines(source.data, problems)
    read = rows.frame.height + problems.total
    if not read:
        problems.add("no requests")
    known = bool(rows.frame[_IDS].list.len().fill_null(0).sum())
    size = options.block_size or _size_that_fits(rows)
    checks: list[Callable[[_Rows, ProblemList], None]] = [_check_lengths, _check_order]
    if known:
        checks.append(partial(_check_counts, size=size))
    for check in checks:
        if rows.frame.height:
            check(rows, problems)
        if problems.put_aside:
            rows = rows.kept(problems.settle(rows.lines, read=read))
    rows = rows.kept(problems.settle(rows.lines, read=read))
    if known and RESPONSE_IDS in rows.frame.columns:
        _check_responses(rows, problems, size=size)
        rows = rows.kept(problems.settle(rows.lines, read=read))
    if known:  # the lengths and counts of these are right, so that what remains is told by line
        _check_chaining(rows, problems, size=size)
        rows = rows.kept(problems.settle(rows.lines, read=read))
    frame, bare = _renamed(rows, source.sha256, size=size if known else None)
    frame, sessions = _with_sessions(frame, rows.session)
    have = "have them too" if "response_block_ids" in frame.columns else "have none"
    chained = f"prefix-chained block ids of the source; responses {have}"
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format="mooncake",
        block_size=size if known else None,
        content=chained if known else LENGTHS_ONLY,
        sessions=sessions,
        rejected_rows=len(problems.rejected),
        notes=(*rows.notes, *_size_note(options, size if known else None), *bare_note(bare)),
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _parse_plain(data: bytes) -> _Rows | None:
    """Return the rows of a file of nothing but the four keys on each line, else None.

    Times with decimals are taken out of the lines and read by their digits.
    """
    rows = _scanned(data)
    if rows is not None or b"." not in data:
        return rows
    times = _TIME.findall(data)
    rows = _scanned(_TIME.sub(b'"timestamp":0', data))
    if rows is None or rows.frame.height != len(times):
        return None
    texts = pl.Series("timestamp", [time.decode() for time in times], pl.String)
    problems = ProblemList("")
    column = TableColumn("timestamp", texts, is_text=True)
    arrival_ns = times_in(column, Telling(problems, rows.lines), unit="ms")
    if problems.total:
        return None
    return replace(rows, frame=rows.frame.with_columns(arrival_ns.alias("arrival_ns")))


def _scanned(data: bytes) -> _Rows | None:
    padded = data if data.endswith(b"\n") else data + b"\n"
    most = min(padded.count(b"\n"), len(padded) // _SHORTEST_ROW + 1)  # the others are blank
    numbers, lines = np.empty((most, len(NUMBERS)), np.int64), np.empty(most, np.int64)
    offsets, ids = np.empty(most + 1, np.int64), np.empty(padded.count(b",") + 1, np.int64)
    rows = scan_lines(np.frombuffer(padded, np.uint8), numbers, lines, offsets, ids)
    if rows == NOT_PLAIN or numbers[:rows, 0].max(initial=0) > _LARGEST_MS:
        return None
    counts = np.diff(offsets[: rows + 1])
    columns = {name: numbers[:rows, place] for place, name in enumerate(NUMBERS)}
    columns["arrival_ns"] = columns.pop("timestamp") * NS_PER_MS
    blocks = list_column(ids[: offsets[rows]], counts).alias(_IDS)
    frame = pl.DataFrame(columns).select(pl.col("arrival_ns", *LENGTHS)).with_columns(blocks)
    if not counts.all():
        empty = pl.lit([], pl.List(pl.Int64))  # a fault that the checks will tell
        frame = frame.with_columns(pl.col(_IDS).fill_null(empty))
    return _Rows(frame, lines[:rows])


def _parse_lines(data: bytes, problems: ProblemList) -> _Rows:
    lines: list[int] = []
    columns: dict[str, list[object]] = {name: [] for name in _SCHEMA}
    rest: list[dict[str, object]] = []
    responses: list[object] = []
    for line, row in walk_objects(data, problems):
        faults = [*_faults(row), *priority_faults([row.get(PRIORITY)]).values()]
        for fault in faults:
            problems.add(fault, line=line)
        if faults:
            continue
        columns["arrival_ns"].append(int(Decimal(repr(row.pop("timestamp"))) * NS_PER_MS))
        for name in LENGTHS:
            columns[name].append(row.pop(name))
        columns[_IDS].append(row.pop(_IDS, None))
        responses.append(row.pop(RESPONSE_IDS, None))
        rest.append(row)
        lines.append(line)
    other, keys = scalar_columns(rest, taken=_SCHEMA)
    frame = pl.DataFrame(columns, schema=_SCHEMA).with_columns(other)
    if any(responses):
        ids = pl.Series(RESPONSE_IDS, responses, dtype=pl.List(pl.Int64))
        frame = frame.with_columns(ids)
    session = keys.renamed.get("session_id")
    return _Rows(frame, np.array(lines, np.int64), dropped_note(keys), session)


def _faults(row: dict[str, object]) -> list[str]:
    faults = []
    missing = [name for name in NUMBERS if name not in row]
    if missing:
        got = f"got {', '.join(map(shown, row)) or 'no keys'}"
        faults.append(f"lacks {', '.join(missing)} ({got})")
    if "timestamp" in row:
        faults += _time_faults(row["timestamp"])
    for name in LENGTHS:
        if name in row and type(row[name]) is not int:
            faults.append(f"{name} must be an integer (got {shown(row[name])})")
        elif name in row and row[name] not in _INT64:
            faults.append(f"{name} is out of range (got {shown(row[name])})")
    return [*faults, *(fault for name in (_IDS, RESPONSE_IDS) for fault in _id_faults(row, name))]


def _id_faults(row: dict[str, object], name: str) -> list[str]:
    """Return the first fault of a list of ids, which may be missing."""
    ids = row.get(name)
    if ids is not None and not isinstance(ids, list):
        return [f"{name} must be a list of integers (got {shown(ids)})"]
    for at, value in enumerate(ids or ()):
        if type(value) is not int:
            return [f"{name}[{at}] must be an integer (got {shown(value)})"]
        if value not in _INT64:
            return [f"{name}[{at}] is out of range (got {shown(value)})"]
    return []


def _time_faults(time: object) -> list[str]:
    if not is_number(time):
        return [f"timestamp must be a number (got {shown(time)})"]
    if not 0 <= Decimal(repr(time)) <= _LARGEST_MS:
        return [f"timestamp must be between 0 and {_LARGEST_MS} (got {shown(time)})"]
    return []


def _check_lengths(rows: _Rows, problems: ProblemList) -> None:
    for name in LENGTHS:
        values = rows.frame[name].to_numpy()

        def message(row: int, *, name: str = name, values: np.ndarray = values) -> str:
            return f"{name} must be between 1 and {LARGEST_TOKENS} (got {values[row]})"

        wrong = np.flatnonzero((values < 1) | (values > LARGEST_TOKENS))
        problems.add_rows(wrong, message, lines=rows.lines)


def _check_order(rows: _Rows, problems: ProblemList) -> None:
    times = rows.frame["arrival_ns"].to_numpy()
    latest = np.maximum.accumulate(times)
    late = np.flatnonzero(times[1:] < latest[:-1]) + 1

    def message(row: int) -> str:
        before = int(np.flatnonzero(times[:row] == latest[row - 1])[-1])
        return (
            f"timestamp is before that of line {rows.lines[before]} "
            f"(got {times[row] / NS_PER_MS:.15g} after {times[before] / NS_PER_MS:.15g})"
        )

    problems.add_rows(
        late,
        message,
        lines=rows.lines,
    )
    if len(late):
        problems.hint("sort the lines by timestamp with a stable sort, so that ties stay in order")


def _size_that_fits(rows: _Rows) -> int:
    """Return the block size of rows that do not tell it: the format's, or the only that fits."""
    frame = rows.frame.filter(pl.col(_IDS).is_not_null())
    tokens, counts = (
        column.to_numpy() for column in (frame["input_length"], frame[_IDS].list.len())
    )
    fits = sizes_that_fit(tokens, counts.astype(np.int64))
    return fits[0] if len(fits) == 1 and BLOCK_SIZE not in fits else BLOCK_SIZE


def _size_note(options: ReadOptions, size: int | None) -> tuple[str, ...]:
    if size in (None, BLOCK_SIZE) or options.block_size is not None:
        return ()
    return (f"blocks of {size} tokens: the only size that fits all rows, as none is told",)


def _check_counts(rows: _Rows, problems: ProblemList, *, size: int) -> None:
    """Count the rows with too few or too many ids, but those with none at all."""
    flat = flat_blocks(rows.frame[_IDS].fill_null([]))
    bare = rows.frame[_IDS].is_null().to_numpy()
    lengths = rows.frame["input_length"].to_numpy()
    wanted = -(-lengths // size)
    short = np.flatnonzero((flat.counts != wanted) & (lengths > 0) & ~bare)
    problems.add_rows(
        short,
        lambda row: (
            f"input_length {lengths[row]} in blocks of {size} needs {wanted[row]} hash_ids "
            f"(got {flat.counts[row]})"
        ),
        lines=rows.lines,
    )
    _check_signs(rows, flat, problems)
    if len(short):
        hint_at_sizes(problems, lengths[~bare], flat.counts[~bare])


def _check_signs(rows: _Rows, flat: FlatBlocks, problems: ProblemList) -> None:
    problems.add_rows(
        np.flatnonzero(flat.ids < 0),
        lambda place: f"a block id must be between 0 and 2^63 - 1 (got {flat.ids[place]})",
        lines=rows.lines[flat.requests],
    )


def _check_responses(rows: _Rows, problems: ProblemList, *, size: int) -> None:
    """Count the responses with another number of ids than blocks they complete, but for none."""
    flat = flat_blocks(rows.frame[RESPONSE_IDS].fill_null([]))
    tokens, output = (rows.frame[name].to_numpy() for name in LENGTHS)
    wanted = (tokens + output - 1) // size - tokens // size
    problems.add_rows(
        np.flatnonzero((flat.counts != wanted) & (flat.counts > 0)),
        lambda row: (
            f"output_length {output[row]} behind {tokens[row]} tokens completes {wanted[row]} "
            f"blocks of {size} (got {flat.counts[row]} response_hash_ids)"
        ),
        lines=rows.lines,
    )
    _check_signs(rows, flat, problems)


def _check_chaining(rows: _Rows, problems: ProblemList, *, size: int) -> None:
    frame, known = rows.frame, rows.frame[_IDS].is_not_null()
    check_chained(
        flat_blocks(frame[_IDS].filter(known)),
        problems,
        input_tokens=frame["input_length"].filter(known).to_numpy(),
        block_size=size,
        lines=rows.lines[known.to_numpy()],
    )


def _renamed(rows: _Rows, sha256: str, *, size: int | None) -> tuple[pl.DataFrame, int]:
    """Return canonical columns in place of the format's own, and how many rows had no ids.

    These get ids that nothing else has, where blocks of others have ids of the source.
    """
    frame = rows.frame
    renamed = frame.select(
        "arrival_ns",
        input_tokens=pl.col("input_length").cast(pl.Int32),
        output_tokens=pl.col("output_length").cast(pl.Int32),
    )
    others = frame.drop(*_SCHEMA, RESPONSE_IDS, strict=False).get_columns()
    if size is None:
        return renamed.with_columns(others), 0
    tokens = frame["input_length"].to_numpy()
    blocks, bare = with_fresh(frame[_IDS], tokens, size=size, lines=rows.lines, sha256=sha256)
    renamed = renamed.with_columns(blocks.alias("block_ids"), *others)
    if RESPONSE_IDS in frame.columns:
        responses = frame[RESPONSE_IDS].cast(pl.List(pl.UInt64))
        renamed = renamed.with_columns(responses.alias("response_block_ids"))
    return renamed, bare


def _with_sessions(frame: pl.DataFrame, column: str | None) -> tuple[pl.DataFrame, str]:
    """Return the frame with sessions where every row of the source names one, and how."""
    names = None if column is None else frame[column]
    if names is None or names.null_count() or names.dtype == pl.Float64:
        return frame, SESSIONS_NONE
    return with_turns(frame, names), SESSIONS_SOURCE


MOONCAKE = Reader(
    name="mooncake",
    suffixes=(".jsonl", ".ndjson"),
    meaning="JSON lines: timestamp in ms, lengths, prefix-chained hash_ids of 512-token blocks",
    content="prefix-chained block ids, where it has them; responses have none",
    sessions="inferred by prefix chaining, unless every row has a session_id",
    assumes="blocks of 512 tokens, or of the only size that fits, unless --trace-block-size says",
    sniff=looks_like_mooncake,
    read=read_mooncake,
    takes=("block_size",),
    shapes=_SHAPES,
)
