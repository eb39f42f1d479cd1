"""The page of a run in Python: the command's page, whether the run lies in a folder or not."""

from __future__ import annotations

import builtins
import shutil
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import replay
from replay.answers import stories
from replay.cli import main
from tests import run_fixture
from tests.page_reader import PageReader

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
UNTIMED = {"untimed": True, "capacity": "884blocks"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run in a folder, made by the command, beside the command's page of it."""
    there = tmp_path_factory.mktemp("page")
    shutil.copy(SAMPLE, there / "trace.jsonl")
    for words in (
        ["run", there / "trace.jsonl", "--untimed", "--capacity", "884blocks", "-o", there / "run"],
        ["report", there / "run", "--html", there / "page.html"],
    ):
        done = CliRunner().invoke(main, [*map(str, words)])
        assert done.exit_code == 0, done.output
    return there


@pytest.fixture(scope="module")
def held():
    """A run in memory, of a trace that is no file."""
    frame = replay.load_trace(SAMPLE).frame()
    return replay.run(replay.from_frame(frame, block_size=512), **UNTIMED)


def told(html):
    """Return what a page says before its footer, and everything in it that is drawn."""
    seen = PageReader(html)
    return seen.text.partition("Made with")[0], seen.content


def test_a_run_in_a_folder_has_the_page_the_command_makes(folder):
    made = replay.page(folder / "run")
    assert told(made.html) == told((folder / "page.html").read_text())
    assert f"replay.open_run('{folder / 'run'}').page()" in PageReader(made.html).text
    assert made.lack == ""


def test_a_run_in_memory_has_it_too_with_its_stories(folder, held):
    text, content = told(held.page().html)
    assert content["data"] == told((folder / "page.html").read_text())[1]["data"]
    worst = held.sql(
        "SELECT request_id FROM requests ORDER BY capacity_miss_tokens DESC, request_id LIMIT 1"
    )
    assert held.explain(worst.frame().item()).text.splitlines()[0] in text


def test_without_scripts_the_pictures_are_in_it(folder):
    made = replay.page(folder / "run", static=True)
    assert PageReader(made.html).scripts == []
    assert made.html.count("<svg") > 5
    assert "page(static=True)" in made.html


def test_a_notebook_shows_the_whole_page_in_a_frame_of_its_own(folder):
    found = []

    class Frames(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    made = replay.page(folder / "run")
    Frames().feed(made._repr_html_())
    ((tag, attributes),) = found
    assert (tag, attributes["srcdoc"]) == ("iframe", made.html)
    assert attributes["sandbox"] == "allow-scripts"


def test_what_must_be_read_first_comes_first(tmp_path):
    run = replay.open_run(run_fixture.write(tmp_path / "run", run_fixture.overloaded_manifest()))
    made = run.page()
    assert made.warnings == run.warnings
    assert repr(made).splitlines()[0] == run.warnings[0]
    assert repr(made).splitlines()[-1] == made.lack
    assert made.lack.startswith("No stories: its trace is not there")


def test_a_trace_that_moved_is_given(folder, tmp_path):
    moved = replay.load_trace(folder / "trace.jsonl")
    shutil.copytree(folder / "run", tmp_path / "run")
    (folder / "trace.jsonl").rename(folder / "gone.jsonl")
    try:
        assert replay.page(tmp_path / "run").lack.startswith("No stories")
        assert replay.page(tmp_path / "run", trace=moved).lack == ""
    finally:
        (folder / "gone.jsonl").rename(folder / "trace.jsonl")


def test_stories_that_would_take_long_are_told_by_a_call(held, monkeypatch):
    monkeypatch.setattr(stories, "MOST_REPLAYED", 4000)
    assert held.page().lack == (
        "The stories of the first 3 are told here; "
        "`run.explain(request)` tells the story of any request."
    )


def test_a_page_is_written_whole_and_replaces_with_force_only(folder, tmp_path):
    made = replay.page(folder / "run", static=True)
    assert made.write(tmp_path / "a.html") == tmp_path / "a.html"
    assert (tmp_path / "a.html").read_text() == made.html
    with pytest.raises(replay.OutputExistsError):
        made.write(tmp_path / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    made.write(str(tmp_path / "a.html"), force=True)


def test_without_the_extra_it_is_said_what_to_install(held, monkeypatch):
    real = builtins.__import__

    def lacking(name, *arguments, **options):
        if name == "vl_convert":
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(replay.InputError, match="vl_convert") as caught:
        held.page()
    assert "kvreplay[report]" in caught.value.hint


def test_a_comparison_has_the_page_the_command_makes(folder, tmp_path):
    other = replay.run(folder / "trace.jsonl", untimed=True, capacity="2000blocks")
    other.save(tmp_path / "other")
    words = ["compare", folder / "run", tmp_path / "other", "--html", tmp_path / "c.html"]
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 0, done.output
    compared = replay.compare(folder / "run", tmp_path / "other")
    made = compared.page()
    assert told(made.html) == told((tmp_path / "c.html").read_text())
    call = f"replay.compare('{folder / 'run'}', '{tmp_path / 'other'}').page()"
    assert call in PageReader(made.html).text
    assert (made.warnings, made.lack) == (compared.warnings, "")
    assert repr(made).splitlines()[-1].startswith("Page of run, other, ")
    static = replay.page(compared, static=True)
    assert PageReader(static.html).scripts == []
    assert "page(static=True)" in static.html
    with pytest.raises(replay.InputError, match="needs no trace"):
        replay.page(compared, trace=SAMPLE)


def test_runs_in_memory_have_a_page_of_their_comparison(held):
    other = replay.run(SAMPLE, untimed=True, capacity="2000blocks")
    made = replay.compare(held, other, names=["few", "many"]).page()
    text = PageReader(made.html).text
    assert "compared.page()" in text
    assert "few" in text
    assert tempfile.gettempdir() not in made.html  # no folder that is gone
