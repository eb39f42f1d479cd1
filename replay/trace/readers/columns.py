"""Any CSV, JSON lines or Parquet file whose columns a YAML file gives their meaning.

    columns: {arrival: {name: ts, unit: ms}, input_tokens: usage.prompt_tokens,
              output_tokens: usage.completion_tokens, session: user, block_ids: hashes}
    block_size: 64

The YAML file is checked as `replay.config.columns` says; no file is recognised as this format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.blocks import flat_blocks
from replay.trace.chain import chained
from replay.trace.content_names import ALIASES
from replay.trace.frame import Trace
from replay.trace.lists import list_column
from replay.trace.priorities import PRIORITY, priority_faults
from replay.trace.problems import ProblemList
from replay.trace.readers.block_checks import fresh_id, hint_at_sizes
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.column_tables import Table, read_table
from replay.trace.readers.column_values import (
    ISO,
    Telling,
    counts_in,
    ids_in,
    names_in,
    times_in,
    tokens_in,
)
from replay.trace.readers.content_requests import (
    LENGTHS_ONLY,
    NO_RESPONSE,
    SESSION,
    frame_trace,
    source_meta,
)
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import beside, dropped_note
from replay.trace.readers.text_requests import ASSUMED_TIMES, assumed_arrival_ns

if TYPE_CHECKING:
    from replay.config.columns import ColumnNames, Columns

_YEAR_2001_NS = 10**18  # times on a clock of the file's own are far below
_NO_COLUMNS = "a table of any columns needs --columns, a YAML file that says what they mean"


def looks_like_columns(head: bytes) -> bool:
    """Return False: what columns mean cannot be seen."""
    return False


def read_columns(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a table whose columns the options name a mapping for.

    Raises InputError without a mapping, ConfigError for a broken one, UnknownNameError where it
    names a column that is not there, TraceError for rows that are faulty.
    """
    if options.columns is None:
        raise InputError(_NO_COLUMNS)
    from replay.config.columns import Columns
    from replay.config.load import load_document

    mapping = load_document(options.columns, Columns)
    problems = ProblemList(source.path, allowed=options.max_rejected)
    table = read_table(source, problems, kind=mapping.format, delimiter=mapping.delimiter)
    return trace_of_table(table, mapping, problems)


def trace_of_table(table: Table, mapping: Columns, problems: ProblemList) -> Trace:
    """Return the trace in a table, its columns named by a mapping; raises as `read_columns`."""
    source = table.source
    frame = pl.DataFrame(list(_known(table, mapping.columns, Telling(problems, table.lines))))
    if not frame.height and not problems.total:
        problems.add("no requests")
    others, dropped = table.rest(_used(mapping.columns))
    for column in others:
        if column.name == PRIORITY and not column.dtype.is_integer():
            for row, fault in priority_faults(column).items():
                Telling(problems, table.lines).tell(row, fault)
    keep = problems.settle(table.lines, read=table.read)
    others, renamed = beside(others, frame.columns)
    frame = frame.with_columns(others).filter(keep)
    lines = table.lines[keep]
    if mapping.columns.arrival is None:
        frame = frame.with_columns(_assumed_arrivals(frame))
    frame, notes = _with_content(frame, mapping, Telling(problems, lines), source.sha256)
    meta = source_meta(
        source,
        format_name="columns",
        content=_content(mapping),
        block_size=mapping.block_size,
        notes=(
            *([] if mapping.columns.arrival else [ASSUMED_TIMES]),
            *notes,
            *dropped_note(dropped),
            *renamed,
        ),
        clock_start_ns=_clock_start_ns(frame, mapping.columns),
    )
    timed = mapping.columns.arrival is not None
    return frame_trace(frame, lines, table, problems, meta, read=table.read, note_disorder=timed)


def _known(table: Table, names: ColumnNames, rows: Telling) -> Iterator[pl.Series]:
    """Yield the columns that replay knows, faults told; those of lengths may be missing."""

    def count(name: str, meant: str, lowest: int, *, required: bool = True) -> pl.Series:
        return counts_in(
            table.column(name), rows, lowest=lowest, highest=LARGEST_TOKENS, required=required
        ).alias(meant)

    if names.arrival:
        arrival = table.column(names.arrival.name)
        yield times_in(arrival, rows, unit=names.arrival.unit).alias("arrival_ns")
    if names.input_tokens:
        yield count(names.input_tokens, "input_tokens", 1)
    if names.output_tokens:
        yield count(names.output_tokens, "output_tokens", 0)
    if names.session:
        yield names_in(table.column(names.session), rows).alias(SESSION)
    for meant in ALIASES:
        if found := getattr(names, meant):
            yield names_in(table.column(found), rows).alias(meant)
    if names.recorded_hit_tokens:
        yield count(names.recorded_hit_tokens, "recorded_hit_tokens", 0, required=False)
    for meant, found in (
        ("recorded_ttft_ns", names.recorded_ttft), ("recorded_e2e_ns", names.recorded_e2e)
    ):  # fmt: skip
        if found:
            column = table.column(found.name)
            yield times_in(column, rows, unit=found.unit, required=False).alias(meant)
    if names.block_ids:
        yield ids_in(table.column(names.block_ids), rows).alias("block_ids")
    if names.tokens:
        yield tokens_in(table.column(names.tokens), rows).alias("tokens")
    if names.response_tokens:
        yield tokens_in(table.column(names.response_tokens), rows).alias("response_tokens")


