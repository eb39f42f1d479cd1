"""Which column of a DataFrame means what: the mapping of `--columns`, as a file or as a dict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from replay.api.frames import too_large
from replay.api.given import path_text
from replay.config.columns import Columns
from replay.config.load import check_values, load_document
from replay.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from os import PathLike

_SOURCE = "columns"
_HINT = 'columns={"arrival": "ts", "input_tokens": ..., "output_tokens": ...}, or a YAML file'
_WIDE = (pl.Int128, pl.UInt128)
_TIMES = ("arrival", "recorded_ttft", "recorded_e2e")
_COUNTS = ("input_tokens", "output_tokens", "recorded_hit_tokens")


def mapping_of(
    given: Mapping[str, Any] | str | PathLike[str],
    frame: pl.DataFrame,
    *,
    block_size: int | None,
    block_ids_chained: bool,
) -> tuple[Columns, pl.DataFrame]:
    """Return a mapping, and the frame with its types as the mapping needs them.

    `given` is a YAML file, the whole of one as a dict, or its section `columns` alone. A time may
    be a name alone where the column's type says its unit. Raises ConfigError and InputError.
    """
    if not isinstance(given, Mapping):
        path = path_text("a mapping of columns, nor the path of one", given, hint=_HINT)
        mapping = load_document(Path(path), Columns)
    elif isinstance(given.get("columns"), Mapping):
        mapping = check_values(
            {**given, "columns": _with_units(given["columns"], frame)}, Columns, _SOURCE
        )
    else:
        whole: dict[str, object] = {"columns": _with_units(given, frame)}
        if block_size is not None:
            whole["block_size"] = block_size
        if not block_ids_chained:
            whole["block_ids_chained"] = False
        mapping = check_values(whole, Columns, _SOURCE)
    return mapping, _with_types(frame, mapping)


def _with_units(names: Mapping[str, Any], frame: pl.DataFrame) -> dict[str, Any]:
    """Return the names with the unit of each time that is a name alone."""
    found = dict(names)
    for meant in _TIMES:
        if isinstance(name := found.get(meant), str):
            found[meant] = {"name": name, "unit": _unit(name, meant, frame)}
    return found


def _unit(name: str, meant: str, frame: pl.DataFrame) -> str:
    dtype = frame.schema.get(name)
    if dtype is None:
        raise UnknownNameError("column of the DataFrame", name, frame.columns)
    if isinstance(dtype, pl.Duration):
        return "ns"
    if meant == "arrival" and isinstance(dtype, pl.Datetime | pl.Date | pl.String):
        return "iso"
    raise InputError(
        f"columns: {meant}: {name!r} holds {dtype}, which says no unit",
        hint=f'write {{"{meant}": {{"name": "{name}", "unit": "s"}}}}, or ms, us, ns',
    )


def _with_types(frame: pl.DataFrame, mapping: Columns) -> pl.DataFrame:
    """Return the frame in types that the reader of columns takes, no value changed.

    Dates are of UTC, spans are nanoseconds, categories text, arrays lists, and NaN is no value.
    Counts that a frame holds as floats, as pandas does where some are missing, are integers again.
    """
    counts = {getattr(mapping.columns, meant) for meant in _COUNTS}
    return pl.DataFrame([_typed(series, count=series.name in counts) for series in frame])


def _typed(series: pl.Series, *, count: bool) -> pl.Series:
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if isinstance(dtype, pl.Duration):
        return series.cast(pl.Duration("ns")).to_physical()
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    if isinstance(dtype, pl.Array):
        series = series.arr.to_list()
        dtype = series.dtype
    if isinstance(dtype, pl.List) and dtype.inner in _WIDE:
        return _narrow(series)
    if dtype.is_float():
        series = series.fill_nan(None)
        return _whole(series) if count else series
    return series


def _narrow(series: pl.Series) -> pl.Series:
    """Return lists of wide integers in 64 bits; raises InputError with the row that has more."""
    narrow = series.cast(pl.List(pl.Int64), strict=False)
    lost = (narrow.cast(series.dtype).ne_missing(series)).arg_true()
    if lost.len():
        raise too_large(series.name, lost[0], series[lost[0]].to_list())
    return narrow


def _whole(series: pl.Series) -> pl.Series:
    """Return floats as integers, or one by one where some are none: each is told by its row."""
    whole = series.cast(pl.Int64, strict=False)
    if whole.cast(series.dtype).eq_missing(series).all():
        return whole
    items = [int(value) if value is not None and value.is_integer() else value for value in series]
    return pl.Series(series.name, items, dtype=pl.Object)
