"""Our own Parquet files, as a format among the others."""

from __future__ import annotations

import io

import polars as pl

from replay.trace.frame import Trace
from replay.trace.parquet import METADATA_KEY, read_trace
from replay.trace.parquet_check import MAGIC
from replay.trace.readers.options import DEFAULTS, ReadOptions
from replay.trace.readers.reader import Reader
from replay.trace.readers.source import Source


def looks_like_parquet(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a Parquet file."""
    return head.startswith(MAGIC)


def parquet_columns(data: bytes) -> set[str]:
    """Return the names of the columns of a foreign Parquet file; none where it is damaged."""
    try:
        if METADATA_KEY in pl.read_parquet_metadata(io.BytesIO(data)):
            return set()  # our own keeps columns of its source, whatever their names
        return set(pl.read_parquet_schema(io.BytesIO(data)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return set()


def read_canonical(source: Source, options: ReadOptions = DEFAULTS) -> Trace:
    """Return the trace in a canonical Parquet file, whole or not at all."""
    return read_trace(source.data, source.path, sha256=source.sha256, block_size=options.block_size)


PARQUET = Reader(
    name="parquet",
    suffixes=(".parquet",),
    meaning="canonical Parquet, as replay writes it",
    content="segments, token ids or block ids, as its columns say",
    sessions="its column session_id",
    assumes="nothing",
    sniff=looks_like_parquet,
    read=read_canonical,
    takes=("block_size",),
)
