"""Bailian (Qwen) traces: one JSON object a line, ids of 16-token blocks that name a block alone.

    {"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 521,
     "output_length": 132, "type": "text", "turn": 2, "hash_ids": [1089, 1090, 1091, ..., 13148]}

Times are seconds, lengths tokens, `hash_ids` has ceil(input_length / 16) ids, the last one possibly
of a partial block (https://github.com/alibaba-edu/qwen-bailian-usagetraces-anon). Each id is the
hash of its block alone, so the ids are chained here. A conversation is what `parent_chat_id` links.
A plain file is read by Polars; a file with other keys, or with anything that is not plain, is
walked line by line, which is slower and says exactly what is wrong and where.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from replay.trace.blocks import flat_blocks
from replay.trace.chain import chained
from replay.trace.frame import SESSIONS_SOURCE, Trace, canonical_trace
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList
from replay.trace.readers.block_checks import bare_note, hint_at_sizes, with_fresh
from replay.trace.readers.checked_row import LARGEST_NS, LARGEST_TOKENS, CheckedRow
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    frame_trace,
    source_meta,
)
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.named_sessions import with_turns
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.shapes import INTEGER, LIST, NUMBER, RowShape, fits_any, key
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import dropped_note, scalar_columns
from replay.units import NS_PER_S

BLOCK_SIZE = 16
_ROOT = -1
_LARGEST_ID = 2**63 - 1
_PLAIN: dict[str, pl.DataType] = {
    "chat_id": pl.Int64(),
    "parent_chat_id": pl.Int64(),
    "timestamp": pl.Float64(),
    "input_length": pl.Int64(),
    "output_length": pl.Int64(),
    "type": pl.String(),
    "turn": pl.Int64(),
    "hash_ids": pl.List(pl.Int64),
}
_RANGES = {
    "chat_id": (0, _LARGEST_ID),
    "parent_chat_id": (_ROOT, _LARGEST_ID),
    "arrival_ns": (0, LARGEST_NS),
    "input_tokens": (1, LARGEST_TOKENS),
    "output_tokens": (0, LARGEST_TOKENS),
    "source_turn": (1, LARGEST_TOKENS),
}
_COLUMNS = {
    "input_length": "input_tokens",
    "output_length": "output_tokens",
    "turn": "source_turn",
    "hash_ids": "block_ids",
}
_SHAPES = (
    RowShape(
        (
            key("chat_id", kind=INTEGER),
            key("parent_chat_id", kind=INTEGER),
            key("timestamp", kind=NUMBER),
            key("input_length", kind=INTEGER),
            key("output_length", kind=INTEGER),
            key("hash_ids", kind=LIST, optional=True),
        )
    ),
)
_CHAINED = "block ids of the source, chained on reading; responses have none"
_EXACT_NS = 2**50  # up to here a float of seconds tells every ns from the next


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows by canonical column, ids not chained, with the line of each; `read` were in the file."""

    frame: pl.DataFrame
    lines: np.ndarray
    read: int
    notes: tuple[str, ...] = ()


