"""A run as a database file: the same rows and reports, and what every column means."""

from __future__ import annotations

import duckdb
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.report.db import RunDatabase
from replay.report.export.duckdb_file import STORAGE_VERSION
from replay.report.library import report_names
from replay.report.run_view import RUN_COLUMNS
from replay.schema import TABLES
from tests import run_fixture


@pytest.fixture(scope="module", params=["timed", "untimed"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "a run"
    odd = 'it\'s "odd"'
    if request.param == "untimed":
        rows = [row | {odd: 1} for row in run_fixture.untimed_rows()]
        return run_fixture.write_untimed(folder, requests=rows)
    return run_fixture.write(
        folder, requests=[row | {odd: 1} for row in run_fixture.request_rows()]
    )


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "it's.duckdb"
    result = CliRunner().invoke(main, ["export", str(run), "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    return path


def test_tables_and_reports_are_those_of_the_run(run, file):
    with RunDatabase(run) as database, duckdb.connect(str(file), read_only=True) as made:
        for name in [
            *TABLES,
            "run",
            "completed",
            "paired",
            *(f"report.{r}" for r in report_names()),
        ]:
            expected = database.query(f"FROM {name}")
            found = made.sql(f"FROM {name}")
            assert tuple(found.columns) == expected.columns
            assert tuple(map(str, found.types)) == expected.types
            assert found.fetchall() == expected.table().rows


def test_every_column_says_what_it_means(run, file):
    with duckdb.connect(str(file), read_only=True) as made:
        rows = made.sql(
            "SELECT if(schema_name = 'main', '', schema_name || '.') || table_name, column_name, "
            "comment FROM duckdb_columns() WHERE database_name = current_database() "
            "AND table_name NOT IN ('columns', 'completed', 'paired', 'prompt_parts')"
        ).fetchall()
        listed = made.sql("SELECT table_name, column_name, unit, meaning FROM columns").fetchall()
    comments = {(table, column): comment for table, column, comment in rows}
    expected = {
        (table, column): f"{unit}: {meaning}" if unit else meaning
        for table, column, unit, meaning in listed
    }
    known = {key: value for key, value in comments.items() if value is not None}
    assert known == expected
    lacking = {table for table, column in comments.keys() - known.keys()}
    assert lacking <= {"timeline", "steps"}  # of an untimed run, and where none are kept: empty
    assert expected["requests", "ttft_ns"].startswith("ns: arrival to first token")
    assert {column for table, column in expected if table == "run"} == {
        column.name for column in RUN_COLUMNS
    }


def test_it_is_written_for_every_client_since_the_format_is_stable(file):
    with duckdb.connect(str(file), read_only=True) as made:
        (tags,) = made.sql(
            "SELECT tags FROM duckdb_databases() WHERE database_name = current_database()"
        ).fetchall()[0]
    assert tags["storage_version"].startswith(STORAGE_VERSION)


def test_views_name_nothing_but_what_is_in_the_file(file):
    with duckdb.connect(str(file), read_only=True) as made:
        text = made.sql("SELECT string_agg(sql) FROM duckdb_views() WHERE NOT internal").fetchall()
    assert "memory." not in text[0][0]
    assert "exported." not in text[0][0]


def test_what_is_there_is_kept_unless_forced(run, file):
    before = file.read_bytes()
    again = ["export", str(run), "-o", str(file)]
    assert CliRunner().invoke(main, again).exit_code == 2
    assert file.read_bytes() == before
    assert CliRunner().invoke(main, [*again, "--force"]).exit_code == 0
