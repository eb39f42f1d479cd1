"""`replay report RUN --html FILE`: one file, whole or not at all, with the stories it can tell."""

from __future__ import annotations

import builtins
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import replay
from replay.analysis.explain import explain_requests
from replay.analysis.story import sentences
from replay.answers import stories
from replay.cli import main, report_page
from replay.report import bundle
from replay.runs.open import open_run
from tests import run_fixture
from tests.page_reader import PageReader

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def report(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("page") / "run")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A run of the sample trace, read from a copy that tests may move."""
    folder = tmp_path_factory.mktemp("sample")
    shutil.copy(SAMPLE, folder / "trace.jsonl")
    done = CliRunner().invoke(
        main, ["run", str(folder / "trace.jsonl"), "--untimed", "--capacity", "884blocks",
               "-o", str(folder / "run")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("how", [["--html"], ["-o"]])
def test_a_page_is_one_file_and_it_is_said_where(run, tmp_path, how):
    result = report(run, *how, tmp_path / "page.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Page written to" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    seen = PageReader((tmp_path / "page.html").read_text())
    assert f"replay report {run} --html {tmp_path / 'page.html'}" in seen.text
    assert len(seen.scripts) == 3


def test_a_static_page_has_no_script(run, tmp_path):
    assert report(run, "--html", tmp_path / "page.html", "--static").exit_code == 0
    seen = PageReader((tmp_path / "page.html").read_text())
    assert seen.scripts == []
    assert "--static" in seen.text


def test_a_static_page_without_a_picture_asks_for_no_script(tmp_path):
    rows = [row | {"status": "rejected"} for row in run_fixture.request_rows()[:1]]
    for row in rows:
        row |= {name: None for name in row if name.endswith("_ns") and name != "arrival_ns"}
    empty = run_fixture.write(tmp_path / "run", requests=rows)
    done = report(empty, "--html", tmp_path / "page.html", "--static")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "page.html").read_text()
    assert '<svg class="marks' not in text
    assert "noscript" not in text


@pytest.mark.parametrize("how", ["--html", "-o"])
def test_sql_is_printed_or_a_page_written(run, tmp_path, how):
    done = report(run, how, tmp_path / "page.html", "--sql")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--sql prints, and a page is a file" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_is_there_is_replaced_with_force_only(run, tmp_path):
    target = tmp_path / "page.html"
    target.write_text("mine")
    result = report(run, "--html", target)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert target.read_text() == "mine"
    assert report(run, "--html", target, "--force").exit_code == 0
    assert target.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["summary", "--html", "p.html"], "leave the names out"),
        (["--html", "p.html", "-o", "q.csv"], "both name a file"),
        (["--html", "p.html", "--format", "md"], "one format"),
        (["--static"], "give --html FILE"),
        (["--trace", "t.jsonl"], "give --html FILE"),
        (["--all", "--html", "p.html"], "leave --all out"),
        (["--all", "ttft"], "leave --all out"),
        (["--html", "nowhere/p.html"], "cannot write"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    run, tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    result = report(run, *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_never_written_into_what_is_read(run):
    result = report(run, "--html", run / "page.html")
    assert result.exit_code == 2
    assert not (run / "page.html").exists()


def test_the_stories_are_those_that_explain_tells(sample, tmp_path):
    assert report(sample / "run", "--html", tmp_path / "page.html").exit_code == 0
    seen = PageReader((tmp_path / "page.html").read_text())
    opened = open_run(sample / "run")
    content = seen.content["data"]["most_evicted"]
    worst = [row[content["columns"].index("request_id")] for row in content["rows"]]
    assert len(worst) == 12
    for told in explain_requests(opened, worst):
        for line in sentences(told):
            assert line in seen.text


def test_a_trace_that_moved_is_named_or_its_stories_are_missing(sample, tmp_path):
    moved = tmp_path / "elsewhere.jsonl"
    shutil.copy(sample / "trace.jsonl", moved)
    (sample / "trace.jsonl").rename(sample / "gone.jsonl")
    try:
        assert report(sample / "run", "--html", tmp_path / "a.html").exit_code == 0
        lacking = PageReader((tmp_path / "a.html").read_text()).text
        assert "No stories: its trace is not there" in lacking
        assert (
            report(sample / "run", "--html", tmp_path / "b.html", "--trace", moved).exit_code == 0
        )
        assert "No stories" not in PageReader((tmp_path / "b.html").read_text()).text
    finally:
        (sample / "gone.jsonl").rename(sample / "trace.jsonl")


def test_stories_read_a_trace_as_its_run_did(sample, tmp_path, monkeypatch):
    lines = (sample / "trace.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "trace.jsonl").write_text("".join([*lines[:300], "no json\n", *lines[300:400]]))
    words = ["run", str(tmp_path / "trace.jsonl"), "--max-rejected", "1%", "--untimed",
             "--capacity", "100blocks", "-o", str(tmp_path / "run")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["replay", *words])
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert report(tmp_path / "run", "--html", tmp_path / "page.html").exit_code == 0
    assert "No stories" not in (tmp_path / "page.html").read_text()
    lacking = replay.page(tmp_path / "run").lack  # the call is told how, by `trace`
    assert lacking.startswith("No stories:")
    assert len(lacking.splitlines()) == 1


def test_of_a_long_trace_few_stories_are_told_or_none(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(stories, "MOST_REPLAYED", 4000)
    assert report(sample / "run", "--html", tmp_path / "a.html").exit_code == 0
    assert "The stories of the first 3 are told here" in (tmp_path / "a.html").read_text()
    monkeypatch.setattr(stories, "MOST_REQUESTS", 2000)
    assert report(sample / "run", "--html", tmp_path / "b.html").exit_code == 0
    assert "so no stories are told here" in (tmp_path / "b.html").read_text()


def test_a_run_is_shown_where_nothing_can_be_compiled(run, tmp_path, monkeypatch):
    def tell(*_, **__):
        raise ImportError("no numba", name="numba")

    monkeypatch.setattr(report_page, "_explain", tell)
    assert report(run, "--html", tmp_path / "page.html").exit_code == 0
    assert "No stories: numba is not installed here." in (tmp_path / "page.html").read_text()


def test_without_the_extra_it_is_said_what_to_install(run, tmp_path, monkeypatch):
    real = builtins.__import__

    def lacking(name, *arguments, **options):
        if name == "vl_convert":
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    result = report(run, "--html", tmp_path / "page.html")
    assert result.exit_code == 2
    assert "pip install 'kvreplay[report]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_itself_makes_a_page_within_its_limits(run, tmp_path):
    """In a process of its own the queries run under a memory limit, and drawing does not."""
    for extra in ([], ["--static", "--force"]):
        done = subprocess.run(
            [sys.executable, "-m", "replay", "report", run, "--html", tmp_path / "p.html", *extra],
            capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache"),
                 "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        written, why = done.stderr.split("p.html", 1)
        assert " ".join(written.split()) == f"Page written to {tmp_path}/"
        assert " ".join(why.split()).startswith("No stories: its trace is not there")


# --- the scripts ------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    class Module:
        @staticmethod
        def javascript_bundle(snippet):
            made.append(1)
            return "vega</script>"

    monkeypatch.setitem(sys.modules, "vl_convert", Module)
    return tmp_path / "cache" / "replay" / "page", made


def test_the_scripts_are_put_together_once_and_cannot_end_their_element(cache):
    folder, made = cache
    assert bundle.vega_script() == bundle.vega_script() == "vega<\\/script>"
    assert len(made) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["changed", "cut", "a link", "writable by others"])
def test_scripts_that_are_not_what_was_kept_are_not_taken(cache, damage):
    folder, made = cache
    bundle.vega_script()
    (kept,) = folder.iterdir()
    if damage == "changed":
        kept.write_bytes(kept.read_bytes().replace(b"vega", b"evil"))
    elif damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-3])
    elif damage == "a link":
        kept.rename(folder / "other")
        kept.symlink_to(folder / "other")
    else:
        folder.chmod(0o777)
    assert bundle.vega_script() == "vega<\\/script>"
    assert len(made) == 2
