"""`replay query`: SQL from the command line and from a file, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.cli.query import PRINTED_ROWS
from replay.schema import REQUESTS
from tests import run_fixture


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("query") / "it's a run")


def query(*arguments, **options):
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        main, ["query", *map(str, arguments)], **options
    )


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "replay", "query", *map(str, arguments)],
        capture_output=True,
        **options,
    )


def test_a_result_is_printed_as_a_table(run):
    result = query(run, "SELECT status, count(*) AS n FROM requests GROUP BY ALL ORDER BY ALL")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()[2:]] == [
        ["completed", "26"],
        ["rejected", "2"],
        ["unfinished", "2"],
    ]


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("csv", "a,b\n1,x\n"),
        ("jsonl", '{"a":1,"b":"x"}\n'),
        ("md", "| name | value |\n| --- | ---: |\n| a | 1 |\n| b | x |\n"),
    ],
)
def test_a_result_is_printed_in_a_format(run, format, expected):
    assert query(run, "SELECT 1 AS a, 'x' AS b", "--format", format).stdout == expected


def test_json_is_a_list_of_objects(run):
    result = query(run, "FROM requests SELECT request_id LIMIT 2", "--format", "json")
    assert json.loads(result.stdout) == [{"request_id": 0}, {"request_id": 1}]


def test_a_result_goes_to_a_file(run, tmp_path):
    result = query(run, "FROM requests", "-o", tmp_path / "all.parquet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert pl.read_parquet(tmp_path / "all.parquet").shape == (30, len(REQUESTS))


def test_sql_comes_from_standard_input(run):
    sql = "-- how many\nSELECT count(*) AS n\nFROM requests;\n"
    assert query(run, "-", "--format", "csv", input=sql).stdout == "n\n30\n"


def test_a_report_printed_as_sql_can_be_run_again(run):
    sql = CliRunner().invoke(main, ["report", str(run), "ttft", "--sql"]).stdout
    again = query(run, "-", "--format", "json", input=sql).stdout
    shipped = CliRunner().invoke(main, ["report", str(run), "ttft", "--format", "json"]).stdout
    assert json.loads(again) == json.loads(shipped)


def test_columns_of_a_table_can_be_asked_for(run):
    result = query(run, "DESCRIBE requests", "--format", "csv")
    assert "hit_tokens,BIGINT" in result.stdout


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM requests", "nothing"),
        ("FROM request", "request"),
        ("", "no SQL"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("DROP TABLE requests", "may only read (got DROP)"),
        ("COPY run TO 'x.csv'", "may only read (got COPY)"),
        ("WITH x AS (COPY run TO 'x.csv') FROM x", "may only read (got COPY inside a SELECT)"),
        ("FROM 'x.csv'", "x.csv"),
        ("SET threads = 1", "may only read (got SET)"),
        ("UPDATE EXTENSIONS", "may only read"),
    ],
)
def test_sql_that_is_wrong_or_not_allowed_ends_with_2(run, sql, said):
    result = query(run, sql)
    assert result.exit_code == 2
    assert said.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_sql_that_is_no_text_ends_with_2(run):
    result = process(run, os.fsdecode(b"SELECT '\xff'"))
    assert result.returncode == 2
    assert b"not UTF-8" in result.stderr


def test_a_query_that_takes_too_long_ends_with_2(run):
    sql = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b"
    result = query(run, sql, "--timeout", "300ms")
    assert result.exit_code == 2
    assert "stopped after 0.3 s" in result.stderr


@pytest.mark.parametrize("timeout", ["soon", "-1s", "0"])
def test_a_timeout_that_is_no_duration_ends_with_2(run, timeout):
    assert query(run, "SELECT 1", "--timeout", timeout).exit_code == 2


def test_a_timeout_of_years_is_one(run):
    assert query(run, "SELECT 1", "--timeout", "13000d").exit_code == 0


def test_ctrl_c_ends_with_130(run):
    sql = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b"
    code = (
        "import os, signal, threading; from replay.report import db; "
        "attended = db.attended\n"
        "def started(*a, **k):\n"
        "    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
        "    return attended(*a, **k)\n"
        "db.attended = started\n"
        "from replay.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "query", run, sql], capture_output=True, text=True
    )
    assert done.returncode == 130
    assert done.stderr == "Interrupted\n"


def test_a_reader_that_has_seen_enough_ends_a_query_quietly(run):
    sql = "SELECT range FROM range(3000000)"
    command = [sys.executable, "-m", "replay", "query", run, sql, "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout
        assert started.stderr
        started.stdout.readline()
        started.stdout.close()
        assert started.stderr.read() == b""


def test_a_table_for_people_ends_and_says_so(run):
    result = query(run, "SELECT range FROM range(100000)")
    assert len(result.stdout.splitlines()) == PRINTED_ROWS + 2
    assert "--format csv" in result.stderr


def test_other_formats_hold_every_row(run):
    assert query(run, "SELECT range FROM range(5000)", "--format", "csv").stdout.count("\n") == 5001


def test_unsafe_allows_any_file(run, tmp_path):
    (tmp_path / "own.csv").write_text("a\n1\n")
    sql = f"SELECT a FROM '{tmp_path}/own.csv'"
    assert query(run, sql).exit_code == 2
    assert query(run, sql, "--unsafe", "--format", "csv").stdout == "a\n1\n"


def test_unsafe_runs_a_statement_without_a_result(run):
    result = query(run, "CREATE TABLE t AS SELECT 1", "--unsafe")
    assert result.exit_code == 0


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no file size limit here")
def test_a_full_disk_leaves_no_file(run, tmp_path):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
        "from replay.cli import main; main()"
    )
    sql = "SELECT range FROM range(100000)"
    done = subprocess.run(
        [sys.executable, "-c", code, "query", run, sql, "-o", tmp_path / "o.csv"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "size limit" in done.stderr
    assert list(tmp_path.iterdir()) == []
