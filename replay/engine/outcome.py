"""What became of the requests of a replay, in a fraction of the memory the kernels take.

The kernels keep 424 bytes a request (`state`, `outcome` and `holdings` of replay/kernels/layout/),
all 0 until it is looked at and never touched again once it is done. So its rows are taken out as
soon as it and all before it are done, into a column each of as few bytes as its values need, and
their memory is given back: what stays is 50 to 130 bytes a request.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Mapping

import numpy as np

from replay.kernels import layout

_ROWS_AT_ONCE = 1 << 16  # fewer are not worth taking out, unless they are the last
_INT_BYTES = 8
_HUGE_PAGE = 1 << 21  # bytes
_CAN_RELEASE = hasattr(mmap, "MADV_DONTNEED") and hasattr(mmap, "MAP_PRIVATE")


class LazyRows:
    """int64[rows, fields] in `table`, all 0, which takes memory only where it is written.

    It comes in huge pages where there are any: a fifth of a timed replay went into handing out
    pages of 4 KiB. A table that would not use half of one is plain memory, not given back.
    """

    def __init__(self, rows: int, fields: int) -> None:
        self._row_bytes = fields * _INT_BYTES
        self._pages: mmap.mmap | None = None
        size = rows * self._row_bytes
        if not _CAN_RELEASE or 2 * size < _HUGE_PAGE:
            self.table = np.zeros((rows, fields), np.int64)
            return
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        size = -(-size // _HUGE_PAGE) * _HUGE_PAGE  # other sizes need not begin with one
        self._pages = mmap.mmap(-1, size, flags=flags)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a system without them
                self._pages.madvise(mmap.MADV_HUGEPAGE)
        self.table = np.frombuffer(self._pages, np.int64, rows * fields).reshape(rows, fields)

    def release(self, start: int, stop: int) -> None:
        """Give back the memory of rows start..stop, which nobody may read or write any more."""
        if self._pages is None:
            return
        first = -(-start * self._row_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        last = stop * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._pages.madvise(mmap.MADV_DONTNEED, first, last - first)


class Outcome:
    """int64[R, OUTCOME_FIELDS] kept by column; `outcome[rows, field]` is int64.

    Rows that were not put in are 0: of requests that were never looked at.
    """

    def __init__(self, requests: int) -> None:
        self._requests = requests
        self._columns: list[np.ndarray | None] = [None] * layout.OUTCOME_FIELDS

    def __len__(self) -> int:
        return self._requests

    def __getitem__(self, place: tuple[slice | np.ndarray, int]) -> np.ndarray:
        rows, field = place
        column = self._columns[field]
        if column is None:
            column = np.broadcast_to(np.int8(0), self._requests)
        return column[rows].astype(np.int64)

    def put(self, start: int, rows: np.ndarray) -> None:
        """Put in the rows of the requests from `start` on, int64[*, OUTCOME_FIELDS]."""
        for field in range(layout.OUTCOME_FIELDS):
            self._put_column(field, start, rows[:, field])

    def changed(self, columns: Mapping[int, np.ndarray]) -> Outcome:
        """Return the same with other columns, int64[R] by field, in the place of some."""
        other = Outcome(self._requests)
        other._columns = list(self._columns)
        for field, values in columns.items():
            other._columns[field] = None
            other._put_column(field, 0, values)
        return other

    def only(self, *fields: int) -> Outcome:
        """Return the same with some columns alone; the others are 0."""
        other = Outcome(self._requests)
        for field in fields:
            other._columns[field] = self._columns[field]
        return other

    def _put_column(self, field: int, start: int, values: np.ndarray) -> None:
        if not values.any():
            return  # as it is where nothing was put
        dtype = smallest(values)
        column = self._columns[field]
        if column is None:
            column = np.zeros(self._requests, dtype)
        elif column.dtype.itemsize < dtype.itemsize:
            column = column.astype(dtype)
        column[start : start + len(values)] = values
        self._columns[field] = column


def smallest(values: np.ndarray) -> np.dtype:
    """Return the smallest type of signed integers that holds all values."""
    least, most = int(values.min(initial=0)), int(values.max(initial=0))
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return np.dtype(np.int64)


def narrowed(values: np.ndarray) -> np.ndarray:
    """Return the values in the smallest type of integers that holds them."""
    return values.astype(smallest(values))


class Harvest:
    """The tables of requests for one replay, and what is taken out of them as requests are done."""

    def __init__(self, requests: int) -> None:
        self.state = LazyRows(requests, layout.STATE_FIELDS)
        self.holdings = LazyRows(requests, layout.HOLDING_FIELDS)
        self.rows = LazyRows(requests, layout.OUTCOME_FIELDS)
        self.outcome = Outcome(requests)
        self._taken = 0

    def done(self, left_queue: int) -> int:
        """Return how many requests are done from the first one on, of those that left the queue."""
        phases = self.state.table[self._taken : left_queue, layout.PHASE]
        not_done = phases != layout.DONE
        return self._taken + int(not_done.argmax()) if not_done.any() else left_queue

    def take(self, done: int) -> None:
        """Take out the rows of the first `done` requests, unless they are too few."""
        while done - self._taken >= _ROWS_AT_ONCE:
            self._take_to(self._taken + _ROWS_AT_ONCE)

    def _take_to(self, stop: int) -> None:
        if stop > self._taken:
            start, self._taken = self._taken, stop
            self.outcome.put(start, self.rows.table[start : self._taken])
            for rows in (self.rows, self.state, self.holdings):
                rows.release(start, self._taken)

    def take_all(self) -> Outcome:
        """Return the outcome of a replay that is over."""
        self.take(len(self.outcome))
        self._take_to(len(self.outcome))
        return self.outcome
