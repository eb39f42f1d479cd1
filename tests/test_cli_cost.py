"""`replay cost` and `replay calibrate` as their user meets them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.gpu.calibrate import with_fit
from replay.gpu.spec import load_gpu
from tests.measured_steps import rows_of, write_rows


def replay(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def parts(*arguments):
    result = replay("cost", *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return {row["part"]: row["time_ms"] for row in json.loads(result.stdout)["step"]}


STEP = ("--gpu", "h100-sxm", "--model", "llama-3.1-8b", "--new", 512, "--cached", 65_536)


def test_a_step_is_shown_by_its_parts_and_its_floor():
    found = parts(*STEP, "--decode", "32x4096")
    whole, floor = found.pop("step"), found.pop("floor: peak FLOP or bytes")
    assert sum(found.values()) == pytest.approx(whole, rel=1e-6)
    assert floor < whole
    assert max(found, key=found.get) == "attention of the prompt"


def test_people_see_when_loading_a_prefix_pays():
    result = replay("cost", *STEP)
    assert result.exit_code == 0, result.output
    for word in ("HBM", "host memory", "SSD", "network", "65,536"):
        assert word in result.stdout
    assert "expect step times on h100-sxm off by" in result.stderr


def test_json_has_every_table_and_other_formats_say_what_they_leave_out(tmp_path):
    result = replay("cost", *STEP, "--format", "json")
    assert [len(table) > 0 for table in json.loads(result.stdout).values()] == [True, True]
    assert {"tier", "break_even_tokens"} <= set(json.loads(result.stdout)["load_or_recompute"][0])
    result = replay("cost", *STEP, "-o", tmp_path / "step.csv")
    assert "`--format json` has load_or_recompute too" in result.stderr
    assert f"Written to {tmp_path / 'step.csv'}" in " ".join(result.stderr.split())


def test_a_gpu_without_a_fit_is_called_uncalibrated():
    result = replay("cost", "--gpu", "l4", "--new", 128)
    assert "l4 is uncalibrated" in result.stderr
    assert "19 %" in result.stderr


def test_more_gpus_stages_and_types_change_the_step():
    one = parts("--new", 2048)["step"]
    assert parts("--new", 2048, "--tp", 4)["all-reduce"] > 0
    assert parts("--new", 2048, "--weight-dtype", "fp8")["step"] < one
    staged = parts("--new", 2048, "--pp", 2)
    assert staged["a new step each, stages overlapping"] < 0.6 * staged["step"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a step needs tokens"),
        (("--decode", "32"), "such as 32x4096"),
        (("--decode", "0x5"), "such as 32x4096"),
        (("--new", 1, "--gpu", "h1000"), "unknown GPU"),
        (("--new", 1, "--kv-dtype", "fp2"), "unknown KV type"),
        (("--new", 1, "--backend", "magic"), "unknown cost backend"),
        (("--new", 1, "--tp", 3), "cannot be split over 3 GPUs"),
        (("--new", 1, "--host", "garage"), "unknown host"),
    ],
)
def test_what_cannot_be_asked_is_an_error_with_a_way_out(arguments, message):
    result = replay("cost", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("over", ["new", "cached"])
def test_the_parts_are_drawn_over_a_range(tmp_path, over):
    pytest.importorskip("vl_convert")
    target = tmp_path / "cost.svg"
    result = replay("cost", *STEP, "--plot", target, "--over", over)
    assert result.exit_code == 0, result.output
    text = target.read_text()
    assert "attention of the prompt" in text
    assert f"{over} tokens" in text
    assert replay("cost", *STEP, "--plot", target).exit_code == 2


# --- calibrate ------------------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path):
    other = with_fit(load_gpu("h100-sxm"), {"gemm_efficiency": 0.6})
    rows = [*rows_of(other, "llama-3.1-8b"), *rows_of(other, "qwen3-14b")]
    return write_rows(tmp_path / "measured.csv", rows)


def test_a_fit_writes_a_gpu_file_that_a_step_can_use(measured, tmp_path):
    target = tmp_path / "my-h100.yaml"
    result = replay("calibrate", measured, "--gpu", "h100-sxm", "-o", target)
    assert result.exit_code == 0, result.output
    assert "gemm_efficiency" in result.stdout
    assert "held" in result.stdout
    fitted = load_gpu(target)
    assert fitted.name == "my-h100"
    assert fitted.fit.gemm_efficiency == pytest.approx(0.6, rel=0.05)
    assert parts("--gpu", target, "--new", 2048)["step"] > parts("--new", 2048)["step"]
    again = replay("calibrate", measured, "-o", target)
    assert again.exit_code == 2
    assert "exists" in again.stderr or "there already" in again.stderr


def test_rows_correct_a_step_as_a_table(measured):
    found = parts("--new", 2048, "--backend", "table", "--table", measured)
    assert found["correction by measurements"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "x.yaml"), "give MEASURED.csv"),
        (("nowhere.csv", "--measure", "-o", "x.csv"), "--measure writes a CSV"),
        (("nowhere.csv", "-o", "x.csv"), "a GPU file ends in .yaml"),
        (("nowhere.csv", "-o", "x.yaml"), "cannot be read"),
        (("nowhere.csv", "-o", "x.yaml", "--rename", "a"), "--rename takes NAME=MODEL"),
    ],
)
def test_a_fit_that_cannot_be_made_says_why(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = replay("calibrate", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
