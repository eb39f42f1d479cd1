"""`replay doctor`: a verdict per line, and exit code 1 when something is broken."""

import pytest
from click.testing import CliRunner

from replay.cli import main


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
    monkeypatch.setattr("replay.kernels.jit.CACHED", True)
    assert line_of(examine(NUMBA_CACHE_DIR=str(tmp_path)), "kernel cache").startswith("warn")


def test_no_kernel_cache_is_a_warning_and_not_a_failure(monkeypatch):
    monkeypatch.setattr("replay.kernels.jit.CACHED", False)
    result = examine()
    assert line_of(result, "kernel cache").startswith("warn")
    assert result.exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_line_is_for_the_shell_in_use(shell):
    line = line_of(examine(SHELL=f"/bin/{shell}"), "completion")
    assert f"_REPLAY_COMPLETE={shell}_source replay" in line


def test_warm_compiles_the_kernels(monkeypatch):
    called = []
    monkeypatch.setattr("replay.engine.warm.compile_kernels", lambda: called.append(True))
    assert line_of(examine("--warm"), "kernels").startswith("ok")
    assert called == [True]
