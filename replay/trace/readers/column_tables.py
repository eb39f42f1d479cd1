"""Tables of a file as it has them: CSV, JSON lines or Parquet, each row with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.errors import Problem, TraceError, UnknownNameError
from replay.repeated import first_repeated
from replay.trace.frame import Rejected
from replay.trace.parquet_check import MAGIC
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.json_lines import as_lines, walk_objects
from replay.trace.readers.source import Source
from replay.trace.readers.source_columns import KeyNotes, scalar_columns

_PLAIN = (pl.Int64, pl.Float64)
_QUOTE = b'"'


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column: `values` typed, or as JSON has them; `is_text` where all are text for lack of
    types, as in CSV.
    """

    name: str
    values: pl.Series | Sequence[object]
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class FrameTable:
    """A table of typed columns, or of text alone.

    `lines` int64[R] are the places of its rows, `read` counts the rows of the file, faulty ones
    as well.
    """

    source: Source
    frame: pl.DataFrame
    lines: np.ndarray
    read: int
    is_text: bool

    def column(self, name: str) -> TableColumn:
        """Return a column, or the field of one: `usage.prompt_tokens` of a struct `usage`."""
        parts = (name,) if name in self.frame.columns else tuple(name.split("."))
        if parts[0] not in self.frame.columns:
            raise _unknown(self.source, name, self.frame.columns)
        values = self.frame[parts[0]]
        for at, part in enumerate(parts[1:], start=1):
            fields = values.struct.fields if isinstance(values.dtype, pl.Struct) else []
            if part not in fields:
                known = [".".join((*parts[:at], field)) for field in fields]
                raise _unknown(self.source, name, known or self.frame.columns)
            values = values.struct.field(part)
        return TableColumn(name, values, self.is_text)

    def rest(self, used: Sequence[str]) -> tuple[list[pl.Series], KeyNotes]:
        """Return the other columns: numbers where all values of a column of text are."""
        kept, dropped = [], []
        opened = _opened(used)
        for column in self.frame.get_columns():
            if column.name in opened:
                continue
            if self.is_text:
                kept.append(_numbers(column))
            elif column.dtype.is_numeric() or column.dtype in (pl.String, pl.Boolean):
                kept.append(column)
            else:
                dropped.append(shown(column.name))
        return kept, KeyNotes(tuple(dropped), {})

    def put_aside(self, problems: ProblemList) -> tuple[Rejected, ...]:
        """Return the rows that were put aside: their lines, or their values in a binary file."""
        if self.is_text:
            return self.source.put_aside(problems)
        return tuple(
            Rejected(
                self.source.path,
                line,
                reason,
                repr(self.frame.row(line - 1, named=True)),
                line in problems.rejected,
            )
            for line, reason in sorted(problems.put_aside.items())
        )


@dataclass(frozen=True, slots=True)
class JsonTable:
    """A table of JSON objects; a point in a name steps into an object of the row.

    `lines` and `read` as in FrameTable.
    """

    source: Source
    rows: Sequence[Mapping[str, object]]
    lines: np.ndarray
    read: int

    def column(self, name: str) -> TableColumn:
        """Return a column, None where a row lacks it."""
        values = [_at(row, name) for row in self.rows]
        if self.rows and all(value is None for value in values):
            known = {path for row in self.rows[:100] for path in _paths(row)}
            if name not in known:
                raise _unknown(self.source, name, sorted(known))
        return TableColumn(name, values)

    def rest(self, used: Sequence[str]) -> tuple[list[pl.Series], KeyNotes]:
        """Return the other values of each row that are neither objects nor lists."""
        opened = _opened(used)
        return scalar_columns(
            [
                {name: value for name, value in row.items() if name not in opened}
                for row in self.rows
            ]
        )

    def put_aside(self, problems: ProblemList) -> tuple[Rejected, ...]:
        """Return the rows that were put aside, as they stand."""
        return self.source.put_aside(problems)


Table = FrameTable | JsonTable


def read_table(source: Source, problems: ProblemList, *, kind: str | None, delimiter: str) -> Table:
    """Return the table in a file; `kind` is csv, jsonl or parquet, None to go by its content.

    Adds to the problems what breaks a row; raises TraceError for a file that is not of its kind,
    or of which nothing can be read.
    """
    start = source.data.lstrip()
    if kind is None and start.startswith(MAGIC):
        kind = "parquet"
    elif kind is None and start.startswith((b"{", b"[")):
        kind = "jsonl"
    if kind == "parquet":
        return _parquet(source, problems)
    if kind == "jsonl":
        return _json(source, problems)
    return _plain_csv(source, delimiter) or _any_csv(source, problems, delimiter)


