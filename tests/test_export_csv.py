"""A run as a folder of CSV files, and which folders it may be written to."""

from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.schema import REQUESTS
from tests import run_fixture


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("run") / "run")


def export(run, *arguments):
    return CliRunner().invoke(main, ["export", str(run), *map(str, arguments)])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_table_is_a_file_with_all_of_its_rows(run, tmp_path):
    assert export(run, "--to", "csv", "-o", tmp_path / "t").exit_code == 0
    files = {path.stem: read(path) for path in (tmp_path / "t").iterdir()}
    assert set(files) == {"requests", "timeline", "prefixes", "curve", "run", "columns"}
    expected = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in run_fixture.request_rows()
    ]
    assert [{name: row[name] for name in expected[0]} for row in files["requests"]] == expected
    assert files["prefixes"][0]["last_block_id"] == str(2**64 - 1)
    assert files["run"][0]["capacity_blocks"] == "100"
    meanings = {(row["table_name"], row["column_name"]): row["meaning"] for row in files["columns"]}
    assert all(meanings["requests", column.name] == column.meaning for column in REQUESTS)


def test_a_table_that_the_run_lacks_is_no_file(tmp_path):
    run = run_fixture.write_untimed(tmp_path / "run")
    assert export(run, "--to", "csv", "-o", tmp_path / "t").exit_code == 0
    assert not (tmp_path / "t" / "timeline.csv").exists()


def test_only_a_folder_of_its_own_is_replaced(run, tmp_path):
    target = tmp_path / "t"
    assert export(run, "--to", "csv", "-o", target).exit_code == 0
    assert export(run, "--to", "csv", "-o", target).exit_code == 2
    assert export(run, "--to", "csv", "-o", target, "--force").exit_code == 0
    (target / "mine.txt").write_text("kept")
    result = export(run, "--to", "csv", "-o", target, "--force")
    assert (result.exit_code, (target / "mine.txt").read_text()) == (2, "kept")
    assert "more than an export wrote" in result.output
    assert [one.name for one in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("make", ["file", "link", "run", "inside"])
def test_what_is_no_folder_of_its_own_is_left_alone(make, run, tmp_path):
    target = tmp_path / "t"
    if make == "file":
        target.write_text("kept")
    elif make == "link":
        (tmp_path / "other").mkdir()
        target.symlink_to(tmp_path / "other")
    elif make == "run":
        run_fixture.write(target)
    else:
        target = run / "tables"
    result = export(run, "--to", "csv", "-o", target, "--force")
    assert result.exit_code == 2, result.output
    assert (make == "inside") != target.exists()


def test_a_folder_nowhere_is_refused_before_any_work(run, tmp_path):
    result = export(run, "--to", "csv", "-o", tmp_path / "no" / "t")
    assert (result.exit_code, "Error: " in result.output) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "x.foo"], "the suffix tells no target"),
        (["-o", "x"], "the suffix tells no target"),
        (["--to", "perfeto", "-o", "x"], "did you mean perfetto?"),
        (["-o", "x.duckdb.gz"], "not written compressed"),
        (["-o", "x.duckdb", "--window", "1s..2s"], "--window means nothing to duckdb"),
        (["--to", "csv", "-o", "x", "--step", "1s"], "--step means nothing to csv"),
        (["-o", "x.om", "--limit", "3"], "--limit means nothing to openmetrics"),
        (["-o", "x.json", "--window", "2s"], "not a window"),
        (["-o", "x.om", "--start", "noon"], "not a date and time"),
        (["-o", "x.om", "--dashboard", "x.om"], "is the output itself"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = export(run, *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert list(tmp_path.iterdir()) == []
