"""Priorities of requests, a column of the source's own: whole numbers that can be compared.

A scheduler negates them and takes differences, so none is beyond 2^62 either way. Whole numbers
are taken however they are written, as text or as 2.0; anything else is a fault, for a request
without its priority would be replayed as another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.problems import shown

PRIORITY = "priority"
LARGEST = 2**62
HINT = (
    "priorities are whole numbers from -2^62 to 2^62; leave the column out, or give it another "
    "name, if it holds something else"
)
_WRITTEN = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?")


def priority_of(value: object) -> int | None:
    """Return a priority as an integer, None for none; raises ValueError where it is no such."""
    if value is None:
        return None
    whole: int | None = value if type(value) is int else None
    if isinstance(value, float | str):
        text = value.strip() if isinstance(value, str) else repr(value)
        whole = int(Decimal(text)) if _WRITTEN.fullmatch(text) else None
    if whole is None or not -LARGEST <= whole <= LARGEST:
        raise ValueError(f"{PRIORITY} must be a whole number up to 2^62 (got {shown(value)})")
    return whole


def priority_faults(values: Iterable[object]) -> dict[int, str]:
    """Return what is wrong with priorities, by place."""
    faults = {}
    for place, value in enumerate(values):
        try:
            priority_of(value)
        except ValueError as fault:
            faults[place] = str(fault)
    return faults


def _in_reach(column: pl.Series) -> bool:
    ends = (column.min(), column.max())  # compared as integers of Python, which no type bounds
    return all(
        isinstance(end, int) and -LARGEST <= end <= LARGEST for end in ends if end is not None
    )


def written_priorities(name: str, values: list[object]) -> pl.Series:
    """Return priorities of JSON, Int64; all as text where one is no priority, to be told later."""
    if priority_faults(values):
        texts = [None if value is None else str(value) for value in values]
        return pl.Series(name, texts, dtype=pl.String)
    return pl.Series(name, [priority_of(value) for value in values], dtype=pl.Int64)


def priorities(frame: pl.DataFrame, path: str) -> np.ndarray:
    """Return the column `priority` of a trace's frame, int64[R]; 0 where there is none.

    Raises InputError, with the first request whose priority is none.
    """
    if PRIORITY not in frame.columns:
        return np.zeros(len(frame), np.int64)
    column = frame[PRIORITY]
    if column.dtype.is_integer() and _in_reach(column):
        return column.cast(pl.Int64).fill_null(0).to_numpy().astype(np.int64)
    values = column.to_list()
    for request, fault in priority_faults(values).items():
        raise InputError(f"{path}: request {request}: {fault}", hint=HINT)
    return np.array([priority_of(value) or 0 for value in values], np.int64)
