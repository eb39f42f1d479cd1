"""DuckDB over a run directory; only `guard`, `copying` and `run_tables` import it beside this one.

A query from outside may read the run's tables and do nothing else: it can open no file, the
configuration is locked, and only statements that select are run. That stops accidents and casual
file reads; it is no sandbox for a hostile author.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

import duckdb

from replay.errors import QueryError
from replay.report.copying import ArrowStream, Pipe, Stream, doubled, writer_of
from replay.report.guard import one_select, statements_of
from replay.report.isolation import GRACE_S, deadline, half_of_machine, hurry
from replay.report.run_tables import create_reports, create_run_tables, duckdb_text
from replay.report.tables import Table
from replay.runs.open import Run, open_run

if TYPE_CHECKING:
    import polars as pl

TIMEOUT_S = 60.0
PATIENCE_S = 7 * 86_400.0  # for what is written to a file, which takes as long as it takes
BATCH_ROWS = 10_000

_LOCK = (
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "allow_persistent_secrets = false",
    "python_enable_replacements = false",
    "temp_directory = ''",
    "enable_external_access = false",
    "lock_configuration = true",
)
_POLL_S = 0.05
_LESS = "ask for less at once, aggregate first, or give it more with --memory"
# Python has no value for an infinite date and none with nanoseconds, and a time zone needs pytz.
_TIME = re.compile(r"\b(DATE|TIME|TIMESTAMP)")

Outcome = TypeVar("Outcome")


class Database:
    """A connection that answers one SELECT at a time; `unsafe` lifts that and what `_LOCK` sets."""

    def __init__(self, *, unsafe: bool = False, memory_bytes: int | None = None) -> None:
        self._unsafe = unsafe
        self._connection = duckdb.connect(":memory:")
        limit = memory_bytes or half_of_machine()
        with _explained(unsafe=unsafe):
            self._connection.execute(f"SET memory_limit = '{limit}B'")
            # Or bit strings and time zones would be lost on the way into a file.
            self._connection.execute("SET arrow_lossless_conversion = true")

    def lock(self) -> None:
        """Let it read what it holds by now, and nothing else, from here on."""
        for setting in () if self._unsafe else _LOCK:
            self._connection.execute(f"SET {setting}")

    def _take(self, name: str, frame: ArrowStream) -> None:
        """Take the rows of a frame into memory, as a table."""
        self._connection.register("given", Stream(frame))
        self._connection.execute(f'CREATE TABLE "{doubled(name)}" AS FROM given')
        self._connection.unregister("given")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; results not yet read are lost."""
        self._connection.close()

    def query(self, sql: str, *, timeout_s: float = TIMEOUT_S) -> Result:
        """Return the result of one statement that selects, computed when it is read.

        Raises QueryError for SQL that is wrong or not allowed, here and when it is read. An
        unsafe database runs several statements and returns the result of the last.
        """
        with _explained(unsafe=self._unsafe), deadline(timeout_s + GRACE_S):
            statements = self._statements(sql)
            for statement in statements:
                relation = self._attended(partial(self._connection.sql, statement), timeout_s)
            return Result(self, relation, timeout_s)

    def batches(
        self, sql: str, *, rows: int = BATCH_ROWS, timeout_s: float | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of one statement that selects, so many at once as they are computed.

        They may be more than memory holds. Ask nothing else before the last is read. `timeout_s`
        is for each batch; raises QueryError as `query` does.
        """
        wait_s = PATIENCE_S if timeout_s is None else timeout_s
        with _explained(unsafe=self._unsafe):
            statement = one_select(self._connection, sql)
            self._attended(partial(self._connection.execute, statement), wait_s)
            while found := self._attended(partial(self._connection.fetchmany, rows), wait_s):
                yield found

    def _statements(self, sql: str) -> list[duckdb.Statement]:
        if self._unsafe:
            return statements_of(self._connection, sql)
        return [one_select(self._connection, sql)]

    def _attended(self, work: Callable[[], Outcome], timeout_s: float) -> Outcome:
        return attended(work, [self._connection], timeout_s)


class FrameDatabase(Database):
    """Frames under their names for SQL, taken into memory and locked as a run is."""

    def __init__(self, frames: Mapping[str, ArrowStream]) -> None:
        super().__init__()
        with _explained(unsafe=False):
            for name, frame in frames.items():
                self._take(name, frame)
            self.lock()


class RunDatabase(Database):
    """The tables of one run for SQL, with the reports' own views, macros and schema.

    The rows are taken into memory and the database is locked; `unsafe` reads the files where they
    lie, lifts the lock and allows every statement. `threads` is DuckDB's setting. A query that
    needs more than `memory_bytes` (half of the machine's) fails, nothing spills to the disk.
    Time and memory bind everywhere only in a child of `replay.report.isolation.supervise`, which
    commands are; elsewhere one SQL function may overrun them. `frames` are the tables of a run in
    memory, whose files are not there yet.
    """

    def __init__(
        self,
        run: Run | Path,
        *,
        frames: Mapping[str, ArrowStream] | None = None,
        unsafe: bool = False,
        threads: int | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.run = run if isinstance(run, Run) else open_run(run)
        super().__init__(unsafe=unsafe, memory_bytes=memory_bytes)
        with _explained(unsafe=unsafe):
            for name, frame in (frames or {}).items():
                self._take(name, frame)
            create_run_tables(self._connection, self.run, in_place=unsafe, there=frames or ())
            create_reports(self._connection)
            if threads is not None:
                self._connection.execute(f"SET threads = {threads:d}")
            self.lock()


class RunsDatabase(Database):
    """Several runs for SQL, each in a schema of its own: `a.requests`, `b.requests` and so on.

    `runs` are those of each schema, which has what `RunDatabase` has but for the reports. Locked
    and in memory, or `unsafe` and read where they lie, as there.
    """

    def __init__(
        self, runs: Mapping[str, Run], *, unsafe: bool = False, memory_bytes: int | None = None
    ) -> None:
        super().__init__(unsafe=unsafe, memory_bytes=memory_bytes)
        with _explained(unsafe=unsafe):
            for schema, run in runs.items():
                self._connection.execute(f'CREATE SCHEMA "{schema}"; USE memory."{schema}"')
                create_run_tables(self._connection, run, in_place=unsafe)
            self._connection.execute("USE memory.main")
            self.lock()


class Result:
    """What a query returns: column names and types now, rows when they are read.

    Each read runs the query again. Reads raise QueryError.
    """

    def __init__(
        self, database: Database, relation: duckdb.DuckDBPyRelation | None, timeout_s: float
    ) -> None:
        self._database = database
        self._relation = relation
        self._timeout_s = timeout_s
        self.columns = tuple(relation.columns) if relation is not None else ()
        self.types = tuple(map(str, relation.types)) if relation is not None else ()

    def table(self, *, limit: int | None = None, title: str | None = None) -> Table:
        """Return the rows in memory, at most `limit` of them; dates and times are text."""
        if self._relation is None:
            return Table((), (), title, of_sql=True)
        end_s = self._timeout_s + GRACE_S
        with _explained(unsafe=self._database._unsafe), deadline(end_s):
            relation = self._relation if limit is None else self._relation.limit(limit)
            if any(map(_TIME.search, self.types)):
                relation = relation.project(
                    ", ".join(
                        f"#{index}::VARCHAR" if _TIME.search(type) else f"#{index}"
                        for index, type in enumerate(self.types, start=1)
                    )
                )
            rows = self._database._attended(relation.fetchall, self._timeout_s)
        return Table(self.columns, rows, title, self.types, of_sql=True)

    def frame(self) -> pl.DataFrame:
        """Return the rows as a Polars frame, in the types that a Parquet file gives them."""
        import polars as pl

        if self._relation is None:
            return pl.DataFrame()
        for name, type in zip(self.columns, self.types, strict=True):
            if "INTERVAL" in type:
                raise QueryError(
                    f"column {name} is an {type}, which no frame has a type for",
                    hint=f'cast it: "{doubled(name)}"::VARCHAR',
                )
        sink = io.BytesIO()
        self.copy("FORMAT parquet", sink)
        sink.seek(0)
        return pl.read_parquet(sink)

    def copy(self, options: str, sink: BinaryIO) -> None:
        """Write the rows to a stream as DuckDB's COPY does, such as `FORMAT csv`."""
        if self._relation is None:
            return
        unsafe, end_s = self._database._unsafe, self._timeout_s + GRACE_S
        with _explained(unsafe=unsafe), deadline(end_s), writer_of(self._relation) as writer:
            pipe = Pipe(sink)
            attended(
                lambda: pipe.copy(writer, options),
                [self._database._connection, writer],
                self._timeout_s,
                paused_s=pipe.blocked_s,
            )


def attended(
    work: Callable[[], Outcome],
    connections: Sequence[duckdb.DuckDBPyConnection],
    timeout_s: float,
    *,
    paused_s: Callable[[], float] = lambda: 0.0,
) -> Outcome:
    """Return what `work` returns, stopping its queries at the timeout and at Ctrl-C.

    DuckDB does not look for Ctrl-C while it fetches, so the work is done in a thread and this
    one keeps watch. `paused_s` tells how long the work waited for whoever reads its output,
    which does not count. Raises QueryError at the timeout.
    """
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            while not future.done():
                left_s = timeout_s - (time.monotonic() - started - paused_s())
                if left_s <= 0:
                    raise QueryError(
                        f"stopped after {timeout_s:g} s", hint="give it more time, or ask for less"
                    )
                wait([future], timeout=left_s)
        finally:
            if not future.done():
                hurry()
            while not future.done():
                for connection in connections:
                    connection.interrupt()
                wait([future], timeout=_POLL_S)
    return future.result()


@contextmanager
def _explained(*, unsafe: bool) -> Iterator[None]:
    """Turn what DuckDB raises inside the block into a QueryError."""
    try:
        yield
    except MemoryError as error:
        raise QueryError("out of memory", hint=_LESS) from error
    except duckdb.Error as error:
        hint = None
        if isinstance(error, duckdb.PermissionException) and not unsafe:
            hint = "a query reads the tables of its run and no files; see SHOW TABLES"
        elif isinstance(error, duckdb.OutOfMemoryException):
            hint = _LESS
        raise QueryError(duckdb_text(error), hint=hint) from error
