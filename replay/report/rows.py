"""Rows of Python values as a frame, so that a database takes them at once and not one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

# Of these types a column of values is a column of the frame; `_AS_TEXT` are cast from their text.
_DTYPES = {
    "BOOLEAN": pl.Boolean,
    "INTEGER": pl.Int32,
    "BIGINT": pl.Int64,
    "UBIGINT": pl.UInt64,
    "DOUBLE": pl.Float64,
    "VARCHAR": pl.String,
}
_AS_TEXT = ("HUGEINT", "UHUGEINT", "DECIMAL")


def frame_of(types: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame | None:
    """Return the values of rows under the names `0`, `1` and so on, in types that hold them.

    `types` are DuckDB's. None where a column holds what only the database itself can convert.
    """
    columns = zip(*rows, strict=True) if rows else [()] * len(types)
    series = []
    for place, (type_name, values) in enumerate(zip(types, columns, strict=True)):
        found = _series(type_name, values)
        if found is None:
            return None
        series.append(found.alias(str(place)))
    return pl.DataFrame(series)


def _series(type_name: str, values: Sequence[Any]) -> pl.Series | None:
    kinds = set(map(type, values)) - {type(None)}
    if type_name == "DOUBLE" and kinds <= {int, float}:
        return pl.Series([None if one is None else float(one) for one in values], dtype=pl.Float64)
    if type_name.startswith(_AS_TEXT):
        return pl.Series([None if one is None else str(one) for one in values], dtype=pl.String)
    expected = {"BOOLEAN": bool, "DOUBLE": float, "VARCHAR": str}.get(type_name, int)
    if type_name not in _DTYPES or not kinds <= {expected}:
        return None
    return pl.Series(values, dtype=_DTYPES[type_name])
