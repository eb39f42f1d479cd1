"""A table as plain values, and how it is written: every format but the one for people."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import polars as pl

from replay.errors import InputError
from replay.runs.failures import output_error, writing

_COPY_OPTIONS = {
    "csv": "FORMAT csv, HEADER true",
    "json": "FORMAT json, ARRAY true",
    "jsonl": "FORMAT json",
    "parquet": "FORMAT parquet, COMPRESSION zstd",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns of plain values; `types` are DuckDB's, where the values came from it."""

    columns: tuple[str, ...]
    rows: list[tuple]
    title: str | None = None
    types: tuple[str, ...] | None = None


def table_from_frame(frame: pl.DataFrame, title: str | None = None) -> Table:
    """Return a Polars frame as a table."""
    return Table(tuple(frame.columns), frame.rows(), title)


def write_table(table: Table, format: str, target: Path | IO) -> None:
    """Write a table as md, csv, json, jsonl or parquet.

    A path is written beside itself and renamed, so that an existing file is replaced by a whole
    one or not at all; a stream is text, or bytes for parquet. JSON is a list of objects. Raises
    OutputError where the path cannot be written.
    """
    content = _markdown(table).encode() if format == "md" else _copied(table, format)
    if not isinstance(target, Path):
        target.write(content if format == "parquet" else content.decode())
        return
    with writing(target):
        beside = target.with_name(f".{target.name}.partial-{os.getpid()}")
        try:
            beside.write_bytes(content)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


class _Stream:
    """The Arrow stream of a frame, the one way into DuckDB that needs no other library."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


def _copied(table: Table, format: str) -> bytes:
    """Return the table as DuckDB writes it."""
    if not table.columns:
        raise InputError("there is nothing to write: the statement returned no columns")
    with duckdb.connect(":memory:") as connection, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        _load(connection, table)
        try:
            connection.execute(f"COPY result TO '{path}' ({_COPY_OPTIONS[format]})")
        except duckdb.IOException as error:
            raise output_error(path, None, str(error)) from error
        return path.read_bytes()


def _load(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    if table.types is None:
        frame = pl.DataFrame(
            table.rows, schema=list(table.columns), orient="row", infer_schema_length=None
        )
        connection.register("frame", _Stream(frame))
        connection.execute("CREATE TABLE result AS FROM frame")
        return
    columns = ", ".join(
        f"{_quoted(name)} {kind}" for name, kind in zip(table.columns, table.types, strict=True)
    )
    connection.execute(f"CREATE TABLE result ({columns})")
    if table.rows:
        marks = ", ".join("?" for _ in table.columns)
        connection.executemany(f"INSERT INTO result VALUES ({marks})", table.rows)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _markdown(table: Table) -> str:
    """Return a Markdown table; one row becomes lines of name and value."""
    text = io.StringIO()
    if table.title:
        text.write(f"### {table.title}\n\n")
    columns, rows = table.columns, table.rows
    if len(rows) == 1 and len(columns) > 1:
        rows = list(zip(columns, rows[0], strict=True))
        columns = ("name", "value")
    numeric = [
        bool(rows) and all(isinstance(row[at], int | float | None) for row in rows)
        for at in range(len(columns))
    ]
    text.write("| " + " | ".join(_cell(name) for name in columns) + " |\n")
    text.write("|" + "|".join("---:" if right else "---" for right in numeric) + "|\n")
    for row in rows:
        text.write("| " + " | ".join(_cell(value) for value in row) + " |\n")
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
