"""Any DataFrame as one of Polars, and back as one of pandas.

Whatever hands out its rows by the Arrow PyCapsule interface (pyarrow, DuckDB, Polars itself) is
taken as it is. pandas goes column by column, which needs nothing else and knows what pandas means
by a gap. What only knows the older dataframe protocol goes by pyarrow or pandas, if one is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from replay.errors import InputError

if TYPE_CHECKING:
    import pandas

_NUMPY_KINDS = "iufbmM"  # numbers, truths, times: the same in both


def as_polars(data: object) -> pl.DataFrame:
    """Return a DataFrame of any kind, or a mapping of columns, as one of Polars.

    Raises InputError for what is none, for columns that differ in length or share a name, and for
    a column of values that no one type has.
    """
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    if _is_column(data):
        raise _no_frame(data)
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        return _of_pandas(data)
    if hasattr(data, "__arrow_c_stream__"):
        return pl.DataFrame(data)
    if hasattr(data, "__dataframe__"):
        return _of_protocol(data)
    if isinstance(data, Mapping):
        return _framed([_series(str(name), _items(name, data[name])) for name in data])
    raise _no_frame(data)


def _no_frame(data: object) -> InputError:
    return InputError(
        f"not a DataFrame (got {type(data).__name__})",
        hint="give one of Polars, pandas or Arrow, or a mapping of columns to lists",
    )


def _is_column(data: object) -> bool:
    """Return whether a thing is one column or an index, which hand out Arrow as well."""
    pandas = type(data).__module__.partition(".")[0] == "pandas"
    return isinstance(data, pl.Series) or (pandas and not hasattr(data, "columns"))


def _items(name: object, values: Any) -> list[Any]:
    """Return the values of a column; raises InputError for one value or a text."""
    try:
        if not isinstance(values, str | bytes | Mapping):
            return list(values)
    except TypeError:  # no iterable, or an array without a dimension
        pass
    raise InputError(
        f"column {str(name)!r} must be a list (got {type(values).__name__})",
        hint="give each column a value for each row",
    )


def _framed(columns: list[pl.Series]) -> pl.DataFrame:
    """Return columns as a frame; raises InputError where names or lengths forbid it."""
    names = [column.name for column in columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the DataFrame has two columns {twice!r}", hint="rename one of them")
    other = next((one for one in columns if one.len() != columns[0].len()), None)
    if other is not None:
        raise InputError(
            f"columns differ in length: {names[0]!r} has {columns[0].len():,} rows, "
            f"{other.name!r} {other.len():,}",
            hint="give each column a value for each row",
        )
    return pl.DataFrame(columns)


def is_frame(data: object) -> bool:
    """Return whether `as_polars` takes a thing."""
    known = ("__arrow_c_stream__", "__dataframe__")
    return isinstance(data, pl.DataFrame | pl.LazyFrame | Mapping) or any(
        hasattr(data, name) for name in known
    )


def as_pandas(frame: pl.DataFrame) -> pandas.DataFrame:
    """Return a frame of Polars as one of pandas; raises InputError where pandas is missing."""
    try:
        import pandas as pd
    except ImportError as error:
        raise InputError("pandas is not installed", hint="pip install pandas") from error
    columns: dict[str, Any] = {}
    for series in frame.get_columns():
        whole = not series.null_count()
        if series.dtype.is_integer() and not whole:
            dtype = "UInt64" if series.dtype.is_unsigned_integer() else "Int64"
            columns[series.name] = pd.array(series.to_list(), dtype=dtype)
        elif series.dtype == pl.Boolean and not whole:
            columns[series.name] = pd.array(series.to_list(), dtype="boolean")
        elif series.dtype.is_numeric() or series.dtype == pl.Boolean:
            columns[series.name] = series.to_numpy()
        else:
            columns[series.name] = series.to_list()
    return pd.DataFrame(columns)


def _of_pandas(data: Any) -> pl.DataFrame:
    return _framed([_column(str(name), data.iloc[:, at]) for at, name in enumerate(data.columns)])


def _column(name: str, values: Any) -> pl.Series:
    """Return a column of pandas; gaps are null, whatever pandas has for them."""
    kind = getattr(values.dtype, "kind", "O")
    zone = getattr(values.dtype, "tz", None)
    if kind in _NUMPY_KINDS and type(values.dtype).__module__.startswith("numpy"):
        series = pl.Series(name, values.to_numpy())
        return series.fill_nan(None) if kind == "f" else series
    if kind == "M" and zone is not None:
        moments = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pl.Series(name, moments).dt.replace_time_zone("UTC")
    gaps = values.isna().to_numpy()
    items = [None if gap else _plain(value) for value, gap in zip(values, gaps, strict=True)]
    return _series(name, items)


def _plain(value: Any) -> object:
    """Return a value without the wrappings of NumPy."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def _series(name: str, values: list[Any]) -> pl.Series:
    """Return values as a column; raises InputError with the row where they fit no one type."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        if (
            large := next((at for at, one in enumerate(values) if _too_large(one)), None)
        ) is not None:
            raise too_large(name, large, values[large]) from error
        kinds = [type(value) for value in values]
        first = next((kind for kind in kinds if kind is not type(None)), type(None))
        row = next((at for at, kind in enumerate(kinds) if kind not in (first, type(None))), None)
        where = (
            f", each a {first.__name__}, but not of one type within"
            if row is None
            else f": row {row} is {kinds[row].__name__}, those above are {first.__name__}"
        )
        raise InputError(
            f"column {name!r} has values of several types{where}",
            hint="give the column one type",
        ) from error


def _too_large(value: object) -> bool:
    """Return whether a value is a whole number that 64 bits do not hold, or has one in it."""
    if isinstance(value, list | tuple):
        return any(map(_too_large, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def too_large(name: str, row: int, value: object) -> InputError:
    """Return the error for a whole number that 64 bits do not hold."""
    return InputError(
        f"column {name!r}, row {row} holds a whole number that is too large (got {value})",
        hint="64 bits hold those below 2**63; ids may be text as well",
    )


def _of_protocol(data: Any) -> pl.DataFrame:
    """Return a DataFrame that only knows `__dataframe__`, through a library that reads it."""
    try:
        from pyarrow.interchange import from_dataframe
    except ImportError:
        try:
            from pandas.api.interchange import from_dataframe
        except ImportError as error:
            raise InputError(
                f"{type(data).__name__} hands out its rows by __dataframe__ alone, which needs a "
                "module that reads it",
                hint="pip install pyarrow, or turn it into a DataFrame of Polars, pandas or Arrow",
            ) from error
    return as_polars(from_dataframe(data))
