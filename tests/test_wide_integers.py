"""Integers stay integers in every format that tables are written in."""

from __future__ import annotations

import io
from decimal import Decimal

import polars as pl
import pytest

from replay.report.db import RunDatabase
from replay.report.tables import Table, write_table
from replay.report.wide_integers import narrowed
from tests import run_fixture

BIG = 9007199254740993  # one more than a double holds


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    run = run_fixture.write(tmp_path_factory.mktemp("run") / "r")
    with RunDatabase(run) as open_database:
        yield open_database


def parquet(what) -> pl.DataFrame:
    written = io.BytesIO()
    write_table(what, "parquet", written)
    return pl.read_parquet(io.BytesIO(written.getvalue()))


@pytest.mark.parametrize(("value", "dtype", "expected"), [
    (f"{BIG}::HUGEINT", pl.Int64(), BIG),
    (f"-{BIG}::HUGEINT", pl.Int64(), -BIG),
    (f"{2**63}::HUGEINT", pl.Decimal(38, 0), Decimal(2**63)),
    (f"{2**126}::HUGEINT", pl.Decimal(38, 0), Decimal(2**126)),
    (f"{2**127 - 1}::HUGEINT", pl.String(), str(2**127 - 1)),
    (f"{BIG}::UHUGEINT", pl.Int64(), BIG),
    (f"'{10**40}'::BIGNUM", pl.String(), str(10**40)),
    (f"[{BIG}::HUGEINT, NULL]", pl.List(pl.Int64), [BIG, None]),
    (f"{{'a': {2**63}::HUGEINT}}", pl.Struct({"a": pl.Decimal(38, 0)}), {"a": Decimal(2**63)}),
    ("NULL::HUGEINT", pl.Int64(), None),
    (f"{2**64 - 1}::UBIGINT", pl.UInt64(), 2**64 - 1),
])  # fmt: skip
def test_a_query_writes_integers_to_parquet(database, value, dtype, expected):
    frame = parquet(database.query(f"SELECT {value} AS v, 1 AS w"))
    assert frame.schema["v"] == dtype
    got = frame["v"][0]
    assert (got.to_list() if isinstance(got, pl.Series) else got) == expected


def test_one_large_value_decides_for_its_column_alone(database):
    wide = f"SELECT {2**70}::HUGEINT AS a, 1::HUGEINT AS b UNION ALL SELECT 1, 2 ORDER BY b"
    frame = parquet(database.query(wide))
    assert frame.schema == {"a": pl.Decimal(38, 0), "b": pl.Int64}
    assert frame["b"].to_list() == [1, 2]


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "md"])
def test_text_formats_have_every_digit(database, format):
    written = io.BytesIO()
    sums = "SELECT sum(9007199254740993::BIGINT) AS s, 3 AS t FROM requests LIMIT 1"
    write_table(database.query(sums), format, written)
    requests = database.query("SELECT count(*) FROM requests").table().rows[0][0]
    assert str(BIG * requests) in written.getvalue().decode().replace(",", "").replace("|", " ")


def test_a_table_of_ours_keeps_integers_of_any_size():
    frame = parquet(Table(("a", "b"), [(BIG, 2**63), (1, 0)]))
    assert frame.schema == {"a": pl.Int64, "b": pl.Decimal(38, 0)}
    assert frame["a"].to_list() == [BIG, 1]


@pytest.mark.parametrize(("type", "expected"), [
    ("HUGEINT", "X"),
    ("HUGEINT[]", "X[]"),
    ("STRUCT(HUGEINT HUGEINT, b VARCHAR)", "STRUCT(HUGEINT X, b VARCHAR)"),
    ('STRUCT("a HUGEINT, b" INTEGER)', 'STRUCT("a HUGEINT, b" INTEGER)'),
    ("MAP(VARCHAR, UHUGEINT)", "MAP(VARCHAR, X)"),
    ("BIGINT", "BIGINT"),
])  # fmt: skip
def test_types_are_narrowed_where_they_are_types(type, expected):
    assert narrowed(type, "X") == expected
