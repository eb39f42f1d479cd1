"""A table that is made a stretch of rows at a time, because all of it would not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

ROWS_AT_ONCE = 1 << 18  # the digest's slices and a row group's rows


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of `height` rows; `make(start, stop)` returns some of them."""

    height: int
    make: Callable[[int, int], pl.DataFrame]

    def stretches(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in order, `ROWS_AT_ONCE` of them at a time; at least one frame."""
        for start in range(0, max(self.height, 1), ROWS_AT_ONCE):
            yield self.make(start, min(start + ROWS_AT_ONCE, self.height))

    def frame(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the table, or some columns of it, in memory."""
        parts = (part if columns is None else part.select(columns) for part in self.stretches())
        return pl.concat(parts, how="vertical")


def rows_of(frame: pl.DataFrame) -> Rows:
    """Return a table in memory as rows."""
    return Rows(frame.height, lambda start, stop: frame.slice(start, stop - start))
