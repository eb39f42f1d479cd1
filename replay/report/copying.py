"""Rows on their way out of DuckDB, or through it: what its COPY writes, to a stream of ours."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import duckdb

from replay.report.isolation import paused
from replay.report.wide_integers import whole_rows

FEW_ROWS = 300  # inserted one by one as fast as Polars is imported


class ArrowStream(Protocol):
    """Anything that hands out its rows through the Arrow C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def copy_rows(
    columns: Sequence[str],
    types: Sequence[str],
    rows: Sequence[Sequence[Any]],
    options: str,
    sink: BinaryIO,
) -> None:
    """Write rows of Python values to a stream as DuckDB's COPY does, in the types given."""
    names = [f'"{doubled(name)}"' for name in columns]
    with duckdb.connect(":memory:") as writer:
        frame = None
        if len(rows) > FEW_ROWS:
            from replay.report.rows import frame_of

            frame = frame_of(types, rows)
        if frame is None:
            definition = ", ".join(map(" ".join, zip(names, types, strict=True)))
            writer.execute(f"CREATE TABLE result ({definition})")
            if rows:
                marks = ", ".join("?" for _ in columns)
                writer.executemany(f"INSERT INTO result VALUES ({marks})", rows)
        else:
            writer.register("given", Stream(frame))
            typed = ", ".join(
                f'"{place}"::{type} AS {name}'
                for place, (name, type) in enumerate(zip(names, types, strict=True))
            )
            writer.execute(f"CREATE TEMP VIEW result AS SELECT {typed} FROM given")
        Pipe(sink).copy(writer, options)


def copy_frame(frame: ArrowStream, options: str, sink: BinaryIO) -> None:
    """Write a frame to a stream as DuckDB's COPY does."""
    with writer_of(frame) as writer:
        Pipe(sink).copy(writer, options)


class Pipe:
    """Carries what COPY writes to a stream of ours, so that errors of the stream stay ours.

    Naming /dev/stdout in COPY would truncate a file that standard output is appended to.
    """

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = _Watched(sink)

    def blocked_s(self) -> float:
        """Return how long the stream has kept the copy waiting."""
        return self._sink.blocked_s()

    def copy(self, connection: duckdb.DuckDBPyConnection, options: str) -> None:
        """Copy the table `result` to the stream; raises OSError and duckdb.Error."""
        read_end, write_end = os.pipe()
        with ThreadPoolExecutor(1) as pool:
            drained = pool.submit(self._drain, read_end)
            try:
                rows = "FROM result"
                if "json" in options:
                    rows = _json_rows(connection)
                elif "parquet" in options:
                    rows = whole_rows(connection)
                connection.execute(f"COPY ({rows}) TO '/dev/fd/{write_end}' ({options})")
            finally:
                os.close(write_end)
                # What the stream refused says more than the broken pipe it causes in COPY.
                drained.result()

    def _drain(self, read_end: int) -> None:
        with os.fdopen(read_end, "rb") as source:
            shutil.copyfileobj(source, self._sink)


class _Watched:
    """A stream that keeps the time spent in its writes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._finished_s = 0.0
        self._writing_since: float | None = None

    def write(self, data: bytes) -> int:
        self._writing_since = time.monotonic()
        try:
            with paused():
                return self._sink.write(data)
        finally:
            self._finished_s += time.monotonic() - self._writing_since
            self._writing_since = None

    def blocked_s(self) -> float:
        since = self._writing_since
        return self._finished_s + (time.monotonic() - since if since is not None else 0.0)


class Stream:
    """An Arrow stream and nothing else, which is all DuckDB may see of the object inside."""

    def __init__(self, source: ArrowStream) -> None:
        self._source = source

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._source.__arrow_c_stream__(requested_schema)


@contextmanager
def writer_of(source: ArrowStream) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a second, unlocked connection that sees the rows of `source` as `result`."""
    with duckdb.connect(":memory:") as connection:
        connection.register("result", Stream(source))
        yield connection


def _json_rows(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the query for the rows of `result` with null for the numbers that JSON lacks."""
    relation = connection.sql("FROM result")
    finite = ", ".join(
        f"CASE WHEN isfinite({name}) THEN {name} END AS {name}"
        for name, type in zip(_identifiers(relation), map(str, relation.types), strict=True)
        if type in ("DOUBLE", "FLOAT")
    )
    return f"SELECT * REPLACE ({finite}) FROM result" if finite else "FROM result"


def _identifiers(relation: duckdb.DuckDBPyRelation) -> list[str]:
    return [f'"{doubled(name)}"' for name in relation.columns]


def doubled(text: str) -> str:
    """Return a name as it stands between double quotes in SQL."""
    return text.replace('"', '""')
