"""The digest of a result: equal for equal tables, whatever wrote them and however."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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
    with ThreadPoolExecutor() as pool:  # hashing leaves other threads free to run
        for name, frame in conform(tables).items():
            for series, digest in zip(frame, pool.map(_column_digest, frame), strict=True):
                head = [name, series.name, str(series.dtype), len(series)]
                whole.update(json.dumps(head).encode())
                whole.update(digest)
    return whole.hexdigest()


def _column_digest(series: pl.Series) -> bytes:
    digest = hashlib.sha256()
    _feed(digest, series)
    return digest.digest()


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
        values = part.fill_null(b"")
        _feed_bytes(digest, values.bin.size(), b"".join(values.to_list()))
    elif dtype.is_temporal() or dtype == pl.Boolean or _is_machine_number(dtype):
        numbers = part.to_physical().fill_null(False if dtype == pl.Boolean else 0).to_numpy()
        little = numbers.astype(numbers.dtype.newbyteorder("<"), copy=False)
        digest.update(np.ascontiguousarray(little).data)
    else:  # text, and numbers wider than a machine word
        values = part.cast(pl.String).fill_null("")
        _feed_bytes(digest, values.str.len_bytes(), "".join(values.to_list()).encode())


def _feed_bytes(digest: hashlib._Hash, lengths: pl.Series, joined: bytes) -> None:
    """Add byte strings: all lengths first, so that no two lists of strings read the same."""
    digest.update(lengths.to_numpy().astype("<i8").tobytes())
    digest.update(joined)


def _is_machine_number(dtype: pl.DataType) -> bool:
    return dtype.is_float() or (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128))
