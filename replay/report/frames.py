"""Frames as tables and small tables as frames."""

from __future__ import annotations

from typing import BinaryIO

import polars as pl

from replay.report.rows import frame_of
from replay.report.tables import Table, types_of


class FrameTable:
    """A table that is a frame: written as it is, its rows made only where people read them."""

    def __init__(self, frame: pl.DataFrame, title: str | None = None) -> None:
        self._frame = frame
        self._title = title
        self.columns = tuple(frame.columns)

    def table(self) -> Table:
        """Return the rows in memory."""
        return Table(self.columns, self._frame.rows(), self._title)

    def copy(self, options: str, sink: BinaryIO) -> None:
        """Write the rows to a stream as DuckDB's COPY does, such as `FORMAT csv`."""
        from replay.report.copying import copy_frame

        copy_frame(self._frame, options, sink)


def table_frame(table: Table) -> pl.DataFrame:
    """Return a small table as a frame, in the types that files of it have."""
    frame = frame_of(types_of(table), table.rows)
    if frame is None:  # lists and the like
        return pl.DataFrame(list(table.rows), schema=list(table.columns), orient="row")
    frame.columns = list(table.columns)
    return frame
