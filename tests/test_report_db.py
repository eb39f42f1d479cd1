"""Queries from outside: what they may do, what they may not, and how they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest

from replay.errors import InputError, QueryError
from replay.report.db import RunDatabase
from replay.runs.open import open_run
from replay.schema import REQUESTS, TABLES
from tests import run_fixture

RUN, OUT = "{run}", "{out}"  # put into the statements below: a run, and a folder outside it


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("db") / "run")


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder with secrets in every format a table function could read."""
    secrets = tmp_path_factory.mktemp("outside")
    for name in ("secret.csv", "secret.txt", "secret.json"):
        (secrets / name).write_text('[{"a": 1}]')
    pl.DataFrame({"a": [1]}).write_parquet(secrets / "secret.parquet")
    with duckdb.connect(str(secrets / "secret.duckdb")) as connection:
        connection.execute("CREATE TABLE secret AS SELECT 1 AS a")
    return secrets


@pytest.fixture(scope="module")
def database(folder):
    with RunDatabase(open_run(folder)) as opened:
        yield opened


def rows(database, sql, **options):
    return list(database.query(sql, **options).table().rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


READS = [
    "FROM '{out}/secret.csv'",
    "FROM '{out}/secret.parquet'",
    "FROM read_csv('{out}/secret.csv')",
    "FROM read_csv_auto('{out}/secret.csv')",
    "FROM read_parquet('{out}/secret.parquet')",
    "FROM parquet_scan('{out}/secret.parquet')",
    "FROM read_json('{out}/secret.json')",
    "FROM read_json_objects('{out}/secret.json')",
    "FROM read_ndjson('{out}/secret.json')",
    "FROM read_text('{out}/secret.txt')",
    "FROM read_blob('{out}/secret.txt')",
    "FROM sniff_csv('{out}/secret.csv')",
    "FROM parquet_metadata('{out}/secret.parquet')",
    "FROM parquet_schema('{out}/secret.parquet')",
    "FROM parquet_kv_metadata('{out}/secret.parquet')",
    "FROM parquet_file_metadata('{out}/secret.parquet')",
    "FROM read_duckdb('{out}/secret.duckdb')",
    "FROM glob('{out}/*')",
    "FROM glob('/etc/*')",
    "FROM '{run}/../../*/secret.csv'",
    "FROM read_text('{run}/../run/manifest.json')",
    "FROM read_text('{run}/*')",
    "FROM read_parquet('{run}/requests.parquet')",
    "FROM read_text('{run}/manifest.json')",
    "FROM read_csv('/dev/stdin')",
    "FROM read_text('https://example.com/')",
    "FROM 's3://bucket/file.parquet'",
    "SELECT getenv('HOME')",
    "SELECT * FROM requests WHERE EXISTS (FROM read_text('{out}/secret.txt'))",
    "WITH x AS (FROM read_blob('{out}/secret.txt')) FROM x",
    "FROM query('FROM read_text(''{out}/secret.txt'')')",
    "FROM query_table(['{out}/secret.csv'])",
    "SUMMARIZE '{out}/secret.csv'",
    "DESCRIBE FROM '{out}/secret.csv'",
]
WRITES = [
    "COPY requests TO '{run}/requests.parquet'",
    "COPY (SELECT 1) TO '{run}/requests.parquet' (FORMAT csv, USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '{out}/new.csv'",
    "COPY run FROM '{out}/secret.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{run}/requests.parquet' (USE_TMP_FILE false)",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT 1",
    "WITH x AS (COPY requests TO '{run}/requests.parquet') SELECT * FROM x",
    "WITH x AS (COPY run TO '{run}/requests.parquet' (FORMAT csv, USE_TMP_FILE false)) FROM x",
    "WITH x AS MATERIALIZED (COPY run TO '{out}/new.csv' (FORMAT csv)) SELECT 1",
    "WITH x AS (INSERT INTO run (seed) VALUES (1) RETURNING *) FROM x",
    "WITH x AS (DELETE FROM requests RETURNING *) FROM x",
    "WITH x AS (UPDATE run SET seed = 1 RETURNING *) FROM x",
    "FROM (WITH x AS (DELETE FROM requests RETURNING *) FROM x)",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW completed AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE MACRO f(x) AS x",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO run (seed) VALUES (1)",
    "UPDATE run SET seed = 1",
    "DELETE FROM requests",
    "DROP TABLE requests",
    "DROP VIEW completed",
    "ALTER TABLE requests ADD COLUMN x INTEGER",
    "TRUNCATE requests",
    "MERGE INTO run USING (SELECT 1 AS a) ON false WHEN NOT MATCHED THEN INSERT (seed) VALUES (1)",
    "COMMENT ON TABLE requests IS 'x'",
    "EXPORT DATABASE '{out}/dump'",
    "IMPORT DATABASE '{out}'",
    "ATTACH '{out}/secret.duckdb'",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{out}/x.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "CALL pragma_version()",
    "PREPARE x AS SELECT 1",
    "EXECUTE x",
    "PIVOT requests ON status USING count(*)",
]
SETTINGS = [
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET threads = 1",
    "SET VARIABLE x = 1",
    "RESET enable_external_access",
    "RESET lock_configuration",
    "PRAGMA enable_external_access",
    "PRAGMA table_info('requests')",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
]
SEVERAL = [
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY run TO '{out}/new.csv'",
    "COPY run TO '{out}/new.csv'; SELECT 1",
    "SELECT 1; SET threads = 1; SELECT 2;",
]
NOTHING = ["", "   ", ";", ";;", "-- only a comment", "/* only a comment */"]
WRONG = [
    "SELEC 1",
    "SELECT",
    "SELECT nothing FROM requests",
    "FROM nowhere",
    "SELECT '",
    "SELECT 1/0::INTEGER // 0 + 'x'::INTEGER",
    "SELECT cast('x' AS INTEGER)",
    "SELECT $1",
    "SELECT ?",
    "SELECT $name",
    "SELECT sum(status) FROM requests",
    "SELECT nextval('s')",
    "SELECT error('boom')",
    "SELECT \ud800",
    "SELECT '\udcff'",
    "SELECT \x00",
    "FROM own_frame",
    "FROM outside",
]


@pytest.mark.parametrize("sql", READS + WRITES + SETTINGS + SEVERAL + NOTHING + WRONG)
def test_a_query_that_may_not_run_or_is_wrong_is_an_input_error(database, folder, outside, sql):
    own_frame = pl.DataFrame({"a": [1]})  # noqa: F841  a query must not see Python variables
    before, secrets = contents(folder), contents(outside)
    with pytest.raises(QueryError) as error:
        rows(database, sql.replace(RUN, str(folder)).replace(OUT, str(outside)))
    assert error.value.exit_code == 2
    assert "Traceback" not in error.value.message
    assert contents(folder) == before
    assert contents(outside) == secrets


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM requests", [(30,)]),
        ("FROM requests SELECT count(*)", [(30,)]),
        ("SELECT count(*) FROM requests;", [(30,)]),
        ("-- a comment\nSELECT 1 -- and another", [(1,)]),
        ("WITH x AS (SELECT 1 AS a) FROM x", [(1,)]),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) "
         "SELECT max(i) FROM n", [(4,)]),
        ("VALUES (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")]),
        ("SELECT 1 UNION ALL SELECT 2", [(1,), (2,)]),
        ("SELECT 'COPY run TO x; \"type\":\"COPY_QUERY_NODE\"'",
         [('COPY run TO x; "type":"COPY_QUERY_NODE"',)]),
        ("SELECT list_transform([1, 2], lambda x: x + 1)", [([2, 3],)]),
        ("SELECT count(*) FROM (PIVOT requests ON status IN ('completed') USING count(*))",
         [(30,)]),
        ("SELECT round(ratio(1, 4), 2), ratio(1, 0), ms(1500000)", [(0.25, None, 1.5)]),
        ("SELECT clock(3723000000000, 1000000000), clock(90061500000000, 1)",
         [("1:02:03", "25:01:01.500")]),
        ("SELECT mode, block_size, capacity_blocks, overloaded FROM run",
         [("timed", 16, 100, False)]),
        ("SELECT count(*) FROM completed", [(26,)]),
        ("SELECT count(*), sum(ttft_saving_ns) = sum(no_cache_ttft_ns - ttft_ns) FROM paired",
         [(25, True)]),
        ("SELECT requests FROM report.summary", [(30,)]),
        ("SELECT count(*) FROM report.prefixes", [(20,)]),
    ],
)  # fmt: skip
def test_a_query_that_reads_runs(database, sql, expected):
    assert rows(database, sql) == expected


