"""`replay compare`: what people are shown, what programs get, what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.report.compare.judge import MEANING
from tests import run_fixture
from tests.page_reader import PageReader
from tests.test_compare import other_rows, written

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ALL = ["delta", "gained", "requests", "differences", "capacities", "curve", "timeline", "runs"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return two runs of one trace, and one of another."""
    folder = tmp_path_factory.mktemp("compare")
    one, other = other_rows(2)
    trace = run_fixture.manifest()["trace"] | {"name": "other.jsonl", "sha256": "cd" * 32}
    return [
        written(folder / "before", one),
        written(folder / "after_it", other, seed=1),
        written(folder / "elsewhere", other, trace=trace),
    ]


@pytest.fixture(scope="module")
def of_page(tmp_path_factory):
    """Return what each command of docs/compare.md prints, run in order as in a checkout."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "traces").symlink_to(ROOT / "traces")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outputs = {}
        for line in BLOCKS[0].splitlines():
            done = CliRunner().invoke(main, shlex.split(line)[1:])
            assert done.exit_code == 0, f"{line}\n{done.output}"
            outputs[line] = done.stdout
    return outputs


def compare(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["compare", *map(str, arguments)])


def test_people_are_shown_the_findings_then_tables(runs):
    result = compare(*runs[:2])
    assert result.exit_code == 0, result.output
    left_out, _, *first = result.stdout.splitlines()[:4]
    assert left_out == "Compared are the 23 requests that completed in every run."
    assert first[0].startswith("after_it reuses ")
    assert "the GPU model cannot tell them apart" in first[1] or "the first token comes" in first[1]
    titles = ["The scenarios do not differ", "before and after_it, the same requests",
              "Who gained and who lost, from before to after_it"]  # fmt: skip
    places = [result.stdout.find(title) for title in titles]
    assert -1 not in places
    assert places == sorted(places)
    assert re.search(r"^metric +before +after_it +difference", result.stdout, re.MULTILINE)
    assert "Note: differs: tokens of timed runs move a little" in result.stderr
    more = "of requests, capacities, curve, timeline, runs; --all prints all, --html FILE draws"
    assert more in result.stderr.replace("\n  ", " ")


def test_all_prints_all(runs):
    result = compare(*runs[:2], "--all")
    assert "The requests that changed most" in result.stdout
    assert "The engines on one clock" in result.stdout
    assert "More:" not in result.stderr


def test_programs_get_every_table_under_its_name(runs):
    result = compare(*runs[:2], "--format", "json")
    found = json.loads(result.stdout)
    assert list(found) == ALL
    assert found["delta"][0] == {
        "metric": "requests", "unit": "requests", "a": 23.0, "b": 23.0, "difference": 0.0,
        "change_share": 0.0, "verdict": "tie",
    }  # fmt: skip


def test_csv_is_the_first_table_or_the_one_named(runs, tmp_path):
    result = compare(*runs[:2], "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows[1]["metric"] == "token_hit_rate"
    assert "csv holds one table" in result.stderr
    path = tmp_path / "gained.parquet"
    assert compare(*runs[:2], "--table", "gained", "-o", path).exit_code == 0
    assert pl.read_parquet(path)["slice"].unique().sort().to_list() == [
        "prompt tokens", "requests of the session", "tenant", "turn",
    ]  # fmt: skip


def test_two_traces_say_so_first(runs):
    result = compare(runs[0], runs[2])
    start = "Not paired by request, compared by quantiles: two traces: trace.jsonl and other.jsonl."
    assert result.stdout.startswith(start)
    assert "Quantiles of the requests of each trace" in result.stdout
    assert "the same requests" not in result.stdout
    result = compare(runs[0], runs[2], "--format", "json")
    assert next(iter(json.loads(result.stdout))) == "quantiles"
    assert start in result.stderr.replace("\n  ", " ")


def test_names_that_mislead_give_way_to_letters(runs, tmp_path):
    rows = run_fixture.request_rows()
    folders = [written(tmp_path / name, rows) for name in ("b", "a")]
    said = compare(*folders).stdout
    assert "\na: b\nb: a\n" in said
    assert "a and b, the same requests" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["before"], "one run is no comparison"),
        (["before", "nowhere"], "nowhere: no such folder"),
        (["before", "after_it", "--table", "gainde"], "unknown table (got 'gainde')"),
        (["before", "after_it", "--all", "--table", "gained"], "--all leaves nothing to choose"),
        (["before", "after_it", "-o", "x.docx"], "the suffix tells no format"),
    ],
)
def test_what_is_refused_says_why(runs, arguments, said):
    folder = runs[0].parent
    given = [one if "-" in one[:2] or "." in one or one.startswith("gain") else folder / one
             for one in arguments]  # fmt: skip
    result = compare(*given)
    assert result.exit_code == 2
    assert said in result.stderr.replace("\n  ", " ")
    assert result.stdout == ""


def test_the_commands_of_the_page_print_what_it_shows(of_page):
    assert BLOCKS[1] in of_page["replay compare runs/bf16 runs/fp8"]


def test_the_page_tells_every_verdict_and_table(runs):
    for word in MEANING:
        assert f"| `{word}` |" in PAGE
    for name in (*ALL, "delta_b", "ranking", "quantiles", "totals"):
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize("how", [["--html"], ["-o"]])
def test_a_page_is_one_file_and_it_is_said_where(runs, tmp_path, monkeypatch, how):
    monkeypatch.setattr("sys.argv", ["replay", "compare", "a", "b c", *how, "page.html"])
    result = compare(*runs[:2], *how, tmp_path / "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Page written to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    seen = PageReader((tmp_path / "page.html").read_text())
    assert f"replay compare a 'b c' {how[0]} page.html" in seen.text
    assert len(seen.scripts) == 3


def test_a_page_that_is_there_is_replaced_with_force_only(runs, tmp_path):
    target = tmp_path / "page.html"
    target.write_text("mine")
    assert compare(*runs[:2], "--html", target).exit_code == 2
    assert target.read_text() == "mine"
    assert compare(*runs[:2], "--html", target, "--force", "--static").exit_code == 0
    assert PageReader(target.read_text()).scripts == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--table", "gained", "--html", "p.html"], "leave the names out"),
        (["--all", "--html", "p.html"], "leave the names out"),
        (["--html", "p.html", "-o", "q.csv"], "both name a file"),
        (["--html", "p.html", "--format", "md"], "one format"),
        (["--static"], "give --html FILE"),
    ],
)
def test_options_that_mean_nothing_to_a_page_are_refused(
    runs, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    result = compare(*runs[:2], *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_never_written_into_what_is_read(runs):
    assert compare(*runs[:2], "--html", runs[0] / "page.html").exit_code == 2
    assert not (runs[0] / "page.html").exists()
