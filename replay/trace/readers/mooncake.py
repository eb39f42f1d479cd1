"""Mooncake traces: one JSON object a line, block ids of 512 tokens, prefix-chained.

    {"timestamp": 0, "input_length": 2290, "output_length": 316, "hash_ids": [0, 42, 43, 44, 45]}

Times are whole milliseconds, `hash_ids` has ceil(input_length / block size) ids, the last one
possibly partial (format and example: https://github.com/kvcache-ai/Mooncake, FAST25-release).
A plain file is scanned byte by byte in a kernel; a file with other keys, or with anything that is
not plain, is walked line by line, which is slower and says exactly what is wrong and where.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from replay.kernels.mooncake_lines import NOT_PLAIN, scan_lines
from replay.trace.blocks import flat_blocks
from replay.trace.frame import (
    SESSIONS_NONE,
    SESSIONS_SOURCE,
    Trace,
    TraceMeta,
    canonical_trace,
)
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import check_chained, hint_at_sizes
from replay.trace.readers.json_lines import walk_objects
from replay.trace.readers.named_sessions import with_turns
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns
from replay.units import NS_PER_MS

BLOCK_SIZE = 512
NUMBERS = ("timestamp", "input_length", "output_length")
KEYS = (*NUMBERS, "hash_ids")
_SCHEMA = {name: pl.Int64() for name in NUMBERS} | {"hash_ids": pl.List(pl.Int64)}
_LIMITS = {
    "timestamp": (0, (2**63 - 1) // NS_PER_MS),
    "input_length": (1, 2**31 - 1),
    "output_length": (1, 2**31 - 1),
}
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a file, KEYS and the source's scalar columns, with the line of each.

    `session` is the column of the names of sessions, where the source has such.
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
    return head.lstrip().startswith(b"{") and b'"hash_ids"' in head


def read_mooncake(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a Mooncake file; blocks have 512 tokens unless the options say else.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    size = options.block_size or BLOCK_SIZE
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows = _parse_plain(source.data) or _parse_lines(source.data, problems)
    read = rows.frame.height + problems.total
    if not read:
        problems.add("no requests")
    for check in (_check_numbers, _check_order, partial(_check_blocks, size=size)):
        if rows.frame.height:
            check(rows, problems)
        if problems.put_aside:
            rows = rows.kept(problems.settle(rows.lines, read=read))
    problems.settle(rows.lines, read=read)
    frame, sessions = _with_sessions(_renamed(rows.frame), rows.session)
    meta = TraceMeta(
        path=source.path,
        name=source.name,
        sha256=source.sha256,
        format="mooncake",
        block_size=size,
        content="prefix-chained block ids of the source; responses have none",
        sessions=sessions,
        rejected_rows=len(problems.rejected),
        notes=rows.notes,
    )
    return replace(canonical_trace(frame, meta), rejected=source.put_aside(problems))


def _parse_plain(data: bytes) -> _Rows | None:
    """Return the rows of a file of nothing but the four keys on each line, else None."""
    padded = data if data.endswith(b"\n") else data + b"\n"
    most = padded.count(b"\n")
    numbers, lines = np.empty((most, len(NUMBERS)), np.int64), np.empty(most, np.int64)
    offsets, ids = np.empty(most + 1, np.int64), np.empty(padded.count(b",") + 1, np.int64)
    rows = scan_lines(np.frombuffer(padded, np.uint8), numbers, lines, offsets, ids)
    if rows == NOT_PLAIN:
        return None
    counts = np.diff(offsets[: rows + 1])
    columns = {name: numbers[:rows, place] for place, name in enumerate(NUMBERS)}
    blocks = list_column(ids[: offsets[rows]], counts).alias("hash_ids")
    empty = pl.lit([], pl.List(pl.Int64))  # a fault that the checks will tell
    frame = pl.DataFrame(columns).with_columns(blocks)
    if not counts.all():
        frame = frame.with_columns(pl.col("hash_ids").fill_null(empty))
    return _Rows(frame, lines[:rows])


def _parse_lines(data: bytes, problems: ProblemList) -> _Rows:
    lines: list[int] = []
    columns: dict[str, list[object]] = {name: [] for name in KEYS}
    rest: list[dict[str, object]] = []
    for line, row in walk_objects(data, problems):
        faults = _faults(row)
        for fault in faults:
            problems.add(fault, line=line)
        if faults:
            continue
        for name in KEYS:
            columns[name].append(row.pop(name))
        rest.append(row)
        lines.append(line)
    other, keys = scalar_columns(rest, taken=KEYS)
    frame = pl.DataFrame(columns, schema=_SCHEMA).with_columns(other)
    session = keys.renamed.get("session_id")
    return _Rows(frame, np.array(lines, np.int64), dropped_note(keys), session)


def _faults(row: dict[str, object]) -> list[str]:
    faults = []
    missing = [name for name in KEYS if name not in row]
    if missing:
        got = f"got {', '.join(map(shown, row)) or 'no keys'}"
        faults.append(f"lacks {', '.join(missing)} ({got})")
    for name in NUMBERS:
        if name in row and type(row[name]) is not int:
            faults.append(f"{name} must be an integer (got {shown(row[name])})")
        elif name in row and row[name] not in _INT64:
            faults.append(f"{name} is out of range (got {shown(row[name])})")
    ids = row.get("hash_ids", [])
    if not isinstance(ids, list):
        return [*faults, f"hash_ids must be a list of integers (got {shown(ids)})"]
    for at, value in enumerate(ids):
        if type(value) is not int:
            return [*faults, f"hash_ids[{at}] must be an integer (got {shown(value)})"]
        if value not in _INT64:
            return [*faults, f"hash_ids[{at}] is out of range (got {shown(value)})"]
    return faults


def _check_numbers(rows: _Rows, problems: ProblemList) -> None:
    for name, (lowest, highest) in _LIMITS.items():
        values = rows.frame[name].to_numpy()

        def message(row: int, *, name: str = name, values: np.ndarray = values) -> str:
            lowest, highest = _LIMITS[name]
            return f"{name} must be between {lowest} and {highest} (got {values[row]})"

        wrong = np.flatnonzero((values < lowest) | (values > highest))
        problems.add_rows(wrong, message, lines=rows.lines)


def _check_order(rows: _Rows, problems: ProblemList) -> None:
    times = rows.frame["timestamp"].to_numpy()
    latest = np.maximum.accumulate(times)
    late = np.flatnonzero(times[1:] < latest[:-1]) + 1

    def message(row: int) -> str:
        before = int(np.flatnonzero(times[:row] == latest[row - 1])[-1])
        return (
            f"timestamp is before that of line {rows.lines[before]} "
            f"(got {times[row]} after {times[before]})"
        )

    problems.add_rows(
        late,
        message,
        lines=rows.lines,
    )
    if len(late):
        problems.hint("sort the lines by timestamp with a stable sort, so that ties stay in order")


def _check_blocks(rows: _Rows, problems: ProblemList, *, size: int) -> None:
    flat = flat_blocks(rows.frame["hash_ids"])
    lengths = rows.frame["input_length"].to_numpy()
    wanted = -(-lengths // size)
    short = np.flatnonzero((flat.counts != wanted) & (lengths > 0))
    problems.add_rows(
        short,
        lambda row: (
            f"input_length {lengths[row]} in blocks of {size} needs {wanted[row]} hash_ids "
            f"(got {flat.counts[row]})"
        ),
        lines=rows.lines,
    )
    owner = flat.requests
    negative = np.flatnonzero(flat.ids < 0)
    problems.add_rows(
        negative,
        lambda place: f"a block id must be between 0 and 2^63 - 1 (got {flat.ids[place]})",
        lines=rows.lines[owner],
    )
    if len(short):
        hint_at_sizes(problems, lengths, flat.counts)
    elif not len(negative) and lengths.min() > 0:
        check_chained(flat, problems, input_tokens=lengths, block_size=size, lines=rows.lines)


def _renamed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return canonical columns in place of the format's own four."""
    return frame.select(
        arrival_ns=pl.col("timestamp") * NS_PER_MS,
        input_tokens=pl.col("input_length").cast(pl.Int32),
        output_tokens=pl.col("output_length").cast(pl.Int32),
        block_ids=pl.col("hash_ids").cast(pl.List(pl.UInt64)),
    ).with_columns(frame.drop(KEYS).get_columns())


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
    content="prefix-chained block ids; responses have none",
    sessions="inferred by prefix chaining, unless every row has a session_id",
    assumes="blocks of 512 tokens, unless --trace-block-size says otherwise",
    sniff=looks_like_mooncake,
    read=read_mooncake,
    takes=("block_size",),
)
