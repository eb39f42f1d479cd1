"""Rows of a Parquet file of conversations as JSON lines, so that both are read alike."""

from __future__ import annotations

import io
from dataclasses import replace

import polars as pl

from replay.errors import Problem, TraceError
from replay.trace.parquet_check import MAGIC
from replay.trace.readers.source import Source

_TOOLS = "tools"


def lines_of_parquet(source: Source, conversations: str) -> Source:
    """Return the rows of a Parquet file as JSON lines, any other source as it is.

    Of other columns than conversations and tools only plain values are read: no verdicts of
    moderation, which hold more than what was said, and no images, which JSON cannot hold. Raises
    TraceError where the file is damaged.
    """
    if not source.data.startswith(MAGIC):
        return source
    try:
        schema = pl.read_parquet_schema(io.BytesIO(source.data))
        columns = [
            name
            for name, dtype in schema.items()
            if name in (conversations, _TOOLS) or not (dtype.is_nested() or dtype == pl.Binary)
        ]
        lines = io.BytesIO()
        pl.read_parquet(io.BytesIO(source.data), columns=columns).write_ndjson(lines)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        what = (str(error).splitlines() or ["no reason given"])[0]
        raise TraceError([Problem(source.path, f"damaged Parquet file ({what})")]) from error
    return replace(source, data=lines.getvalue())
