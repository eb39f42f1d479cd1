"""Small tables, and every format but the terminal's they and query results are written in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, TypeAlias

from replay.errors import UnknownNameError
from replay.printable import printable
from replay.writing.failures import writing
from replay.writing.whole import whole_file

# DuckDB takes 0.15 s to import and a table on the terminal needs none of it, so the functions
# below that do need it import it themselves.

COPY_OPTIONS = {
    "csv": "FORMAT csv",
    "json": "FORMAT json, ARRAY true",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}
FORMATS = ("md", *COPY_OPTIONS)


@dataclass(frozen=True, slots=True)
class Table:
    """A small table in memory: `rows` of plain Python values, one per column.

    `types` are DuckDB type names, where they are known. `of_sql` says that the columns are those
    of a query: people copy them back into SQL, so they are shown as they are called there.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    title: str | None = None
    types: Sequence[str] | None = None
    of_sql: bool = False


class Rows(Protocol):
    """Rows that lie elsewhere, in a frame or behind a query, until they are read or written."""

    def table(self) -> Table:
        """Return the rows in memory; raises QueryError where a query fails."""

    def copy(self, options: str, sink: BinaryIO) -> None:
        """Write the rows to a stream as DuckDB's COPY does, such as `FORMAT csv`."""


AnyTable: TypeAlias = Table | Rows


def in_memory(table: AnyTable) -> Table:
    """Return a table as it is, and all rows of a query; raises QueryError where it fails."""
    return table if isinstance(table, Table) else table.table()


def write_table(
    table: AnyTable,
    format: str,
    target: Path | IO[str] | IO[bytes],
    *,
    force: bool = False,
) -> None:
    """Write a table or the rows of a query as `md`, `csv`, `json`, `jsonl` or `parquet`.

    `target` is a file name or an open stream. A file appears only when it is whole, and replaces
    one that is there with `force` only. Raises OutputExistsError, OutputError, and QueryError
    where the rows come from a query that fails; UnknownNameError for another format.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    if isinstance(target, Path):
        with whole_file(target, force=force) as sink:
            _write(table, format, sink)
    elif isinstance(target, io.TextIOBase):
        buffer = io.BytesIO()
        _write(table, format, buffer)
        target.write(buffer.getvalue().decode())
    else:
        with writing(Path(str(getattr(target, "name", "output")))):
            _write(table, format, target)  # type: ignore[arg-type]


def write_objects(
    tables: Mapping[str, AnyTable], target: Path | BinaryIO, *, force: bool = False
) -> None:
    """Write several tables as one JSON object: under each name a list of objects.

    Takes and raises what `write_table` does.
    """
    parts = []
    for name, table in tables.items():
        part = io.BytesIO()
        _write(table, "json", part)
        parts.append(json.dumps(name).encode() + b": " + part.getvalue().strip())
    content = b"{\n" + b",\n".join(parts) + b"\n}\n"
    if isinstance(target, Path):
        with whole_file(target, force=force) as sink:
            sink.write(content)
    else:
        target.write(content)


def markdown(table: Table) -> str:
    """Return a table as Markdown: its title as a heading, a single row as names beside values."""
    lines = [f"### {_escaped(table.title)}", ""] if table.title else []
    columns: Sequence[str] = table.columns
    cells = [[format_value(value) for value in row] for row in table.rows]
    numeric = [all(_is_number(row[index]) for row in table.rows) for index in range(len(columns))]
    if len(cells) == 1 and len(columns) > 1:
        cells = [list(pair) for pair in zip(columns, cells[0], strict=True)]
        columns, numeric = ("name", "value"), [False, True]
    lines.append(_line(columns))
    lines.append(_line(["---:" if right and cells else "---" for right in numeric]))
    lines += [_line(row) for row in cells]
    return "\n".join(lines) + "\n"


def format_value(value: object) -> str:
    """Return a value as a person reads it: four digits of a fraction, thousands apart."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    line = text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")
    return printable(line)  # people read Markdown, on terminals too


def _write(table: AnyTable, format: str, sink: BinaryIO) -> None:
    if format == "md":
        sink.write(markdown(in_memory(table)).encode())
    elif isinstance(table, Table):
        from replay.report.copying import copy_rows

        copy_rows(table.columns, types_of(table), table.rows, COPY_OPTIONS[format], sink)
    else:
        table.copy(COPY_OPTIONS[format], sink)


def types_of(table: Table) -> Sequence[str]:
    """Return the DuckDB type of each column: those it was given, else such as hold its values."""
    return table.types or [_inferred(table, index) for index in range(len(table.columns))]


def _inferred(table: Table, index: int) -> str:
    """Return the DuckDB type that holds the values of a column."""
    kinds = {type(row[index]) for row in table.rows} - {type(None)}
    if kinds == {bool}:
        return "BOOLEAN"
    if kinds == {int}:
        wide = any(not -(2**63) <= row[index] < 2**63 for row in table.rows if row[index])
        return "HUGEINT" if wide else "BIGINT"
    return "DOUBLE" if kinds and kinds <= {int, float} else "VARCHAR"
