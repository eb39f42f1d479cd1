"""`replay report`: what it prints, in which format, and what must be read first."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.report.library import SHORT, load_report, report_names
from tests import run_fixture

SUMMARY_KEYS = set(
    """
    requests completed input_tokens output_tokens hit_tokens token_hit_rate block_hit_rate
    full_block_hit_rate request_hit_rate mean_request_token_hit_rate session_hit_tokens
    cross_request_hit_tokens cold_tokens capacity_miss_tokens in_flight_tokens granularity_tokens
    prefill_reduction capacity_blocks evicted_blocks preemptions ttft_mean_ms ttft_p50_ms
    ttft_p90_ms ttft_p99_ms queue_mean_ms itl_mean_ms e2e_p50_ms overloaded
""".split()  # noqa: SIM905  as words they can be compared with the page
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "run"
    return run_fixture.write(folder, requests=run_fixture.ended_rows())


@pytest.fixture(scope="module")
def overloaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overloaded") / "run"
    return run_fixture.write(folder, run_fixture.overloaded_manifest())


@pytest.fixture(scope="module")
def untimed(tmp_path_factory):
    return run_fixture.write_untimed(tmp_path_factory.mktemp("untimed") / "run")


def report(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["report", *map(str, arguments)])


def test_a_run_is_told_by_its_verdict_and_the_tables_that_matter(run):
    result = report(run)
    assert result.exit_code == 0
    said = result.stdout.split()
    assert said[:9] == ["The", "prefix", "cache", "cut", "the", "average", "wait", "for", "the"]
    assert "38% of all prompt tokens were reused" in result.stdout
    shown = [name for name in report_names() if load_report(name).meaning in result.stdout]
    assert shown == list(SHORT)
    for name in set(report_names()) - set(SHORT):
        assert name in result.stderr


def test_a_table_for_programs_is_not_shortened(run):
    assert list(json.loads(report(run, "--format", "json").stdout)) == report_names()


def test_all_reports_are_printed_in_order(run):
    result = report(run, "--all")
    assert result.exit_code == 0
    titles = [load_report(name).meaning for name in report_names()]
    places = [result.stdout.find(title) for title in titles]
    assert -1 not in places
    assert places == sorted(places)


def test_only_the_reports_named_are_printed(run):
    result = report(run, "prefixes", "ttft")
    assert load_report("ttft").meaning in result.stdout
    assert load_report("summary").meaning not in result.stdout
    assert result.stdout.find(load_report("prefixes").meaning) < result.stdout.find("TTFT, and")


def test_summary_as_json_is_one_object_with_the_documented_keys(run):
    result = report(run, "summary", "--format", "json")
    (row,) = json.loads(result.stdout)
    assert row.keys() >= SUMMARY_KEYS
    assert list(row) == [column.name for column in load_report("summary").columns]
    assert (row["requests"], row["completed"], row["capacity_blocks"]) == (30, 26, 100)


@pytest.mark.parametrize(
    ("kind", "expected"), [("run", False), ("overloaded", True), ("untimed", False)]
)
def test_overloaded_is_a_json_boolean(request, kind, expected):
    result = report(request.getfixturevalue(kind), "summary", "--format", "json")
    assert json.loads(result.stdout)[0]["overloaded"] is expected


@pytest.mark.parametrize("format", ["table", "md"])
@pytest.mark.parametrize("names", [[], ["ttft"], ["summary", "hit_rate"]])
def test_an_overloaded_run_says_so_before_any_number(overloaded, format, names):
    text = report(overloaded, *names, "--format", format).stdout
    before = text[: text.index("OVERLOADED")]
    assert not any(character.isdigit() for character in before)


@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_an_overloaded_run_says_so_beside_data(overloaded, format):
    result = report(overloaded, "summary", "--format", format)
    assert "OVERLOADED" in result.stderr
    assert "OVERLOADED" not in result.stdout


@pytest.mark.parametrize("suffix", ["txt", "md"])
def test_an_overloaded_run_says_so_in_a_file_for_people(overloaded, tmp_path, suffix):
    report(overloaded, "summary", "-o", tmp_path / f"s.{suffix}")
    assert (tmp_path / f"s.{suffix}").read_text().lstrip("> *").startswith("OVERLOADED")


def test_a_calm_run_says_nothing_of_overload(run):
    result = report(run)
    assert "OVERLOADED" not in result.stdout + result.stderr


def test_what_the_numbers_assume_is_said_beside_them(run):
    result = report(run, "summary")
    assert "the clock of the trace ticks in seconds" in result.stderr
    assert "responses are unknown" in result.stderr
    assert "unknown" not in result.stdout


def test_several_reports_as_json_are_an_object_of_lists_by_name(run):
    found = json.loads(report(run, "--format", "json").stdout)
    assert list(found) == report_names()
    assert len(found["summary"]) == 1
    assert len(found["prefixes"]) == 20


def test_several_reports_go_into_one_json_file(run, tmp_path):
    report(run, "summary", "ttft", "-o", tmp_path / "all.json")
    assert list(json.loads((tmp_path / "all.json").read_text())) == ["summary", "ttft"]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_formats_of_one_table_refuse_several(run, format):
    result = report(run, "--format", format)
    assert result.exit_code == 2
    assert "one report at a time" in result.stderr
    assert result.stdout == ""


def test_a_report_without_anything_to_say_says_why(untimed):
    result = report(untimed)
    assert result.exit_code == 0
    assert "the run is untimed" in result.stdout + result.stderr
    assert load_report("ttft").meaning not in result.stdout


def test_a_report_asked_for_by_name_may_have_no_rows(untimed):
    result = report(untimed, "ttft", "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_every_key_is_there_where_a_report_has_nothing_to_say(untimed):
    found = json.loads(report(untimed, "--format", "json").stdout)
    assert found["ttft"] == []
    assert list(found) == report_names()


def test_an_unknown_report_lists_the_known_ones(run):
    result = report(run, "sumary")
    assert result.exit_code == 2
    assert "unknown report (got 'sumary')" in result.stderr
    assert "did you mean summary" in result.stderr
    assert all(name in result.stderr for name in report_names())


@pytest.mark.parametrize("suffix", ["txt", "md", "csv", "json", "jsonl", "ndjson", "parquet"])
def test_the_suffix_of_the_output_tells_the_format(run, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    result = report(run, "prefixes", "-o", target)
    assert (result.exit_code, result.stdout) == (0, "")
    readers: dict[str, Callable[[str], list]] = {
        "csv": lambda text: list(csv.DictReader(text.splitlines())),
        "json": json.loads,
        "jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
        "md": lambda text: text.splitlines()[4:],
    }
    readers["ndjson"] = readers["jsonl"]
    if suffix == "parquet":
        assert pl.read_parquet(target).height == 20
    elif suffix == "txt":
        assert load_report("prefixes").meaning in target.read_text()
    else:
        assert len(readers[suffix](target.read_text())) == 20


def test_a_suffix_that_tells_nothing_is_refused(run, tmp_path):
    result = report(run, "summary", "-o", tmp_path / "out.xlsx")
    assert result.exit_code == 2
    assert ".parquet" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_ends_with_2(run, tmp_path):
    result = report(run, "summary", "-o", tmp_path / "nowhere" / "out.csv")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet", "md"])
def test_a_full_disk_leaves_the_file_that_was_there(run, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    target.write_text("before")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); "
        "from replay.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "report", run, "prefixes", "--force", "-o", target],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "size limit" in done.stderr
    assert "Traceback" not in done.stderr
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("damage", ["no folder", "no manifest", "no table", "a cut table"])
def test_a_folder_that_is_no_whole_run_is_an_input_error(tmp_path, damage):
    folder = tmp_path / "run"
    if damage != "no folder":
        run_fixture.write(folder)
    if damage == "no manifest":
        (folder / "manifest.json").unlink()
    elif damage == "no table":
        (folder / "prefixes.parquet").unlink()
    elif damage == "a cut table":
        (folder / "requests.parquet").write_bytes(b"PAR1")
    result = report(folder)
    assert result.exit_code == 2
    assert str(folder) in result.stderr
    assert "Traceback" not in result.stderr


def test_the_sql_of_a_report_can_be_copied(run):
    assert report(run, "ttft", "--sql").stdout == load_report("ttft").sql


def test_nothing_is_printed_to_stderr_by_the_libraries(untimed):
    done = subprocess.run(
        [sys.executable, "-m", "replay", "report", untimed, "summary", "--format", "csv"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert all(line.startswith("Note: ") for line in done.stderr.splitlines())
