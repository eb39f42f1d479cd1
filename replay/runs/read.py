"""A table of a run directory as a frame, its columns those of the schema."""

from __future__ import annotations

import polars as pl

from replay.errors import InputError
from replay.runs.open import Run
from replay.schema import TABLES
from replay.trace.parquet_check import check_parquet


def run_table(run: Run, name: str) -> pl.LazyFrame:
    """Return a table of a run, whatever bytes the path to it is made of.

    Raises InputError where it cannot be decoded or lacks a column of the schema.
    """
    path = run.tables[name]
    try:
        content = path.read_bytes()
        if not run.verified:
            check_parquet(content, str(path))  # some damage would end this process
        frame = pl.read_parquet(content)
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"{path}: damaged Parquet file ({error})") from error
    version = run.manifest["schema_version"]
    for column in TABLES[name]:
        found = frame.schema.get(column.name)
        if column.since <= version and found != getattr(pl, column.dtype):
            raise InputError(
                f"{path}: column {column.name} must be {column.dtype} "
                f"(got {found or 'no such column'})",
                hint="the run was changed after it was written: replay it",
            )
    return frame.lazy()