def _parquet(source: Source, problems: ProblemList) -> FrameTable:
    try:
        frame = pl.read_parquet(io.BytesIO(source.data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise TraceError([Problem(source.path, f"damaged Parquet file ({reason})")]) from error
    problems.hint("of a Parquet file, line numbers count rows")
    lines = np.arange(1, frame.height + 1)
    return FrameTable(source, frame, lines, frame.height, is_text=False)


def _json(source: Source, problems: ProblemList) -> JsonTable:
    source = as_lines(source, problems)
    before = problems.total
    rows, lines = [], []
    for line, row in walk_objects(source.data, problems):
        rows.append(row)
        lines.append(line)
    read = len(rows) + problems.total - before
    return JsonTable(source, rows, np.array(lines, np.int64), read)


def _plain_csv(source: Source, delimiter: str) -> FrameTable | None:
    """Return the table of a CSV file without quotation marks or oddities, None for another.

    Polars gives null for missing values at the end of a line, and for all of a blank one. As many
    delimiters as columns need leave room for neither.
    """
    if _QUOTE in source.data:
        return None
    try:
        frame = pl.read_csv(source.data, separator=delimiter, infer_schema=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    lines = source.data.count(b"\n") + (not source.data.endswith(b"\n"))
    delimiters = source.data.count(delimiter.encode())
    if frame.height != lines - 1 or delimiters != lines * (frame.width - 1) or frame.width < 2:
        return None
    try:
        header = source.data.split(b"\n", 1)[0].decode().rstrip("\r").split(delimiter)
    except UnicodeDecodeError:  # Polars looks at values alone
        return None
    if _header_faults(header):
        return None
    return FrameTable(source, frame, np.arange(2, lines + 1), frame.height, is_text=True)


def _any_csv(source: Source, problems: ProblemList, delimiter: str) -> FrameTable:
    """Return the table of a CSV file, read value by value; rows that break it are told."""
    before = problems.total
    lines: list[int] = []
    rows = _csv_rows(source, problems, delimiter)
    _, header = next(rows, (1, []))
    for fault in _header_faults(header):
        problems.add(fault, line=1)
    problems.raise_any()
    columns: list[list[str | None]] = [[] for _ in header]
    for line, row in rows:
        if len(row) != len(header):
            problems.add(
                f"must have {len(header)} values, as the header (got {len(row)})", line=line
            )
            continue
        lines.append(line)
        for values, value in zip(columns, row, strict=True):
            values.append(value or None)
    schema = dict.fromkeys(header, pl.String)
    frame = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=schema)
    read = len(lines) + problems.total - before
    return FrameTable(source, frame, np.array(lines, np.int64), read, is_text=True)


def _csv_rows(
    source: Source, problems: ProblemList, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line a row starts on, its values), blank lines passed over."""
    try:
        text = source.data.decode()
    except UnicodeDecodeError as error:
        line = source.data.count(b"\n", 0, error.start) + 1
        byte = source.data[error.start]
        problems.add(f"not UTF-8 text (got byte 0x{byte:02x})", line=line)
        problems.raise_any()
        return
    # Lists of ids are longer than the module allows; the limit is the process's, so only raised.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(f"not valid CSV: {error}", line=line)
            return
        if row:
            yield line, row
        line = reader.line_num + 1


def _header_faults(header: Sequence[str]) -> list[str]:
    twice = first_repeated(header)
    return [] if twice is None else [f"column {shown(twice)} stands twice in the header"]


def _numbers(column: pl.Series) -> pl.Series:
    for dtype in _PLAIN:
        cast = column.cast(dtype, strict=False)
        if cast.null_count() == column.null_count() < len(column):
            return cast
    return column


def _opened(used: Sequence[str]) -> set[str]:
    """Return the columns that are used, and those of which a part is."""
    return {*used, *(name.split(".")[0] for name in used)}


def _at(row: Mapping[str, object], name: str) -> object:
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _paths(row: Mapping[str, object], before: str = "", depth: int = 0) -> Iterator[str]:
    for name, value in row.items():
        yield before + name
        if isinstance(value, Mapping) and depth < 3:
            yield from _paths(value, f"{before}{name}.", depth + 1)


def _unknown(source: Source, name: str, known: Sequence[str]) -> UnknownNameError:
    return UnknownNameError(f"column of {source.name}", name, known)
