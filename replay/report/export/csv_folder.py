"""A run as a folder of CSV files, one a table, and one that says what every column means."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from replay.report.db import PATIENCE_S, RunDatabase
from replay.report.export.described import columns_table, exported_tables
from replay.report.export.folder import COLUMNS_TABLE, check_folder
from replay.report.tables import write_table
from replay.writing.whole import new_file, whole_folder


def write_csv_folder(database: RunDatabase, folder: Path, *, force: bool) -> list[str]:
    """Write the tables of a run, an unlocked database, and return the names of the files.

    The folder appears when all of them are whole. Raises what `check_folder` raises.
    """
    check_folder(folder, force=force)
    names = []
    real = folder.resolve()
    with whole_folder(real, check=lambda: check_folder(folder, force=force)) as beside:
        for table in exported_tables(database):
            names.append(f"{table}.csv")
            result = database.query(f"FROM {table}", timeout_s=PATIENCE_S)
            with new_file(beside / names[-1], shown=folder) as sink:
                result.copy("FORMAT csv", cast(BinaryIO, sink))
        names.append(f"{COLUMNS_TABLE}.csv")
        with new_file(beside / names[-1], shown=folder) as sink:
            write_table(columns_table(database, reports=False), "csv", cast(BinaryIO, sink))
    return names
