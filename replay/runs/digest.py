"""The digest of a result: equal for equal tables, whatever wrote them and however."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl

from replay.runs.conform import conform
from replay.runs.rows import ROWS_AT_ONCE, rows_of

_THREADS = 4  # hashing leaves other threads free to run


def result_digest(tables: Mapping[str, pl.DataFrame]) -> str:
    """Return the SHA-256, in hex, of what the tables say.

    It covers table and column names, types, and values as little-endian bytes with their
    validity, and nothing of threads, chunks or Parquet layout. Row order counts. Tables are
    taken as `conform` brings them to the schema, so it can be computed again from the files.
    """
    whole = ResultDigest()
    for name, frame in conform(tables).items():
        whole.begin(name)
        for part in rows_of(frame).stretches():
            whole.add(part)
    return whole.hexdigest()


class ResultDigest:
    """The digest of tables that come a stretch at a time, in the order of the schema."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._name = ""
        self._columns: dict[str, hashlib._Hash] = {}
        self._types: dict[str, str] = {}
        self._height = 0

    def begin(self, name: str) -> None:
        """Begin a table; the one before it has ended."""
        self._end()
        self._name = name

    def add(self, part: pl.DataFrame) -> None:
        """Add the next rows of a conformed table: `ROWS_AT_ONCE` of them, fewer at its end."""
        for series in part:
            self._columns.setdefault(series.name, hashlib.sha256())
            self._types.setdefault(series.name, str(series.dtype))
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda series: _feed(self._columns[series.name], series), part))
        self._height += part.height

    def hexdigest(self) -> str:
        """Return the digest of all that was added."""
        self._end()
        return self._whole.hexdigest()

    def _end(self) -> None:
        for label, digest in self._columns.items():
            head = [self._name, label, self._types[label], self._height]
            self._whole.update(json.dumps(head).encode())
            self._whole.update(digest.digest())
        self._columns, self._types, self._height = {}, {}, 0


def _feed(digest: hashlib._Hash, series: pl.Series) -> None:
    """Add a column: slices of a fixed number of rows, each its validity and then its values."""
    for start in range(0, len(series), ROWS_AT_ONCE):
        part = series.slice(start, ROWS_AT_ONCE)
        # The rows are a multiple of 8, so packed validity bits never straddle two slices.
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
