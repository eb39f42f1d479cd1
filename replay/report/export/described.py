"""What the columns of a run mean, for files that carry it along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replay.report.db import RunDatabase
from replay.report.library import REPORTS
from replay.report.run_view import RUN_COLUMNS
from replay.report.tables import Table
from replay.schema import CARRIED, TABLES, TRACE

_TRACE_MEANING = {column.name: column for column in TRACE if column.name in CARRIED}


@dataclass(frozen=True, slots=True)
class Described:
    """One column of a table or view: `type` is DuckDB's, `unit` empty where it has none."""

    table: str
    column: str
    type: str
    unit: str
    meaning: str

    @property
    def comment(self) -> str:
        """The meaning, behind the unit where there is one."""
        return f"{self.unit}: {self.meaning}" if self.unit else self.meaning


def described_columns(database: RunDatabase) -> Iterator[Described]:
    """Yield every column of the run's tables, and of the reports as views, in order."""
    for table in exported_tables(database):
        if table == "run":
            for one in RUN_COLUMNS:
                yield Described(table, one.name, one.type, one.unit, one.meaning)
            continue
        known = {column.name: column for column in TABLES[table]} | _TRACE_MEANING
        found = database.query(f"FROM {table}")
        for name, type in zip(found.columns, found.types, strict=True):
            column = known.get(name)
            unit, meaning = (
                ("", "of the trace") if column is None else (column.unit, column.meaning)
            )
            yield Described(table, name, type, unit, meaning)
    for report in REPORTS:
        for shown in report.columns:
            yield Described(
                f"report.{report.name}", shown.name, shown.type, shown.unit, shown.meaning
            )


def exported_tables(database: RunDatabase) -> list[str]:
    """Return the names of the tables that the run has."""
    return [*(name for name in TABLES if name in database.run.tables), "run"]


def columns_table(database: RunDatabase, *, reports: bool) -> Table:
    """Return the columns as a table, those of the reports too where they are asked for."""
    rows = [
        (one.table, one.column, one.type, one.unit or None, one.meaning)
        for one in described_columns(database)
        if reports or not one.table.startswith("report.")
    ]
    names = ("table_name", "column_name", "type", "unit", "meaning")
    return Table(names, rows, types=("VARCHAR",) * len(names))
