"""Tables and query results in the formats that programs read, and in Markdown."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import os
import stat
from decimal import Decimal

import polars as pl
import pytest

from replay.errors import OutputError, OutputExistsError, QueryError, UnknownNameError
from replay.report.db import RunDatabase
from replay.report.tables import Table, write_objects, write_table
from replay.runs.open import open_run
from tests import run_fixture

# One column of each kind that a query may bring, with what CSV and JSON say of it.
KINDS = {
    "1::HUGEINT": ("1", 1),
    f"{2**127 - 1}": (f"{2**127 - 1}", 2**127 - 1),
    "18446744073709551615::UBIGINT": ("18446744073709551615", 2**64 - 1),
    "sum(3) OVER ()": ("3", 3),
    "1.50::DECIMAL(10, 2)": ("1.50", 1.5),
    "0.1::DOUBLE": ("0.1", 0.1),
    "true": ("true", True),
    "NULL": ("", None),
    "'üñí 🚀'": ("üñí 🚀", "üñí 🚀"),
    "'a,\"b\"\nc'": ('a,"b"\nc', 'a,"b"\nc'),
    "[1, NULL, 3]": ("[1, NULL, 3]", [1, None, 3]),
    "{'a': 1, 'b': 'x'}": ("{'a': 1, 'b': x}", {"a": 1, "b": "x"}),
    "MAP {'k': 1}": ("{k=1}", {"k": 1}),
    "INTERVAL 400 DAY": ("400 days", "400 days"),
    "DATE '2026-01-02'": ("2026-01-02", "2026-01-02"),
    "'infinity'::TIMESTAMP": ("infinity", "infinity"),
    "TIMESTAMP '2026-01-02 03:04:05.678'": ("2026-01-02 03:04:05.678", "2026-01-02 03:04:05.678"),
    "TIMESTAMPTZ '2026-01-02 03:04:05+00'": ("2026-01-02 03:04:05+00", "2026-01-02 03:04:05+00"),
    "TIMESTAMP_NS '2026-01-02 03:04:05.123456789'":
        ("2026-01-02 03:04:05.123456789", "2026-01-02 03:04:05.123456789"),
    "'10:00:00+01'::TIMETZ": ("10:00:00+01", "10:00:00+01"),
    "'101'::BIT": ("101", "101"),
    "'a'::ENUM ('a', 'b')": ("a", "a"),
    "'00000000-0000-0000-0000-000000000001'::UUID":
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    with RunDatabase(
        open_run(run_fixture.write(tmp_path_factory.mktemp("tables") / "run"))
    ) as opened:
        yield opened


def written(table, format):
    sink = io.BytesIO()
    write_table(table, format, sink)
    return sink.getvalue()


def markdown(*rows, columns=("a", "b"), title=None):
    return written(Table(columns, list(rows), title), "md").decode().splitlines()


@pytest.mark.parametrize("sql", KINDS)
def test_csv_holds_any_kind_of_value(database, sql):
    text = written(database.query(f"SELECT {sql} AS a, 1 AS b"), "csv").decode()
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], [KINDS[sql][0], "1"]]


@pytest.mark.parametrize("sql", KINDS)
def test_json_and_jsonl_hold_any_kind_of_value(database, sql):
    result = database.query(f"SELECT {sql} AS a")
    expected = KINDS[sql][1]
    assert json.loads(written(result, "json")) == [{"a": expected}]
    assert json.loads(written(result, "jsonl")) == {"a": expected}


@pytest.mark.parametrize("sql", KINDS)
def test_markdown_holds_any_kind_of_value(database, sql):
    lines = written(database.query(f"SELECT {sql} AS a"), "md").decode().splitlines()
    assert len(lines) == 3
    assert lines[0] == "| a |"


@pytest.mark.parametrize("sql", KINDS)
def test_parquet_holds_any_kind_of_value(database, sql, tmp_path):
    write_table(database.query(f"SELECT {sql} AS a, 7 AS b"), "parquet", tmp_path / "t.parquet")
    with RunDatabase(database.run, unsafe=True) as other:
        rows = other.query(f"FROM read_parquet('{tmp_path / 't.parquet'}')").table().rows
    assert [row[1] for row in rows] == [7]


def test_parquet_keeps_integers_whole(database, tmp_path):
    sql = "SELECT last_block_id, hit_tokens FROM prefixes ORDER BY prefix_id"
    write_table(database.query(sql), "parquet", tmp_path / "t.parquet")
    found = pl.read_parquet(tmp_path / "t.parquet")
    assert found.schema == {"last_block_id": pl.UInt64, "hit_tokens": pl.Int64}
    assert found["last_block_id"][0] == 2**64 - 1


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_numbers_that_json_lacks_are_null(database, format):
    sql = "SELECT 'nan'::DOUBLE AS a, '-inf'::FLOAT AS \"b\"\"c\", 1.5::DOUBLE AS d"
    (found,) = [json.loads(written(database.query(sql), format))]
    row = found[0] if format == "json" else found
    assert row == {"a": None, 'b"c': None, "d": 1.5}


def test_a_number_that_json_lacks_is_null_in_a_table_too():
    assert json.loads(written(Table(("a",), [(math.inf,), (1.0,)]), "json")) == [
        {"a": None},
        {"a": 1.0},
    ]


def test_zero_rows_leave_a_header_or_an_empty_list(database):
    result = database.query("SELECT request_id, status FROM requests WHERE false")
    assert written(result, "csv") == b"request_id,status\n"
    assert json.loads(written(result, "json")) == []
    assert written(result, "jsonl") == b""
    assert pl.read_parquet(io.BytesIO(written(result, "parquet"))).columns == [
        "request_id",
        "status",
    ]
    assert written(result, "md").decode().splitlines()[0] == "| request_id | status |"


def test_columns_of_one_name_are_told_apart(database):
    result = database.query("SELECT 1 AS a, 2 AS a")
    assert list(json.loads(written(result, "json"))[0].values()) == [1, 2]


def test_a_single_row_is_still_a_list_of_one_object():
    assert json.loads(written(Table(("a", "b"), [(1, None)]), "json")) == [{"a": 1, "b": None}]


@pytest.mark.parametrize(
    "rows",
    [[(1, "x"), (None, None)], [(1.5, "é|\n"), (2, "")], [(True, "a"), (None, "b")], []],
)
def test_values_of_python_come_back_from_json(rows):
    found = json.loads(written(Table(("a", "b"), rows), "json"))
    assert [tuple(row.values()) for row in found] == rows


def test_markdown_keeps_pipes_and_line_breaks_inside_their_cell():
    assert markdown(("a|b", "c\nd"), ("e\\", "f\r\ng"))[2:] == [
        "| a\\|b | c d |",
        "| e\\\\ | f  g |",
    ]


def test_markdown_sets_numbers_right_and_leaves_nulls_empty():
    lines = markdown((1, "x"), (None, None), (2500.4, "y"))
    assert lines[1] == "| ---: | --- |"
    assert lines[2:] == ["| 1 | x |", "|  |  |", "| 2,500 | y |"]


def test_markdown_of_one_row_is_names_and_values():
    assert markdown((1, True), title="One | row") == [
        "### One \\| row", "", "| name | value |", "| --- | ---: |", "| a | 1 |", "| b | yes |"
    ]  # fmt: skip


def test_rows_for_people_have_dates_as_duckdb_says_them(database):
    sql = "SELECT TIMESTAMPTZ '2026-01-01 00:00:00+00', 'infinity'::DATE, INTERVAL 1 DAY, 1.5"
    (row,) = database.query(sql).table().rows
    assert row == (
        "2026-01-01 00:00:00+00",
        "infinity",
        datetime.timedelta(days=1),
        Decimal("1.5"),
    )


def test_rows_keep_the_order_of_the_query(database):
    sql = "SELECT range AS a FROM range(300000) ORDER BY a DESC"
    lines = written(database.query(sql), "csv").split()[1:]
    assert lines == [str(number).encode() for number in reversed(range(300_000))]


def test_a_limit_ends_a_table(database):
    assert len(database.query("FROM requests").table(limit=7).rows) == 7


def test_a_wide_result_is_written_by_duckdb_and_not_value_by_value(database, monkeypatch):
    def refuse(*_):
        raise AssertionError("rows became Python values")

    monkeypatch.setattr("replay.report.copying.copy_rows", refuse)
    monkeypatch.setattr("replay.report.db.Result.table", refuse)
    sql = "SELECT requests.* FROM requests, range(3400)"
    assert written(database.query(sql), "csv").count(b"\n") == 30 * 3400 + 1


def test_several_tables_are_one_json_object_by_name(tmp_path):
    tables = {"a": Table(("x",), [(1,)]), 'b"': Table(("y",), [])}
    write_objects(tables, tmp_path / "o.json")
    assert json.loads((tmp_path / "o.json").read_text()) == {"a": [{"x": 1}], 'b"': []}


def test_an_unknown_format_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="yaml"):
        write_table(Table(("a",), [(1,)]), "yaml", io.BytesIO())


def test_a_text_stream_gets_text():
    stream = io.StringIO()
    write_table(Table(("a",), [("é",)]), "csv", stream)
    assert stream.getvalue() == "a\né\n"


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "it's.csv", "ü b.csv", "a*[1]?.csv", "x=1"])
def test_a_file_has_what_its_format_says_whatever_its_name(database, tmp_path, name):
    write_table(database.query("SELECT 1 AS a"), "csv", tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"a\n1\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_kept_as_it_was_when_the_query_fails(database, tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("before")
    sql = "SELECT CASE WHEN range = 250000 THEN error('boom') ELSE range END FROM range(300000)"
    with pytest.raises(QueryError, match="boom"):
        write_table(database.query(sql), "csv", target, force=True)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_kept_as_it_was_when_time_is_over(database, tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("before")
    sql = "SELECT a.range FROM range(100000000) a, range(100000000) b"
    with pytest.raises(QueryError, match="stopped after"):
        write_table(database.query(sql, timeout_s=0.3), "csv", target, force=True)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_replaced_only_when_the_new_one_is_whole(tmp_path, monkeypatch):
    target = tmp_path / "t.csv"
    target.write_text("before")
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(target.read_text()))
    with pytest.raises(OutputExistsError):
        write_table(Table(("a",), [(1,)]), "csv", target)
    write_table(Table(("a",), [(1,)]), "csv", target, force=True)
    assert seen == ["before"]
    assert target.read_text() == "a\n1\n"


def test_a_file_that_is_replaced_keeps_its_mode_and_its_link(tmp_path):
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "real.csv").chmod(0o640)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_table(Table(("a",), [(1,)]), "csv", tmp_path / "link.csv", force=True)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "a\n1\n"
    assert stat.S_IMODE((tmp_path / "real.csv").stat().st_mode) == 0o640


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_table(Table(("a",), [(1,)]), "csv", pipe)
        assert os.read(reader, 100) == b"a\n1\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["nowhere/t.csv", "file/t.csv", ".", "n" * 300])
def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_table(Table(("a",), [(1,)]), "csv", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
