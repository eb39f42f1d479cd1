"""Rows written at once are those written one by one, in every format and type."""

import decimal
import io
import math

import polars as pl
import pytest

from replay.report import copying
from replay.report.frames import FrameTable
from replay.report.rows import frame_of
from replay.report.tables import COPY_OPTIONS, Table, write_table

COLUMNS = {
    "BOOLEAN": [True, False, None],
    "INTEGER": [-(2**31), 0, 2**31 - 1, None],
    "BIGINT": [-(2**63), 2**63 - 1, 2**53 + 1, None],
    "UBIGINT": [2**64 - 1, 0, None],
    "HUGEINT": [2**70 + 1, -(2**100), 5, None],
    "DECIMAL(20,3)": [decimal.Decimal("12345678901234567.891"), decimal.Decimal("-0.001"), None],
    "DOUBLE": [0.1, -0.0, math.inf, math.nan, 1e300, 3, None],
    "VARCHAR": ["", "a,b", 'say "x"', "two\nlines", "Ω", "NULL", None],
}


def rows_of(count):
    return [tuple(values[at % len(values)] for values in COLUMNS.values()) for at in range(count)]


def written(rows, types, options, few, monkeypatch):
    monkeypatch.setattr(copying, "FEW_ROWS", few)
    sink = io.BytesIO()
    names = [f'column "{place}"' for place in range(len(types))]
    copying.copy_rows(names, types, rows, options, sink)
    return sink.getvalue()


@pytest.mark.parametrize("format", COPY_OPTIONS)
@pytest.mark.parametrize("count", [1, 420])
def test_at_once_as_one_by_one(format, count, monkeypatch):
    rows, types, options = rows_of(count), list(COLUMNS), COPY_OPTIONS[format]
    assert frame_of(types, rows) is not None
    one_by_one = written(rows, types, options, 10**9, monkeypatch)
    at_once = written(rows, types, options, 0, monkeypatch)
    if format == "parquet":  # the row groups may be cut elsewhere
        assert pl.read_parquet(at_once).equals(pl.read_parquet(one_by_one))
        assert pl.read_parquet(at_once).schema == pl.read_parquet(one_by_one).schema
    else:
        assert at_once == one_by_one


@pytest.mark.parametrize(
    ("type", "value"), [("VARCHAR[]", ["a", "b"]), ("VARCHAR", 5), ("BIGINT", True), ("DATE", "x")]
)
def test_what_only_the_database_converts_is_left_to_it(type, value, monkeypatch):
    assert frame_of([type], [(value,)]) is None
    if type != "DATE":
        at_once = written([(value,)], [type], "FORMAT json", 0, monkeypatch)
        assert at_once == written([(value,)], [type], "FORMAT json", 9, monkeypatch)


@pytest.mark.parametrize("format", ["md", *COPY_OPTIONS])
def test_a_frame_is_written_as_the_table_of_its_rows(format):
    frame = pl.DataFrame({"a": [1, 2], "rate": [0.5, math.nan], "name": ["x", None]})
    table = Table(tuple(frame.columns), frame.rows(), types=("BIGINT", "DOUBLE", "VARCHAR"))
    of_frame, of_rows = io.BytesIO(), io.BytesIO()
    write_table(FrameTable(frame), format, of_frame)
    write_table(table, format, of_rows)
    if format == "parquet":
        assert pl.read_parquet(of_frame.getvalue()).equals(pl.read_parquet(of_rows.getvalue()))
    else:
        assert of_frame.getvalue() == of_rows.getvalue()
