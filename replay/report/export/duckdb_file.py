"""A run as one DuckDB file: tables, the reports as views, and what every column means."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

from replay.report.db import PATIENCE_S, RunDatabase
from replay.report.export.described import columns_table, described_columns, exported_tables
from replay.report.export.folder import COLUMNS_TABLE
from replay.report.library import REPORTS
from replay.report.run_tables import SQL_FOLDER
from replay.schema import TABLES

STORAGE_VERSION = "v1.0.0"  # the oldest that is stable: every client since 1.0 reads it
_FILE = "run.duckdb"
# Clients before 2.0 know `if` only where they parse it themselves, not in a view that was stored.
_FOR_OLDER_CLIENTS = (
    'CREATE MACRO exported.main."if"(met, one, other) AS CASE WHEN met THEN one ELSE other END',
)


def write_duckdb(database: RunDatabase, sink: BinaryIO, *, scratch: Path) -> None:
    """Write the database of a run, itself an unlocked one, to a stream.

    DuckDB wants a file to work on: it gets one in the folder `scratch`, which stays there. Tables
    the run lacks are in it too, empty, as the views need them.
    """
    path = scratch / _FILE
    _fill(database, path)
    with path.open("rb") as made:
        shutil.copyfileobj(made, sink)


def _fill(database: RunDatabase, path: Path) -> None:
    described = list(described_columns(database))
    listed = columns_table(database, reports=True)
    tables = [*TABLES, "run"]
    script = [f"ATTACH {_quoted(str(path))} AS exported (STORAGE_VERSION '{STORAGE_VERSION}')"]
    script += [f"CREATE TABLE exported.main.{name} AS FROM memory.main.{name}" for name in tables]
    script.append(
        f"CREATE TABLE exported.main.{COLUMNS_TABLE} "
        f"({', '.join(f'{name} VARCHAR' for name in listed.columns)})"
    )
    rows = (f"({', '.join(map(_literal, row))})" for row in listed.rows)
    script.append(f"INSERT INTO exported.main.{COLUMNS_TABLE} VALUES {', '.join(rows)}")
    script += [
        *_FOR_OLDER_CLIENTS,
        "USE exported",
        (SQL_FOLDER / "_views.sql").read_text(encoding="utf-8"),
    ]
    script.append("CREATE SCHEMA report")
    for report in REPORTS:
        script.append(f"CREATE VIEW report.{report.name} AS {report.sql}")
        script.append(f"COMMENT ON VIEW report.{report.name} IS {_quoted(report.meaning)}")
    there = {*exported_tables(database)}
    for one in described:
        script.append(
            f'COMMENT ON COLUMN {one.table}."{one.column.replace(chr(34), chr(34) * 2)}" '
            f"IS {_quoted(one.comment)}"
        )
    script += [
        f"COMMENT ON TABLE {name} IS 'empty: the run has none'"
        for name in tables
        if name not in there
    ]
    script += ["USE memory", "DETACH exported"]
    for statement in script:
        database.query(statement, timeout_s=PATIENCE_S)


def _literal(value: str | None) -> str:
    return "NULL" if value is None else _quoted(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
