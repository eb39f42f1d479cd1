"""Tables brought to their schema: every column there, of its type, in its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from replay.schema import TABLES, Column, column_names


def conform(tables: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the tables in schema order with their columns checked, cast and put in order.

    Integers are widened or narrowed without loss and all-null columns take their type; columns
    the schema does not know follow its own. Raises ValueError on anything else: the caller
    built a wrong table.
    """
    return {name: conformed(name, tables[name]) for name in names_in_order(tables)}


def names_in_order(tables: Collection[str]) -> list[str]:
    """Return the names of the tables as the schema orders them.

    Raises ValueError for a table that it does not know, and where the requests are missing.
    """
    if unknown := sorted(set(tables) - set(TABLES)):
        raise ValueError(f"unknown table (got {unknown[0]!r})")
    if "requests" not in tables:
        raise ValueError("a run needs its requests table")
    return [name for name in TABLES if name in tables]


def conformed(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a table as `conform` does."""
    columns = TABLES[name]
    known = column_names(columns)
    own = [_column(name, column, frame) for column in columns]
    extra = [_plain(name, frame[label]) for label in frame.columns if label not in known]
    return pl.DataFrame([*own, *extra])


def _column(table: str, column: Column, frame: pl.DataFrame) -> pl.Series:
    wanted = getattr(pl, column.dtype)
    if column.name not in frame.columns:
        if column.required:
            raise ValueError(f"{table}: column {column.name} is missing")
        return pl.Series(column.name, [None], dtype=wanted).new_from_index(0, frame.height)
    series = frame[column.name]
    if series.dtype == wanted:
        return series
    if series.dtype == pl.Null or (series.dtype.is_integer() and wanted.is_integer()):
        try:
            return series.cast(wanted)
        except pl.exceptions.InvalidOperationError as error:
            raise ValueError(f"{table}: column {column.name}: {error}") from error
    raise ValueError(f"{table}: column {column.name} must be {wanted} (got {series.dtype})")


def _plain(table: str, series: pl.Series) -> pl.Series:
    """Return a source column in a type that Parquet gives back unchanged."""
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    if series.dtype == pl.Object:
        raise ValueError(f"{table}: column {series.name} holds Python objects")
    return series
