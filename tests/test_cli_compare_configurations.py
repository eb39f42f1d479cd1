"""`replay compare --trace`: configurations of one trace, run for the occasion."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.runs.open import open_run

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
UNTIMED = ("--untimed", "--capacity", "2000blocks")


def invoke(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(main, [*map(str, arguments)])


def compare(*arguments):
    return invoke("compare", "--trace", SAMPLE, *arguments)


def digest(folder: Path) -> str:
    return open_run(folder).manifest["result_digest"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the run that `base` is with the options of these tests."""
    folder = tmp_path_factory.mktemp("runs") / "base"
    assert invoke("run", SAMPLE, *UNTIMED, "-o", folder).exit_code == 0
    return folder


def test_configurations_are_the_runs_that_replay_run_makes(run, tmp_path):
    more, keep = tmp_path / "more", tmp_path / "kept"
    settings = ("--set", "cache.ttl=5m", "--set", "cache.responses=false")
    assert invoke("run", SAMPLE, *UNTIMED, *settings, "-o", more).exit_code == 0
    result = compare(
        *UNTIMED, "base", "cache.ttl=5m,cache.responses=false", "--keep", keep, "--format", "json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [one["name"] for one in found["runs"]] == ["base", "ttl=5m, responses=false"]
    folders = [Path(one["folder"]) for one in found["runs"]]
    assert [digest(folder) for folder in folders] == [digest(run), digest(more)]
    assert {folder.parent for folder in folders} == {keep.resolve()}
    told = json.loads(invoke("compare", run, more, "--format", "json").stdout)
    assert told["delta"] == found["delta"]
    assert told["gained"] == found["gained"]


def test_runs_that_are_not_kept_are_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    page = tmp_path / "boss.html"
    result = compare(*UNTIMED, "base", "cache.capacity=inf", "--html", page)
    assert result.exit_code == 2  # a capacity said twice, by an option and by a setting
    assert "given twice" in result.stderr
    result = compare("--untimed", "cache.capacity=2000blocks", "cache.capacity=inf", "--html", page)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["boss.html"]
    found = json.loads(compare("--untimed", "base", "cache.ttl=5m", "--format", "json").stdout)
    assert {one["folder"] for one in found["runs"]} == {None}


def test_a_run_that_is_there_stands_beside_configurations(run):
    result = compare(*UNTIMED, run, "base", "--format", "json")
    assert result.exit_code == 0, result.output
    assert {row["verdict"] for row in json.loads(result.stdout)["delta"]} == {"tie"}


def test_a_scenario_file_is_a_configuration(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("engine: {mode: untimed}\ncache: {capacity: 500blocks}\n")
    result = compare("--seed", 3, file, "engine.mode=untimed,cache.capacity=inf",
                     "--format", "json")  # fmt: skip
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["differences"][0] == {"key": "cache.capacity", "a": "500blocks", "b": "inf"}
    assert "seed" not in {row["key"] for row in found["differences"]}
    assert found["runs"][0]["name"] == "small"


def test_lists_in_settings_are_values_not_settings():
    settings = "cache.kind=session_store,cache.session_store.prefix_lengths=[50, 100]"
    result = compare("--untimed", "--capacity", "1Mtokens", "--set", "cache.kind=session_store",
                     "base", settings, "--format", "json")  # fmt: skip
    assert result.exit_code == 0, result.output
    changed = {row["key"]: row["b"] for row in json.loads(result.stdout)["differences"]}
    assert changed["cache.session_store.prefix_lengths"] == "[50, 100]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["base", "kv_dtype"], "kv_dtype: neither a run nor a configuration"),
        (["base", "cache.polcy=lru"], "did you mean"),
        (["base", "none.yaml"], "none.yaml"),
        (["base", "a.yaml", "-c", "b.yaml"], "both whole scenarios"),
        (["base"], "one run is no comparison"),
    ],
)
def test_what_is_no_configuration_is_refused_before_the_work(
    tmp_path, monkeypatch, arguments, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.yaml").write_text("seed: 1\n")
    result = compare("--untimed", *arguments, "--keep", tmp_path / "kept")
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("option", [["--gpu", "h100-sxm"], ["--sensitivity"], ["--keep", "x"],
                                    ["--set", "seed=1"], ["--format-in", "mooncake"]])  # fmt: skip
def test_options_of_making_runs_need_a_trace(run, option):
    result = invoke("compare", run, run, *option)
    assert result.exit_code == 2
    assert f"{option[0]} is about runs to make" in result.stderr


def test_kept_runs_are_replaced_with_force_only(tmp_path):
    arguments = (*UNTIMED, "base", "cache.ttl=5m", "--keep", tmp_path, "--format", "csv")
    assert compare(*arguments).exit_code == 0
    before = digest(tmp_path / "base")
    result = compare(*arguments)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert compare(*arguments, "--force").exit_code == 0
    assert digest(tmp_path / "base") == before


def test_nothing_is_run_where_one_of_the_kept_runs_is_there(tmp_path):
    (tmp_path / "ttl=5m").mkdir()
    (tmp_path / "ttl=5m" / "mine").write_text("")
    result = compare(*UNTIMED, "base", "cache.ttl=5m", "--keep", tmp_path)
    assert result.exit_code == 2
    assert not (tmp_path / "base").exists()
