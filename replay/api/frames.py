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

    Raises InputError for what is none, and for a column of values that no one type has.
    """
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        return _of_pandas(data)
    if hasattr(data, "__arrow_c_stream__"):
        return pl.DataFrame(data)
    if hasattr(data, "__dataframe__"):
        return _of_protocol(data)
    if isinstance(data, Mapping):
        return pl.DataFrame([_series(str(name), list(values)) for name, values in data.items()])
    raise InputError(
        f"not a DataFrame (got {type(data).__name__})",
        hint="give one of Polars, pandas or Arrow, or a mapping of columns to lists",
    )


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
    columns = [str(name) for name in data.columns]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the DataFrame has two columns {twice!r}", hint="rename one of them")
    return pl.DataFrame([_column(name, data.iloc[:, at]) for at, name in enumerate(columns)])


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
    """Return values as a column; raises InputError with the row where their types part."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        kinds = [type(value) for value in values]
        first = next((kind for kind in kinds if kind is not type(None)), type(None))
        row = next((at for at, kind in enumerate(kinds) if kind not in (first, type(None))), 0)
        raise InputError(
            f"column {name!r} has values of several types: row {row} is {kinds[row].__name__}, "
            f"those above are {first.__name__}",
            hint="give the column one type",
        ) from error


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
