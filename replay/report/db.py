"""DuckDB over a run directory: the only importer of duckdb.

Safe by default, so that a query found in a chat can be pasted in: the connection may read the
tables of this one run and nothing else, cannot write, cannot load extensions, cannot be
reconfigured, and runs SELECT statements only. That stops accidents and casual snooping; it is no
sandbox against an author who means harm (CPU and memory are shared), which takes a container.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from replay.errors import InputError, QueryError
from replay.report.tables import Table
from replay.runs.open import Run, open_run

DEFAULT_TIMEOUT_S = 60.0
MEMORY_LIMIT = "4GB"

# The view `run`: column and type.
FACTS = {
    "mode": "VARCHAR",
    "trace_name": "VARCHAR",
    "trace_requests": "BIGINT",
    "sessions": "VARCHAR",
    "block_size": "BIGINT",
    "capacity_blocks": "BIGINT",
    "capacity_tokens": "BIGINT",
    "capacity_bytes": "BIGINT",
    "kv_bytes_per_token": "BIGINT",
    "gpu": "VARCHAR",
    "model": "VARCHAR",
    "tensor_parallel": "BIGINT",
    "evicted_blocks": "BIGINT",
    "end_ns": "BIGINT",
    "overloaded": "BOOLEAN",
    "queue_growth": "DOUBLE",
    "backlog_requests": "BIGINT",
    "drain_ns": "BIGINT",
    "no_cache_overloaded": "BOOLEAN",
    "no_cache_queue_growth": "DOUBLE",
    "seed": "BIGINT",
    "replay_version": "VARCHAR",
    "result_digest": "VARCHAR",
}

_LOCKS = (
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)

# Shares of integer sums, and integer times in milliseconds: what every report needs.
_MACROS = (
    "CREATE MACRO ms(ns) AS ns / 1e6",
    "CREATE MACRO share(part, whole) AS part::DOUBLE / nullif(whole, 0)::DOUBLE",
    "CREATE MACRO total(amount) AS coalesce(sum(amount), 0)::BIGINT",
)


class RunDatabase:
    """A run's tables as views, with a one-row view `run` of what its manifest says.

    Use it in a `with` block. `unsafe` leaves out every lock: any statement, any file.
    """

    def __init__(self, run: Run | Path, *, unsafe: bool = False) -> None:
        self.run = run if isinstance(run, Run) else open_run(run)
        self._unsafe = unsafe
        self._connection = duckdb.connect(":memory:")
        self._open()

    def _open(self) -> None:
        connection = self._connection
        paths = [str(path) for path in self.run.tables.values()]
        connection.execute("SET allowed_paths = " + _literal(paths))
        for macro in _MACROS:
            connection.execute(macro)
        facts = run_facts(self.run)
        columns = ", ".join(f"?::{FACTS[name]} AS {name}" for name in facts)
        connection.execute(f"CREATE TABLE run AS SELECT {columns}", list(facts.values()))
        for name, path in self.run.tables.items():
            try:
                connection.execute(
                    f"CREATE VIEW {name} AS SELECT * FROM read_parquet({_literal(str(path))})"
                )
            except duckdb.Error as error:
                raise InputError(
                    f"{path}: cannot be read: {_first_line(error)}",
                    hint="the run is damaged: replay it",
                ) from error
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        if not self._unsafe:
            for lock in _LOCKS:
                connection.execute(lock)

    def __enter__(self) -> RunDatabase:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def query(
        self, sql: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, title: str | None = None
    ) -> Table:
        """Return the result of one statement.

        Raises QueryError where the statement is wrong, is not a SELECT, or takes longer than
        `timeout_s` seconds.
        """
        statement = self._only_statement(sql)
        with self._limited(timeout_s):
            relation = self._connection.sql(statement)
            if relation is None:  # DDL or COPY under `unsafe`
                return Table((), [], title)
            rows = relation.fetchall()
        types = tuple(str(one) for one in relation.types)
        return Table(tuple(relation.columns), rows, title, types)

    def _only_statement(self, sql: str) -> str:
        try:
            statements = self._connection.extract_statements(sql)
            kinds = [statement.type for statement in statements]
        except duckdb.Error as error:
            raise QueryError(_first_line(error)) from error
        except ValueError as error:  # a kind of statement this client has no name for
            raise QueryError("only SELECT statements run here") from error
        if len(statements) != 1:
            raise QueryError(f"expected one statement (got {len(statements)})")
        if not self._unsafe and kinds[0] != duckdb.StatementType.SELECT:
            raise QueryError(
                f"only SELECT statements run here (got {kinds[0].name})",
                hint="DESCRIBE, SUMMARIZE and SHOW TABLES work too; --unsafe allows anything",
            )
        return statements[0].query

    @contextmanager
    def _limited(self, timeout_s: float) -> Iterator[None]:
        """Interrupt what runs inside once the time is over; turn DuckDB's errors into ours."""
        late = threading.Event()

        def interrupt() -> None:
            late.set()
            self._connection.interrupt()

        timer = threading.Timer(timeout_s, interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except duckdb.InterruptException as error:
            if late.is_set():
                raise QueryError(
                    f"the query took longer than {timeout_s:g} s", hint="give --timeout 10m"
                ) from error
            raise KeyboardInterrupt from error
        except duckdb.Error as error:
            raise QueryError(str(error).strip(), hint="tables: " + self._names()) from error
        finally:
            timer.cancel()

    def _names(self) -> str:
        return ", ".join(["run", *self.run.tables])


def run_facts(run: Run) -> dict[str, Any]:
    """Return the columns of the view `run`: scalars of the manifest, null where it has none."""
    manifest = run.manifest
    trace = manifest.get("trace") or {}
    cache = manifest.get("cache") or {}
    gpu = manifest.get("gpu") or {}
    totals = manifest.get("totals") or {}
    overload = manifest.get("overload") or {}
    baseline = manifest.get("no_cache_overload") or {}
    return {
        "mode": manifest.get("mode"),
        "trace_name": trace.get("name"),
        "trace_requests": trace.get("requests"),
        "sessions": trace.get("sessions"),
        "block_size": cache.get("block_size"),
        "capacity_blocks": cache.get("capacity_blocks"),
        "capacity_tokens": cache.get("capacity_tokens"),
        "capacity_bytes": cache.get("capacity_bytes"),
        "kv_bytes_per_token": cache.get("kv_bytes_per_token"),
        "gpu": gpu.get("name"),
        "model": gpu.get("model"),
        "tensor_parallel": gpu.get("tensor_parallel"),
        "evicted_blocks": totals.get("evicted_blocks"),
        "end_ns": totals.get("end_ns"),
        "overloaded": overload.get("overloaded"),
        "queue_growth": overload.get("queue_growth"),
        "backlog_requests": overload.get("backlog_requests"),
        "drain_ns": overload.get("drain_ns"),
        "no_cache_overloaded": baseline.get("overloaded"),
        "no_cache_queue_growth": baseline.get("queue_growth"),
        "seed": manifest.get("seed"),
        "replay_version": manifest.get("replay_version"),
        "result_digest": manifest.get("result_digest"),
    }


def _literal(value: str | list[str]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    return "'" + value.replace("'", "''") + "'"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
