"""Values of a table's columns as what they are said to mean: counts, times, names, lists of ids.

Each function takes most values at once; one that this leaves open is looked at alone, and either
turns out to be right or is told with its line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl

from replay.trace.lists import list_column
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.block_checks import unsigned
from replay.trace.readers.chat_messages import RowError
from replay.trace.readers.checked_row import LARGEST_NS
from replay.trace.readers.column_tables import TableColumn
from replay.trace.readers.decimals import is_number
from replay.trace.readers.source_clock import A_DATE, date_ns
from replay.trace.readers.text_requests import writable

ISO = "iso"
_SPACE = " \t\r"  # other white space is no part of a number
_UNIT_DIGITS = {"s": 9, "ms": 6, "us": 3, "ns": 0}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")
_DECIMAL = r"^([0-9]{1,18})(?:\.([0-9]*))?$"
_DATE = r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(?:Z|\+00:?00)?$"
_LIST_ITEM = r"""[^\s,;|\[\]"']+"""
_LARGEST_TOKEN = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Telling:
    """Where faults of rows are told: `lines` int64[R] are the places of all rows."""

    problems: ProblemList
    lines: np.ndarray

    def tell(self, row: int, fault: str) -> None:
        """Add what is wrong with a row."""
        self.problems.add(fault, line=int(self.lines[row]))


def counts_in(
    column: TableColumn, rows: Telling, *, lowest: int, highest: int, required: bool = True
) -> pl.Series:
    """Return integers, Int64; null where there is none or where a fault was told."""
    values = column.values
    quick = _unsure(column)
    if isinstance(values, pl.Series) and (
        values.dtype.is_integer() or (column.is_text and values.dtype == pl.String)
    ):
        quick = values.cast(pl.Int64, strict=False)
    quick = quick.set(~quick.is_between(lowest, highest).fill_null(False), None)
    slow = partial(_integer, lowest=lowest, highest=highest, is_text=column.is_text)
    return _completed(column, quick, slow, rows, required=required)


def times_in(column: TableColumn, rows: Telling, *, unit: str, required: bool = True) -> pl.Series:
    """Return times or durations in ns, Int64; null where there is none or a fault was told.

    `unit` is s, ms, us or ns, or iso for dates; a number is read as exactly as it is written.
    """
    values, quick = column.values, _unsure(column)
    if unit == ISO:
        if isinstance(values, pl.Series) and values.dtype in (pl.Datetime, pl.Date):
            quick = values.cast(pl.Datetime("ns")).to_physical()
            quick = quick.set((quick < 0).fill_null(False), None)
        elif isinstance(values, pl.Series) and values.dtype == pl.String:
            quick = _quick_dates(values)
        return _completed(column, quick, _date, rows, required=required)
    digits = _UNIT_DIGITS[unit]
    if isinstance(values, pl.Series) and values.dtype.is_integer():
        whole = values.cast(pl.Int64, strict=False)
        fits = whole.is_between(0, LARGEST_NS // 10**digits).fill_null(False)
        quick = whole.set(~fits, None) * 10**digits
    elif isinstance(values, pl.Series) and column.is_text and values.dtype == pl.String:
        quick = _quick_decimals(values, digits)
    slow = partial(_time, unit_ns=10**digits, is_text=column.is_text)
    return _completed(column, quick, slow, rows, required=required)


def names_in(column: TableColumn, rows: Telling) -> pl.Series:
    """Return names, String: text, or integers in digits; null where there is none."""
    values, quick = column.values, pl.Series(column.name, [None] * len(column.values), pl.String)
    if isinstance(values, pl.Series) and (values.dtype == pl.String or values.dtype.is_integer()):
        quick = values.cast(pl.String)
    return _completed(column, quick, _name, rows, required=False, dtype=pl.String())


def ids_in(column: TableColumn, rows: Telling) -> pl.Series:
    """Return lists of block ids, List(UInt64), null where there is none.

    Integers of 64 bits are taken as they are, negative ones as their two's complement; where any
    id in the column is another text, all are, and each is hashed to 64 bits.
    """
    flat, counts = _flat(column, rows)
    if flat.dtype == pl.String:
        numbers = _quick_ids(flat) if column.is_text else None
        ids = _hashed(flat) if numbers is None else numbers
    else:
        ids = flat.to_numpy()
    return list_column(ids.astype(np.uint64, copy=False), counts).alias(column.name)


def tokens_in(column: TableColumn, rows: Telling) -> pl.Series:
    """Return lists of token ids, List(UInt32), null where there is none."""
    flat, counts = _flat(column, rows)
    owner = np.repeat(np.arange(len(counts)), counts)
    numbers = flat.cast(pl.UInt64, strict=False) if flat.dtype != pl.UInt64 else flat
    if flat.dtype == pl.String and not column.is_text:
        numbers = pl.Series(flat.name, [None] * len(flat), pl.UInt64)
    wrong = (numbers.is_null() | (numbers > _LARGEST_TOKEN)).fill_null(True)
    places = np.flatnonzero(wrong.to_numpy())
    for place in places[np.unique(owner[places], return_index=True)[1]].tolist():
        what = f"{column.name} must hold token ids from 0 to 2^32 - 1 (got {shown(flat[place])})"
        rows.tell(int(owner[place]), what)
    kept = numbers.set(wrong, 0).to_numpy().astype(np.uint32)
    return list_column(kept, counts).alias(column.name)


def _unsure(column: TableColumn) -> pl.Series:
    return pl.Series(column.name, [None] * len(column.values), pl.Int64)


def _completed(
    column: TableColumn,
    quick: pl.Series,
    slow: Callable[[object], object],
    rows: Telling,
    *,
    required: bool,
    dtype: pl.DataType | None = None,
) -> pl.Series:
    """Return the column with each null looked at alone."""
    places: list[int] = []
    found: list[object] = []
    unsure, missing = quick.is_null(), _missing(column)
    if required:
        lacking = np.flatnonzero(missing.to_numpy())
        rows.problems.add_rows(lacking, lambda row: f"lacks {column.name}", lines=rows.lines)
    for row in np.flatnonzero((unsure & ~missing).to_numpy()).tolist():
        value = column.values[row]
        try:
            found.append(slow(value))
        except RowError as error:
            rows.tell(row, f"{column.name} {error} (got {shown(value)})")
        else:
            places.append(row)
    if not places:
        return quick
    return quick.scatter(places, pl.Series(found, dtype=dtype or pl.Int64()))


def _missing(column: TableColumn) -> pl.Series:
    """Return which rows have no value; in text an empty one is none."""
    values = column.values
    if not isinstance(values, pl.Series):
        return pl.Series([value is None for value in values], dtype=pl.Boolean)
    empty = values == "" if column.is_text and values.dtype == pl.String else None
    return values.is_null() if empty is None else values.is_null() | empty.fill_null(True)


def _integer(value: object, *, lowest: int, highest: int, is_text: bool) -> int:
    if is_text and isinstance(value, str) and _INTEGER.fullmatch(value.strip(_SPACE)):
        value = int(value.strip(_SPACE))
    if type(value) is not int:
        raise RowError("must be an integer")
    if not lowest <= value <= highest:
        raise RowError(f"must be between {lowest} and {highest}")
    return value


def _time(value: object, *, unit_ns: int, is_text: bool) -> int:
    if is_text and isinstance(value, str) and _NUMBER.fullmatch(value.strip(_SPACE)):
        number = Decimal(value.strip(_SPACE))
    elif is_number(value):
        number = Decimal(repr(value))  # the digits it is written with, not what it is in binary
    else:
        raise RowError("must be a number")
    if not (number.is_finite() and 0 <= number <= LARGEST_NS // unit_ns):
        raise RowError("is out of range")
    return int(number * unit_ns)


def _date(value: object) -> int:
    time = date_ns(value) if isinstance(value, str) else None
    if time is None:
        raise RowError(f"must be {A_DATE}")
    return time


def _name(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RowError("must be text or an integer")
    return writable(str(value)) or ""


def _quick_decimals(values: pl.Series, digits: int) -> pl.Series:
    parts = values.to_frame("text").select(
        pl.col("text").str.extract(_DECIMAL, 1).cast(pl.Int64, strict=False).alias("whole"),
        pl.col("text").str.extract(_DECIMAL, 2).fill_null("").alias("rest"),
    )
    rest = pl.col("rest").str.pad_end(digits, "0").str.slice(0, digits)
    fraction = rest.cast(pl.Int64, strict=False) if digits else pl.lit(0, pl.Int64)
    fits = pl.col("whole") < LARGEST_NS // 10**digits
    time = pl.when(fits).then(pl.col("whole")) * 10**digits + fraction
    return parts.select(time.alias(values.name)).to_series()


def _quick_dates(values: pl.Series) -> pl.Series:
    part = partial(pl.col("text").str.extract, _DATE)
    moment = pl.concat_str(part(1), pl.lit(" "), part(2))
    seconds = moment.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms").dt.epoch(
        "s"
    )
    fraction = part(3).fill_null("").str.pad_end(9, "0").str.slice(0, 9).cast(pl.Int64)
    fits = seconds.is_between(0, LARGEST_NS // 10**9 - 1)
    time = pl.when(fits).then(seconds) * 10**9 + fraction
    return values.to_frame("text").select(time.alias(values.name)).to_series()


def _flat(column: TableColumn, rows: Telling) -> tuple[pl.Series, np.ndarray]:
    """Return the items of all lists end to end, UInt64 or String, and how many each row has."""
    values = column.values
    if not isinstance(values, pl.Series):
        return _flat_json(column, rows)
    if column.is_text and values.dtype == pl.String:
        values = values.str.extract_all(_LIST_ITEM)
    elif not isinstance(values.dtype, pl.List) or not (
        values.dtype.inner.is_integer() or values.dtype.inner == pl.String
    ):
        rows.problems.add(f"column {column.name} must hold lists of ids (got {values.dtype})")
        rows.problems.raise_any()
    holes = values.list.eval(pl.element().is_null().any()).list.first().fill_null(False)
    for row in np.flatnonzero(holes.to_numpy()).tolist():
        rows.tell(row, f"{column.name} must hold ids alone (got null)")
    values = values.list.drop_nulls()
    counts = values.list.len().fill_null(0).to_numpy().astype(np.int64)
    flat = values.explode(empty_as_null=False, keep_nulls=False)
    if flat.dtype.is_signed_integer():
        flat = pl.Series(flat.name, flat.cast(pl.Int64).to_numpy().view(np.uint64))
    return (flat if flat.dtype == pl.String else flat.cast(pl.UInt64)), counts


def _flat_json(column: TableColumn, rows: Telling) -> tuple[pl.Series, np.ndarray]:
    items: list[int | str] = []
    counts = np.zeros(len(column.values), np.int64)
    kind: type | None = None
    for row, value in enumerate(column.values):
        if value is None:
            continue
        kinds = {type(item) for item in value} if isinstance(value, list) else {list}
        if len(kinds) > 1 or not kinds <= {int, str} or (kind and kinds and kinds != {kind}):
            wanted = (
                "integers or texts" if kind is None else f"{'integer' if kind is int else 'text'}s"
            )
            rows.tell(row, f"{column.name} must be a list of {wanted} (got {shown(value)})")
            continue
        assert isinstance(value, list)
        if kinds == {int} and not -(2**63) <= min(value) <= max(value) < 2**64:
            rows.tell(row, f"{column.name} must hold integers of 64 bits (got {shown(value)})")
            continue
        kind = kinds.pop() if kinds else kind
        items += unsigned(value) if kind is int else [writable(item) or "" for item in value]
        counts[row] = len(value)
    return pl.Series(column.name, items, pl.String if kind is str else pl.UInt64), counts


def _quick_ids(flat: pl.Series) -> np.ndarray | None:
    """Return texts as integers, where all of them are."""
    ids = flat.cast(pl.UInt64, strict=False)
    unsure = ids.is_null()
    if unsure.any():
        signed = flat.filter(unsure).cast(pl.Int64, strict=False)
        if signed.null_count():
            return None
        ids = ids.scatter(unsure.arg_true(), pl.Series(signed.to_numpy().view(np.uint64)))
    return ids.to_numpy()


def _hashed(flat: pl.Series) -> np.ndarray:
    texts = flat.unique()
    ids = [
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
        for text in texts
    ]
    return flat.replace_strict(
        texts, pl.Series(ids, dtype=pl.UInt64), return_dtype=pl.UInt64
    ).to_numpy()