def looks_like_bailian(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Bailian trace."""
    return fits_any(head, _SHAPES)


def read_bailian(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a Bailian file; blocks have 16 tokens unless the options say else.

    Raises TraceError that names the line of each row that breaks the format, where more do than
    the options allow.
    """
    size = options.block_size or BLOCK_SIZE
    problems = ProblemList(source.path, allowed=options.max_rejected)
    rows = _parse_plain(source.data)
    if rows is None:
        source = as_lines(source, problems)
        rows = _parse_lines(source.data, problems)
    frame, lines = rows.frame, rows.lines
    for row in np.flatnonzero(frame["output_tokens"].to_numpy() == 0).tolist():
        problems.leave_out(int(lines[row]), NO_RESPONSE)
    _check_rows(rows, problems, size=size)
    keep = problems.settle(lines, read=rows.read)
    frame, lines = frame.filter(keep), lines[keep]
    known, bare = bool(frame["block_ids"].is_not_null().any()), 0
    if known:
        tokens = frame["input_tokens"].to_numpy()
        ids, bare = with_fresh(
            frame["block_ids"], tokens, size=size, lines=lines, sha256=source.sha256
        )
        frame = frame.with_columns(chained(ids, tokens, size).alias("block_ids"))
    else:
        frame = frame.drop("block_ids")
    meta = source_meta(
        source,
        format_name="bailian",
        content=_CHAINED if known else LENGTHS_ONLY,
        block_size=size if known else None,
        notes=(*rows.notes, *bare_note(bare)),
    )
    trace = frame_trace(frame, lines, source, problems, meta, read=rows.read)
    return _with_conversations(trace)


def _parse_plain(data: bytes) -> _Rows | None:
    """Return the rows of a file of nothing but the eight keys on each line, else None.

    Keys and quotation marks are counted, because Polars would take the last of two equal keys,
    pass over a key that it was not told of, and make text of what is none.
    """
    rows = data.count(b"\n") + (not data.endswith(b"\n"))
    keys = len(_PLAIN)
    if (
        b"\\" in data
        or data.count(b'"') != (2 * keys + 2) * rows
        or data.count(b'":') != keys * rows
        or any(data.count(b'"%s":' % name.encode()) != rows for name in _PLAIN)
    ):
        return None
    try:
        frame = pl.read_ndjson(io.BytesIO(data), schema=_PLAIN)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != rows or any(frame.null_count().row(0)):
        return None
    arrival_ns = _exact_ns(frame["timestamp"].to_numpy())
    if arrival_ns is None:
        return None
    frame = frame.rename(_COLUMNS).with_columns(arrival_ns=arrival_ns).drop("timestamp")
    in_range = [pl.col(name).is_between(*bounds).all() for name, bounds in _RANGES.items()]
    ids = flat_blocks(frame["block_ids"]).ids
    holes = frame["block_ids"].explode(empty_as_null=False, keep_nulls=False).null_count()
    if holes or ids.min(initial=0) < 0 or not all(frame.select(in_range).row(0)):
        return None
    frame = frame.with_columns(pl.col("block_ids").cast(pl.List(pl.UInt64)))
    return _Rows(frame, np.arange(1, rows + 1), rows)


def _exact_ns(seconds: np.ndarray) -> np.ndarray | None:
    """Return ns, int64, as the digits say that were written; None where a float may not tell."""
    if np.abs(seconds).max(initial=0.0) > _EXACT_NS / NS_PER_S:
        return None
    ns = np.rint(seconds * NS_PER_S)
    return ns.astype(np.int64) if (ns / NS_PER_S == seconds).all() else None


def _parse_lines(data: bytes, problems: ProblemList) -> _Rows:
    lines: list[int] = []
    values: dict[str, list[Any]] = {name: [] for name in (*_RANGES, "block_ids")}
    rest: list[dict[str, object]] = []
    objects = told = 0
    for line, found in walk_objects(data, problems):
        objects += 1
        row = CheckedRow(found)
        checked = _checked(row)
        told += len(row.faults)
        for fault in row.faults:
            problems.add(fault, line=line)
        if not row.faults:
            lines.append(line)
            rest.append(row.rest())
            for name, value in checked.items():
                values[name].append(value)
    read = objects + problems.total - told
    if not read:
        problems.add("no requests")
    other, dropped = scalar_columns(rest, taken=values)
    ids = values.pop("block_ids")
    bare = pl.Series([row is None for row in ids], dtype=pl.Boolean)
    counts = np.array([len(row or ()) for row in ids], np.int64)
    flat = np.fromiter((one for row in ids for one in row or ()), np.uint64, counts.sum())
    blocks = list_column(flat, counts).alias("block_ids").cast(pl.List(pl.UInt64)).fill_null([])
    frame = pl.DataFrame(values, schema=dict.fromkeys(values, pl.Int64)).with_columns(
        blocks.to_frame().select(pl.when(~bare).then("block_ids")).to_series(), *other
    )
    if frame["source_turn"].null_count() == frame.height:
        frame = frame.drop("source_turn")
    return _Rows(frame, np.array(lines, np.int64), read, dropped_note(dropped))


def _checked(row: CheckedRow) -> dict[str, Any]:
    """Return the values of a row by column; `turn` and `hash_ids` may be missing."""
    arrival_ns = row.duration_ns("timestamp", unit_ns=NS_PER_S)
    if arrival_ns is None and row.values.get("timestamp") is None:
        row.lacks("timestamp")
    return {
        "chat_id": row.integer("chat_id", lowest=0, highest=_LARGEST_ID),
        "parent_chat_id": row.integer("parent_chat_id", lowest=_ROOT, highest=_LARGEST_ID),
        "arrival_ns": arrival_ns,
        "input_tokens": row.tokens("input_length"),
        "output_tokens": row.tokens("output_length", lowest=0),
        "source_turn": row.integer_or_none("turn", lowest=1, highest=LARGEST_TOKENS),
        "block_ids": row.integers("hash_ids", lowest=0, highest=_LARGEST_ID),
    }


def _check_rows(rows: _Rows, problems: ProblemList, *, size: int) -> None:
    """Count the rows with too few or too many ids, and those whose chat_id another has."""
    tokens = rows.frame["input_tokens"].to_numpy()
    bare = rows.frame["block_ids"].is_null().to_numpy()
    counts = rows.frame["block_ids"].list.len().fill_null(0).to_numpy().astype(np.int64)
    wanted = -(-tokens // size)
    short = np.flatnonzero((counts != wanted) & ~bare)
    problems.add_rows(
        short,
        lambda row: (
            f"input_length {tokens[row]} in blocks of {size} needs {wanted[row]} hash_ids "
            f"(got {counts[row]})"
        ),
        lines=rows.lines,
    )
    if len(short):
        hint_at_sizes(problems, tokens[~bare], counts[~bare])
    chats = rows.frame["chat_id"]
    problems.add_rows(
        np.flatnonzero(~chats.is_first_distinct().to_numpy()),
        lambda row: f"chat_id {chats[row]} stands twice",
        lines=rows.lines,
    )


def _with_conversations(trace: Trace) -> Trace:
    """Return the trace with sessions: a request whose parent is not before it starts one."""
    columns = trace.frame["chat_id"].to_list(), trace.frame["parent_chat_id"].to_list()
    place: dict[int, int] = {}
    roots: list[int] = []
    parents: list[int | None] = []
    for row, (chat, before) in enumerate(zip(*columns, strict=True)):
        parent = place.get(before)
        parents.append(parent)
        roots.append(row if parent is None else roots[parent])
        place[chat] = row
    parent_rows = pl.Series("parent_request_id", parents, pl.Int64)
    frame = with_turns(trace.frame, pl.Series(roots, dtype=pl.Int64)).with_columns(parent_rows)
    meta = replace(trace.meta, sessions=SESSIONS_SOURCE).noting(*_link_notes(frame))
    return replace(canonical_trace(frame, meta), rejected=trace.rejected)


def _link_notes(frame: pl.DataFrame) -> list[str]:
    """Return what does not add up in the links of the source."""
    notes = []
    names_one = pl.col("parent_chat_id") != _ROOT
    lost = frame.select((names_one & pl.col("parent_request_id").is_null()).sum()).item()
    if lost:
        notes.append(f"{lost:,} requests start a session, though they name a parent")
    if "source_turn" in frame.columns:
        before = frame["source_turn"].gather(frame["parent_request_id"])
        odd = int((frame["source_turn"] != before + 1).sum())
        if odd:
            notes.append(f"{odd:,} requests have a turn that is not the one after their parent's")
    return notes


BAILIAN = Reader(
    name="bailian",
    suffixes=(".jsonl",),
    meaning="JSON lines of Bailian (Qwen): chat_id, parent_chat_id, timestamp in s, hash_ids",
    content="ids of 16-token blocks, where it has them, chained on reading; responses have none",
    sessions="the chain of parent_chat_id",
    assumes="blocks of 16 tokens, unless --trace-block-size says otherwise",
    sniff=looks_like_bailian,
    read=read_bailian,
    takes=("block_size",),
    shapes=_SHAPES,
)
