"""Asking the runs of a comparison: files of `sql/`, and what they find."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from replay.report.db import PATIENCE_S, RunsDatabase
from replay.report.tables import Table

_FOLDER = Path(__file__).parent / "sql"


def sql_file(name: str) -> str:
    """Return the SQL of `sql/NAME.sql`."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def rows(database: RunsDatabase, sql: str) -> Sequence[tuple[Any, ...]]:
    """Return the rows that a query finds; raises QueryError."""
    return database.query(sql, timeout_s=PATIENCE_S).table().rows


def row(database: RunsDatabase, sql: str) -> dict[str, Any]:
    """Return the one row that a query finds, by the names of its columns; raises QueryError."""
    found = database.query(sql, timeout_s=PATIENCE_S)
    return dict(zip(found.columns, found.table().rows[0], strict=True))


def table(database: RunsDatabase, sql: str, title: str) -> Table:
    """Return what a query finds as a table; raises QueryError."""
    found = database.query(sql, timeout_s=PATIENCE_S).table()
    return Table(found.columns, found.rows, title, found.types)
