"""Integers of more than 64 bits, which Parquet has no type for: DuckDB would write doubles.

A sum of BIGINT is one. A column of them is written as 64-bit integers where all of its values fit,
else as decimals of 38 digits without a fraction, else as the digits; so are those inside lists,
structs and maps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NARROWER = ("BIGINT", "DECIMAL(38,0)", "VARCHAR")
# As a type, not as the name of a struct's field, before which it stands with a space behind it.
_WIDE = re.compile(r'"(?:[^"]|"")*"|\b(U?HUGEINT|BIGNUM)\b(?=[,)\[]|$)')


def narrowed(type: str, wanted: str) -> str:
    """Return a DuckDB type with `wanted` in place of each integer type of more than 64 bits."""
    return _WIDE.sub(lambda found: wanted if found[1] else found[0], type)


def whole_rows(connection: DuckDBPyConnection) -> str:
    """Return the query for the rows of `result` in types that Parquet holds without loss.

    Where there are such integers the rows are taken into memory first: their values decide.
    """
    relation = connection.sql("FROM result")
    wide = [
        (f'"{name.replace(chr(34), chr(34) * 2)}"', type)
        for name, type in zip(relation.columns, map(str, relation.types), strict=True)
        if narrowed(type, "") != type
    ]
    if not wide:
        return "FROM result"
    connection.execute("CREATE TEMP TABLE held AS FROM result")
    casts = ", ".join(f"{cast} AS {name}" for name, cast in _casts(connection, wide))
    return f"SELECT * REPLACE ({casts}) FROM held"


def _casts(
    connection: DuckDBPyConnection, columns: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    for name, type in columns:
        for wanted in NARROWER:
            other = narrowed(type, wanted)
            lost = f"TRY_CAST({name} AS {other})::{type} IS DISTINCT FROM {name}"
            if not connection.sql(f"SELECT count(*) FILTER ({lost}) FROM held").fetchall()[0][0]:
                yield name, f"{name}::{other}"
                break