def _assumed_arrivals(frame: pl.DataFrame) -> pl.Series:
    """Return arrivals for a table without times; a row without a session is a conversation."""
    names = frame[SESSION].to_list() if SESSION in frame.columns else [None] * frame.height
    turns: dict[object, int] = {}
    conversations: dict[object, int] = {}
    arrivals = []
    for row, name in enumerate(names):
        talk = row if name is None else name
        turns[talk] = turns.get(talk, -1) + 1
        conversation = conversations.setdefault(talk, len(conversations))
        arrivals.append(assumed_arrival_ns(conversation, turns[talk]))
    return pl.Series("arrival_ns", arrivals, pl.Int64)


def _used(names: ColumnNames) -> list[str]:
    """Return the columns of the table that the mapping names."""
    given = [value for value in dict(names).values() if value is not None]
    return [value if isinstance(value, str) else value.name for value in given]


def _with_content(
    frame: pl.DataFrame, mapping: Columns, rows: Telling, sha256: str
) -> tuple[pl.DataFrame, list[str]]:
    """Return the frame with lengths and content that agree, and notes; tell where they do not."""
    for ids, length in (("tokens", "input_tokens"), ("response_tokens", "output_tokens")):
        if ids in frame.columns:
            frame = _with_length(frame, rows, ids=ids, length=length)
    for row in np.flatnonzero((frame["output_tokens"] == 0).to_numpy()).tolist():
        rows.problems.leave_out(int(rows.lines[row]), NO_RESPONSE)
    if mapping.block_size is None or "block_ids" not in frame.columns:
        return frame, []
    blocks, tails = _covered(frame, rows, size=mapping.block_size, sha256=sha256)
    if not mapping.block_ids_chained:
        blocks = chained(blocks, frame["input_tokens"].to_numpy(), mapping.block_size)
    note = f"{tails:,} partial last blocks have no id: each is taken for one that never comes again"
    return frame.with_columns(blocks), [note] if tails else []


def _with_length(frame: pl.DataFrame, rows: Telling, *, ids: str, length: str) -> pl.DataFrame:
    counts = frame[ids].list.len().cast(pl.Int64)
    if length not in frame.columns:
        frame = frame.with_columns(counts.fill_null(0).alias(length))
        if length == "input_tokens":
            for row in np.flatnonzero(frame[length].to_numpy() == 0).tolist():
                rows.tell(row, f"has no {ids}")
        return frame
    wrong = counts != frame[length]
    if ids == "tokens":
        wrong = wrong.fill_null(True)
    for row in np.flatnonzero(wrong.fill_null(False).to_numpy()).tolist():
        rows.tell(row, f"{length} is {frame[length][row]} (got {counts[row] or 0} {ids})")
    return frame


def _covered(
    frame: pl.DataFrame, rows: Telling, *, size: int, sha256: str
) -> tuple[pl.Series, int]:
    """Return ids for all blocks of each prompt, and how many last ones had none."""
    flat, tokens = flat_blocks(frame["block_ids"]), frame["input_tokens"].to_numpy()
    wanted, full = -(-tokens // size), tokens // size
    short = np.flatnonzero((flat.counts != wanted) & (flat.counts == full))
    misfits = np.flatnonzero((flat.counts != wanted) & (flat.counts != full))
    for row in misfits.tolist():
        needs = f"{wanted[row]}" if wanted[row] == full[row] else f"{full[row]} or {wanted[row]}"
        what = f"a prompt of {tokens[row]} tokens in blocks of {size} needs {needs} block ids"
        rows.tell(row, f"{what} (got {flat.counts[row]})")
    if len(misfits):
        hint_at_sizes(rows.problems, tokens, flat.counts)
    fresh = np.array([fresh_id(sha256, int(rows.lines[row])) for row in short], np.uint64)
    ids = np.insert(flat.ids.astype(np.uint64), flat.offsets[1:][short], fresh)
    counts = flat.counts.copy()
    counts[short] += 1
    return list_column(ids, counts).alias("block_ids"), len(short)


def _content(mapping: Columns) -> str:
    if mapping.columns.tokens:
        return "token ids of the source"
    if not mapping.columns.block_ids:
        return LENGTHS_ONLY
    how = "prefix-chained" if mapping.block_ids_chained else "chained on reading"
    return f"block ids of the source, {how}; responses have none"


def _clock_start_ns(frame: pl.DataFrame, names: ColumnNames) -> int | None:
    if names.arrival is None:
        return None
    first = frame["arrival_ns"].min()
    assert isinstance(first, int)
    return 0 if names.arrival.unit == ISO or first >= _YEAR_2001_NS else None


COLUMNS = Reader(
    name="columns",
    suffixes=(),
    meaning="any CSV, JSON lines or Parquet file, by a YAML file that says what its columns mean",
    content="token ids or block ids, where the mapping names them",
    sessions="the column that the mapping names",
    assumes="nothing, but times where the mapping names none",
    sniff=looks_like_columns,
    read=read_columns,
    takes=("columns",),
)
