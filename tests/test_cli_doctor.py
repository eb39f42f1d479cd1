"""`replay doctor`: a verdict per line, and exit code 1 when something is broken."""

import os
import pickle

import numba
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.compiling.parts import NAMES, PARTS
from replay.compiling.processes import Compiled
from replay.kernels import code_cache
from replay.kernels.jit import KeptCode, jit


def halved(x):
    return x // 2


class Ends:
    """Unpickles to a word, or not at all: the process ends first."""

    def __init__(self, ends):
        self.ends = ends

    def __reduce__(self):
        return (os._exit, (3,)) if self.ends else (str, ("a word",))


@pytest.fixture(autouse=True)
def _few_entries(tmp_path_factory, monkeypatch):
    """Look at a cache of no entries: the loading of them is a process, and has tests of its own."""
    folder = tmp_path_factory.mktemp("entries")
    folder.chmod(0o700)
    monkeypatch.setattr(code_cache, "FOLDER", folder)


def examine(*options, **environment):
    return CliRunner().invoke(main, ["doctor", *options], env=environment)


def line_of(result, name):
    [line] = [line for line in result.stdout.splitlines() if line[6:].startswith(name)]
    return line


def test_a_sound_machine_passes():
    result = examine()
    assert result.exit_code == 0, result.stdout
    assert {line.split()[0] for line in result.stdout.splitlines()} <= {"ok", "warn"}


@pytest.mark.parametrize("name", ["python", "polars", "duckdb", "numba", "numpy", "pydantic"])
def test_versions_are_told(name):
    line = line_of(examine(), name)
    assert line.startswith("ok")
    assert line.split()[2][0].isdigit()


def test_a_broken_hardware_file_fails_with_its_place(tmp_path, monkeypatch):
    for kind in ("gpus", "models"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "x.yaml").write_text("name: 3\n")
    monkeypatch.setattr("replay.gpu.spec.data_folder", lambda name: tmp_path)
    result = examine()
    assert result.exit_code == 1
    assert line_of(result, "gpus").startswith("fail")
    assert "x.yaml:1:7: name: must be text (got 3)" in result.stdout


def test_missing_data_fails(tmp_path, monkeypatch):
    monkeypatch.setattr("replay.gpu.spec.data_folder", lambda name: tmp_path)
    assert line_of(examine(), "models").startswith("fail")


def test_a_library_that_cannot_be_imported_fails(monkeypatch):
    import importlib

    import_module = importlib.import_module

    def refuse(name, package=None):
        if name == "duckdb":
            raise ImportError("libstdc++ is too old")
        return import_module(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    result = examine()
    assert result.exit_code == 1
    assert "libstdc++ is too old" in line_of(result, "duckdb")


def test_a_kernel_cache_others_can_write_is_warned_about(tmp_path, monkeypatch):
    tmp_path.chmod(0o777)
    monkeypatch.setattr(code_cache, "FOLDER", tmp_path)
    assert line_of(examine(), "kernel cache").startswith("warn")


def test_no_kernel_cache_is_a_warning_and_not_a_failure(monkeypatch):
    monkeypatch.setattr(code_cache, "FOLDER", None)
    result = examine()
    assert line_of(result, "kernel cache").startswith("warn")
    assert result.exit_code == 0
    assert line_of(examine("--warm"), "kernels").startswith("fail")


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_every_entry_of_the_kernel_cache_is_loaded_and_bad_ones_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(code_cache, "FOLDER", tmp_path)
    compiled = jit(halved)
    compiled._cache = KeptCode(halved)
    compiled(4)
    [good] = tmp_path.iterdir()
    (tmp_path / "a.cut-0.nbc").write_bytes(good.read_bytes()[:-9])
    (tmp_path / "b.none-0.nbc").write_bytes(b"")
    code_cache.write_entry(tmp_path / "c.odd-0.nbc", b"cno.such.module\nName\n.")
    result = examine()
    told = [line for line in result.stdout.splitlines() if "kernel cache" in line]
    assert "1 kernels compiled and loaded" in told[0]
    assert [line.split()[0] for line in told[1:]] == ["warn"] * 3
    assert [name for name in ("a.cut", "b.none", "c.odd") if name in "".join(told[1:])] == [
        "a.cut", "b.none", "c.odd",
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [good]
    assert result.exit_code == 0


def test_an_entry_that_kills_whoever_loads_it_is_dropped_and_the_rest_are_loaded(
    tmp_path, monkeypatch
):
    """Stands in for machine code that is whole and still wrong: the process ends while loading."""
    monkeypatch.setattr(code_cache, "FOLDER", tmp_path)
    for name, ends in (("a", False), ("b", True), ("c", False)):
        code_cache.write_entry(tmp_path / f"{name}.f-0.nbc", pickle.dumps((("other",), Ends(ends))))
    told = [line for line in examine().stdout.splitlines() if "kernel cache" in line]
    assert "2 of another processor or version" in told[0]
    assert "b.f-0.nbc: ended its process" in told[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.f-0.nbc", "c.f-0.nbc"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_line_is_for_the_shell_in_use(shell):
    line = line_of(examine(SHELL=f"/bin/{shell}"), "completion")
    assert f"_REPLAY_COMPLETE={shell}_source replay" in line


def test_warm_compiles_what_is_not_and_tells_each_part(monkeypatch):
    asked = []

    def compile_apart(names):
        asked.extend(names)
        for name in names:
            yield Compiled(name, 1.5, "out of memory" if name == "costs" else None)

    monkeypatch.setattr("replay.compiling.processes.compile_apart", compile_apart)
    monkeypatch.setattr(code_cache, "is_compiled", lambda kernel: kernel == "stack_depths")
    result = examine("--warm")
    assert asked == list(NAMES)
    total = len(PARTS)
    assert f"ok    kernels 1/{total}" in result.stdout
    assert "timed block, 1.5 s" in result.stdout
    assert f"fail  kernels {total}/{total}" in result.stdout
    assert "costs: out of memory" in result.stdout
    assert result.exit_code == 1
    monkeypatch.setattr(code_cache, "is_compiled", lambda kernel: True)
    assert f"{total} of {total} parts ready" in line_of(examine("--warm"), "kernels")
