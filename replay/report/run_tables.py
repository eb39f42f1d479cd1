"""The tables of a run in a database, its views and macros; the reports over them as views."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from pathlib import Path

import duckdb

from replay.errors import InputError
from replay.report.run_view import RUN_COLUMNS, run_row
from replay.runs.open import Run
from replay.schema import TABLES, Column

DUCKDB_TYPES = {"Int32": "INTEGER", "Int64": "BIGINT", "UInt64": "UBIGINT", "String": "VARCHAR"}
SQL_FOLDER = Path(__file__).parent / "sql"


def create_run_tables(
    connection: duckdb.DuckDBPyConnection, run: Run, *, in_place: bool, there: Container[str] = ()
) -> None:
    """Create the tables of a run in the current schema, and the views and macros over them.

    Its rows are read where they lie if `in_place`, else taken into memory. Tables that are `there`
    are left alone, one that the run has not is empty. Raises InputError and duckdb.Error.
    """
    for name, columns in TABLES.items():
        if name in there:
            continue
        if name in run.tables:
            _create_table(connection, run, name, columns, in_place=in_place)
        else:
            nulls = ", ".join(f"NULL::{DUCKDB_TYPES[c.dtype]} AS {c.name}" for c in columns)
            connection.execute(f"CREATE VIEW {name} AS SELECT {nulls} WHERE false")
    definition = ", ".join(f"{column.name} {column.type}" for column in RUN_COLUMNS)
    connection.execute(f"CREATE TABLE run ({definition})")
    marks = ", ".join("?" for _ in RUN_COLUMNS)
    connection.execute(f"INSERT INTO run VALUES ({marks})", run_row(run))
    connection.execute((SQL_FOLDER / "_views.sql").read_text(encoding="utf-8"))


def create_reports(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the shipped reports as views in a schema `report`."""
    connection.execute("CREATE SCHEMA report")
    for file in sorted(SQL_FOLDER.glob("[a-z]*.sql")):
        text = file.read_text(encoding="utf-8")
        connection.execute(f"CREATE VIEW report.{file.stem} AS {text}")


def _create_table(
    connection: duckdb.DuckDBPyConnection,
    run: Run,
    name: str,
    columns: Sequence[Column],
    *,
    in_place: bool,
) -> None:
    file = _checked_file(run, name)
    # A path that may be read may also be written, by a COPY that hides well enough. A locked
    # database therefore takes the rows into memory and may open no file at all.
    kind = "VIEW" if in_place else "TABLE"
    version = run.manifest["schema_version"]
    later = ", ".join(
        f"NULL::{DUCKDB_TYPES[column.dtype]} AS {column.name}"
        for column in columns
        if column.since > version
    )
    try:
        # A folder called `day=1` is no partition.
        connection.execute(
            f"CREATE {kind} {name} AS SELECT *{', ' * bool(later)}{later} "
            f"FROM read_parquet({_quoted(_pattern(file))}, hive_partitioning = false)"
        )
        view = connection.sql(f"FROM {name}")
    except duckdb.Error as error:
        raise InputError(
            f"{file}: cannot read: {duckdb_text(error)}", hint="the run is damaged: replay it"
        ) from error
    found = dict(zip(view.columns, map(str, view.types), strict=True))
    for column in columns:
        wanted = DUCKDB_TYPES[column.dtype]
        if found.get(column.name) != wanted:
            raise InputError(
                f"{file}: column {column.name} must be {wanted} "
                f"(got {found.get(column.name, 'no such column')})",
                hint="the run was changed after it was written: replay it",
            )


def duckdb_text(error: duckdb.Error) -> str:
    """Return DuckDB's message without what passing rows between two connections adds to it.

    Its advice on settings is left out, too: they are locked.
    """
    wrapped = r"^.*?registered as 'result' failed: \w+: "
    text = re.sub(wrapped, "", str(error), flags=re.DOTALL)
    return text.partition("\n\nPossible solutions")[0].strip()


def _checked_file(run: Run, name: str) -> str:
    """Return the path of a table that is a file of its own, in the run's folder."""
    file = run.tables[name]
    if file.is_symlink() or file.resolve() != run.folder.resolve() / file.name:
        raise InputError(f"{file}: is a symbolic link", hint="put the table itself there")
    try:
        str(file).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{file}: the path is not UTF-8", hint="rename the folder to read it with SQL"
        ) from error
    return str(file)


def _pattern(path: str) -> str:
    """Return the glob pattern that matches this path alone."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