@pytest.mark.parametrize(
    "sql", ["DESCRIBE requests", "SUMMARIZE requests", "SHOW TABLES", "SHOW ALL TABLES"]
)
def test_a_query_that_looks_around_runs(database, sql):
    assert rows(database, sql)


def test_show_tables_lists_what_a_query_may_read(database):
    names = {row[0] for row in rows(database, "SHOW TABLES")}
    tables = {"requests", "timeline", "prefixes", "curve", "steps", "run"}
    assert names == tables | {"completed", "paired", "prompt_parts"}


def test_every_table_function_that_takes_a_path_is_refused_the_files_of_the_run(database, folder):
    functions = rows(
        database,
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' "
        "AND parameter_types[1] IN ('VARCHAR', 'VARCHAR[]', 'ANY') ORDER BY 1",
    )
    names = [row[0] for row in functions]
    assert "read_text" in names
    for name in names:
        for file in ("manifest.json", "requests.parquet"):
            try:
                found = rows(database, f"FROM {name}('{folder / file}')")
            except QueryError:
                continue
            assert "schema_version" not in str(found), name
            assert "completed" not in str(found), name


@pytest.mark.parametrize("name", ["manifest.json", "requests.parquet", "timeline.parquet"])
def test_a_run_is_as_it_was_after_all_attacks(database, folder, name):
    assert (folder / name).stat().st_size > 100
    assert rows(database, "SELECT count(*) FROM timeline") == [(3,)]


