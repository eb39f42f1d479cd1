"""Requests by session, tenant, time or any other column, for results of each group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from replay.errors import InputError, UnknownNameError
from replay.trace.frame import CONTENT_COLUMNS, Trace
from replay.units import format_duration

WINDOW = "window"
_SHORT = {"session": "session_id"}


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each request is in: `names[codes[r]]`; `codes` int64[R]."""

    by: str
    names: list[str]
    codes: np.ndarray


def group_requests(trace: Trace, by: str, window_ns: int | None) -> Groups:
    """Return the requests by `session`, `window` (of `window_ns`) or a column of the trace.

    Groups are in order of their values, those of sessions and windows by number. Raises
    UnknownNameError for a column that is not there, and InputError for `window` without a length.
    """
    if by == WINDOW:
        if window_ns is None:
            raise InputError("groups by window need a length", hint="give --window 10m")
        arrival = trace.column("arrival_ns")
        elapsed = (arrival - arrival.min()) // window_ns
        starts, window_of = np.unique(elapsed, return_inverse=True)
        names = [format_duration(int(start) * window_ns) if start else "0s" for start in starts]
        return Groups(by, names, window_of)
    column = _SHORT.get(by, by)
    known = [name for name in trace.frame.columns if name not in CONTENT_COLUMNS]
    if column not in known:
        raise UnknownNameError("column of the trace", by, [WINDOW, *_SHORT, *known])
    series = trace.frame[column]
    values = series.unique().sort(nulls_last=True)
    ranks = pl.DataFrame({column: values, "code": np.arange(len(values))})
    codes = trace.frame.select(column).join(
        ranks, on=column, how="left", nulls_equal=True, maintain_order="left"
    )["code"]
    names = ["none" if value is None else str(value) for value in values]
    return Groups(by, names, codes.to_numpy().astype(np.int64))
