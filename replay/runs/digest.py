"""The digest of a result: equal for equal tables, whatever wrote them and however."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import polars as pl

from replay.runs.conform import conform

_ROWS = 1 << 18  # a multiple of 8, so that packed validity bits never straddle two slices


def result_digest(tables: Mapping[str, pl.DataFrame]) -> str:
    """Return the SHA-256, in hex, of what the tables say.

    It covers table and column names, types, and values as little-endian bytes with their
    validity, and nothing of threads, chunks or Parquet layout. Row order counts. Tables are
    taken as `conform` brings them to the schema, so it can be computed again from the files.
    """
    whole = hashlib.sha256()
    for name, frame in conform(tables).items():
        for series in frame:
            head = [name, series.name, str(series.dtype), len(series)]
            whole.update(json.dumps(head).encode())
            column = hashlib.sha256()
            _feed(column, series)
            whole.update(column.digest())
    return whole.hexdigest()


def _feed(digest: hashlib._Hash, series: pl.Series) -> None:
    """Add a column: slices of a fixed number of rows, each its validity and then its values."""
    for start in range(0, len(series), _ROWS):
        part = series.slice(start, _ROWS)
        digest.update(np.packbits(part.is_not_null().to_numpy(), bitorder="little").tobytes())
        _feed_values(digest, part)


def _feed_values(digest: hashlib._Hash, part: pl.Series) -> None:
    dtype = part.dtype
    if isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            _feed(digest, part.struct.field(field.name))
    elif isinstance(dtype, pl.List | pl.Array):
        lists = part.cast(pl.List(dtype.inner))
        _feed(digest, lists.list.len())
        _feed(digest, lists.drop_nulls().explode(empty_as_null=False))
    elif isinstance(dtype, pl.Binary):
        _feed_bytes(digest, [value or b"" for value in part.to_list()])
    elif dtype.is_temporal() or dtype == pl.Boolean or _is_machine_number(dtype):
        values = part.to_physical().fill_null(False if dtype == pl.Boolean else 0).to_numpy()
        little = values.astype(values.dtype.newbyteorder("<"), copy=False)
        digest.update(np.ascontiguousarray(little).data)
    else:  # text, and numbers wider than a machine word
        _feed_bytes(digest, [(value or "").encode() for value in part.cast(pl.String).to_list()])


def _feed_bytes(digest: hashlib._Hash, values: list[bytes]) -> None:
    """Add byte strings: all lengths first, so that no two lists of strings read the same."""
    digest.update(np.array([len(value) for value in values], dtype="<i8").tobytes())
    digest.update(b"".join(values))


def _is_machine_number(dtype: pl.DataType) -> bool:
    return dtype.is_float() or (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128))