def test_the_settings_of_a_locked_database_say_so(database):
    settings = dict(rows(database, "SELECT name, value FROM duckdb_settings()"))
    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"
    assert settings["allowed_paths"] == "[]"
    assert settings["temp_directory"] == ""


@pytest.mark.parametrize(
    "name",
    ["it's", 'a "run"', "with space", "üñí 🚀", "day=1", "a*b", "a?b", "[abc]", "a\\b", "a;b",
     "{a,b}", "a%20b", "-o", "#1", "a\nb"],
)  # fmt: skip
def test_a_folder_may_have_any_name(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / name / "run")
    (tmp_path / "axb").mkdir()
    for unsafe in (False, True):
        with RunDatabase(open_run(tmp_path / name / "run"), unsafe=unsafe) as database:
            result = database.query("FROM requests")
            assert len(result.columns) == len(REQUESTS)
            assert len(result.table().rows) == 30


def test_a_run_of_an_older_schema_lacks_later_columns_and_opens(folder, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    file = old / "requests.parquet"
    later = [column.name for column in TABLES["requests"] if column.since > 1]
    pl.read_parquet(file).drop(later).write_parquet(file)
    run_fixture.age(old, 1)
    with RunDatabase(open_run(old)) as database:
        rows = database.query(f"SELECT {', '.join(later)} FROM requests").table().rows
        assert set(rows) == {(None,) * len(later)}
        assert database.query("SELECT hit_tokens FROM report.summary").table().rows


def test_a_folder_whose_name_is_no_text_is_named(folder, tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    shutil.copytree(folder, odd)
    with pytest.raises(InputError, match="not UTF-8"):
        RunDatabase(open_run(odd))


def test_a_table_that_becomes_a_link_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    run = open_run(tmp_path / "run")
    (tmp_path / "run" / "prefixes.parquet").unlink()
    (tmp_path / "run" / "prefixes.parquet").symlink_to(folder / "prefixes.parquet")
    with pytest.raises(InputError, match="symbolic link"):
        RunDatabase(run)


def test_damaged_pages_are_an_input_error_that_names_the_file(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    file = tmp_path / "run" / "requests.parquet"
    content = bytearray(file.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"requests\.parquet"):
        RunDatabase(open_run(tmp_path / "run"))


def test_a_table_without_a_column_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    file = tmp_path / "run" / "requests.parquet"
    pl.read_parquet(file).drop("hit_tokens").write_parquet(file)
    run_fixture.age(tmp_path / "run", 3)
    with pytest.raises(InputError, match=r"requests\.parquet: column hit_tokens .* no such column"):
        RunDatabase(open_run(tmp_path / "run"))


@pytest.mark.parametrize(
    "change",
    [{"seed": "x"}, {"seed": True}, {"seed": 2**70}, {"totals": {"end_ns": 1.5}},
     {"overload": {"overloaded": 1}}, {"cache": {"block_size": [1]}}, {"overload": 3},
     {"trace": []}, {"notes": 3}, {"trace": {"notes": [None]}}, {"mode": "fast"}, {"gpu": []},
     {"created_at": "2026-11-30T19:05:1e32"}],
)  # fmt: skip
def test_a_manifest_changed_by_hand_is_an_input_error(tmp_path, change):
    folder = run_fixture.write(tmp_path / "run", run_fixture.manifest(**change))
    with pytest.raises(InputError, match=r"manifest\.json: \w.*(\(got|must hold texts)"):
        RunDatabase(open_run(folder))


@pytest.mark.parametrize(
    "change", [{"mode": None}, {"trace": None}, {"overload": None}, {"gpu": None}, {"gpu": {}}]
)
def test_what_a_manifest_does_not_say_is_null(tmp_path, change):
    folder = run_fixture.write(tmp_path / "run", run_fixture.manifest(**change))
    with RunDatabase(open_run(folder)) as database:
        (row,) = rows(database, "FROM run")
        assert None in row


def test_text_in_the_manifest_that_is_no_unicode_is_kept_readable(tmp_path):
    trace = run_fixture.manifest()["trace"] | {"name": "caf\udce9.jsonl"}
    folder = run_fixture.write(tmp_path / "run", run_fixture.manifest(trace=trace))
    with RunDatabase(open_run(folder)) as database:
        assert rows(database, "SELECT trace_name FROM run") == [("caf\\udce9.jsonl",)]


def test_tables_an_untimed_run_lacks_are_empty(tmp_path):
    folder = run_fixture.write_untimed(tmp_path / "run")
    with RunDatabase(open_run(folder)) as database:
        result = database.query("FROM timeline")
        assert len(result.columns) == 13
        assert result.table().rows == []


RUNAWAY = "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b"


def test_a_runaway_query_is_stopped_and_the_next_one_runs(database):
    with pytest.raises(QueryError, match=r"stopped after 0\.3 s"):
        rows(database, RUNAWAY, timeout_s=0.3)
    assert rows(database, "SELECT 1") == [(1,)]


def test_a_query_that_wants_all_memory_is_stopped_and_the_next_one_runs(folder):
    with RunDatabase(open_run(folder), memory_bytes=50_000_000) as database:
        with pytest.raises(QueryError, match="Out of Memory"):
            rows(database, "SELECT list(range) FROM range(100000000)")
        assert rows(database, "SELECT 1") == [(1,)]


def test_ctrl_c_stops_a_query(database):
    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        rows(database, RUNAWAY)
    timer.join()
    assert rows(database, "SELECT 1") == [(1,)]


def test_unsafe_runs_what_is_refused_otherwise(folder, tmp_path):
    with RunDatabase(open_run(folder), unsafe=True) as database:
        assert rows(database, f"FROM read_text('{folder}/scenario.yaml') SELECT content")
        database.query(f"COPY run TO '{tmp_path}/new.csv'").table()
        rows(database, "CREATE TABLE t AS SELECT 1 AS a; INSERT INTO t VALUES (2); FROM t")
        assert rows(database, "FROM t ORDER BY a") == [(1,), (2,)]
    assert (tmp_path / "new.csv").read_text().startswith("mode,")


def test_queries_leave_nothing_beside_the_run(folder, tmp_path):
    code = (
        "import sys; from pathlib import Path; from replay.report.db import RunDatabase; "
        "from replay.runs.open import open_run\n"
        "with RunDatabase(open_run(Path(sys.argv[1]))) as database:\n"
        "    print(len(database.query('FROM requests ORDER BY random()').table().rows))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("30\n", "")
    assert list(tmp_path.iterdir()) == []
