"""Overhead outside the GPU as a column, and runs again at the edges of the model's error."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from replay.analysis import sensitivity
from replay.analysis.sensitivity import (
    ARITHMETIC,
    BANDWIDTH,
    FIXED,
    Variant,
    band_runs,
    verdicts,
)
from replay.config.scenario import Scenario
from replay.engine import costing
from replay.engine.overhead import NOTHING, server_times
from replay.engine.run import execute, prepare_trace, run_notes
from replay.errors import ConfigError, InputError, UnknownNameError
from replay.gpu.calibrate import with_fit
from replay.gpu.spec import load_engine
from tests.random_traces import unit_trace_of
from tests.test_session_store import conversation


def run_of(**sections):
    prepared = prepare_trace(unit_trace_of(conversation()), Scenario(**sections))
    return prepared, execute(prepared)


def test_ttft_is_queue_and_overhead_and_prefill():
    _, plain = run_of()
    _, bare = run_of(engine={"name": "vllm", "overhead": "none"})
    _, named = run_of(engine={"name": "vllm"})
    times = load_engine("vllm").times("dense", 1, "typical")
    for run in (plain, bare):
        assert (
            run.tables["requests"]["overhead_ns"].to_list() == [0] * run.tables["requests"].height
        )
        assert not any(run.manifest["step_times"]["server"].values())
    frame = named.tables["requests"]
    tokens = frame["input_tokens"].to_numpy()
    first = (frame["arrival_ns"] + frame["queue_ns"] + frame["prefill_ns"]).to_numpy()
    last = (frame["arrival_ns"] + frame["e2e_ns"] - frame["overhead_ns"]).to_numpy()
    beside = [int(((first <= one) & (last >= one)).sum()) for one in first]
    own = times.request_ns + times.prompt_token_ns * tokens
    expected = np.rint(own + times.answer_ns * np.array(beside))
    assert frame["overhead_ns"].to_list() == expected.tolist()
    for one in (plain, bare, named):
        found = one.tables["requests"]
        parts = found["queue_ns"] + found["overhead_ns"] + found["prefill_ns"]
        assert parts.equals(found["ttft_ns"])
    assert named.manifest["step_times"]["server"] == dataclasses.asdict(times)


def test_an_engine_that_calls_nccl_pays_its_latency(monkeypatch):
    engine = load_engine("vllm")
    times = {}
    for all_reduce in ("graph", "nccl"):
        changed = engine.model_copy(update={"all_reduce": all_reduce})
        monkeypatch.setattr(costing, "load_engine", lambda _, changed=changed: changed)
        bare = {"name": "vllm", "overhead": "none"}
        _, result = run_of(engine=bare, gpu={"tensor_parallel": 2})
        times[all_reduce] = result.tables["requests"]["prefill_ns"].sum()
    assert times["nccl"] > 1.02 * times["graph"]


def test_the_ends_of_an_engines_range_can_be_asked_for():
    low, high = (
        server_times(Scenario(engine={"name": "vllm", "overhead": which}))
        for which in ("low", "high")
    )
    assert low.request_ns < high.request_ns
    assert server_times(Scenario(engine={"name": "vllm", "overhead": "none"})) == NOTHING
    with pytest.raises(UnknownNameError, match="unknown engine"):
        run_of(engine={"name": "abacus"})
    with pytest.raises((ConfigError, ValueError), match="no effect without name"):
        Scenario(engine={"overhead": "low"})


def test_a_gpu_without_measurements_is_called_uncalibrated_with_its_error():
    prepared, result = run_of(gpu={"name": "mi300x"})
    assert any("mi300x is uncalibrated" in note and "19 %" in note for note in run_notes(prepared))
    assert result.manifest["step_times"]["calibrated"] is False
    prepared, result = run_of()
    assert not any("uncalibrated" in note for note in run_notes(prepared))
    assert result.manifest["step_times"]["calibrated"] is True


def test_each_knob_is_turned_up_and_down():
    large = {"name": "qwen2.5-32b"}  # its steps take longer than their launch
    prepared, result = run_of(engine={"name": "vllm"}, model=large)
    band = band_runs(prepared, result)
    knobs = [variant.knob for variant in band]
    assert knobs[0] == "as it is"
    assert len(knobs) == 9
    ttft = {variant.knob: variant.metrics["ttft_mean_ms"] for variant in band}
    base = ttft.pop("as it is")
    for knob, value in ttft.items():
        slower = (
            "down" in knob
            if not knob.startswith(("fixed", "overhead"))
            else ("up" in knob or "high" in knob)
        )
        assert (value > base) == slower, knob
    assert knobs[1].endswith("6%")  # the p90 of prefill on an H100
    assert all(variant.token_hit_rate == band[0].token_hit_rate for variant in band)


def test_each_knob_turns_by_its_own_error_and_no_efficiency_passes_one(monkeypatch):
    prepared, result = run_of()
    hardware = prepared.sizing.hardware
    gpu = with_fit(hardware.gpu, {"gemm_efficiency": 0.97, "kv_read_efficiency": 0.97})
    hardware = dataclasses.replace(hardware, gpu=gpu)
    sizing = dataclasses.replace(prepared.sizing, hardware=hardware)
    turned: list = []

    def noting(scenario, hardware, *, gpu):
        turned.append(gpu)
        return prepared.costing

    monkeypatch.setattr(sensitivity, "make_costing", noting)
    knobs = [one.knob for one in band_runs(dataclasses.replace(prepared, sizing=sizing), result)]
    fits = {knob: one.fit for knob, one in zip(knobs[1:], turned, strict=True)}
    prefill = 1 + gpu.fit.error.prefill.p90_percent / 100
    decode = 1 + gpu.fit.error.decode.p90_percent / 100
    assert prefill != decode
    expected = {
        "efficiency down 6%": ("attention_efficiency", 1 / prefill),
        "efficiency up 6%": ("attention_efficiency", prefill),
        "bandwidth down 6%": ("memory_efficiency", 1 / decode),
        "bandwidth up 6%": ("memory_efficiency", decode),
        "fixed times up 6%": ("layer_ns", prefill),
        "fixed times down 6%": ("layer_ns", 1 / prefill),
    }
    assert list(fits) == list(expected)
    for knob, (field, factor) in expected.items():
        assert getattr(fits[knob], field) == pytest.approx(getattr(gpu.fit, field) * factor), knob
    assert fits["efficiency up 6%"].gemm_efficiency == 1.0
    assert fits["bandwidth up 6%"].kv_read_efficiency == 1.0
    untouched = dict.fromkeys((*BANDWIDTH, *FIXED), "efficiency up 6%")
    untouched |= dict.fromkeys((*ARITHMETIC, *FIXED), "bandwidth up 6%")
    for field, knob in untouched.items():
        assert getattr(fits[knob], field) == getattr(gpu.fit, field), field


def test_a_run_without_a_clock_or_with_measured_times_has_no_band(tmp_path):
    prepared, result = run_of(engine={"mode": "untimed"})
    with pytest.raises(InputError, match="untimed"):
        band_runs(prepared, result)
    prepared, result = run_of()
    gpu = prepared.scenario.gpu.model_copy(update={"backend": "aiconfigurator"})
    measured = dataclasses.replace(
        prepared, scenario=prepared.scenario.model_copy(update={"gpu": gpu})
    )
    with pytest.raises(InputError, match="the roofline"):
        band_runs(measured, result)


def variant(knob, on, off):
    return Variant(knob, 0.5, dict.fromkeys(METRICS, on), dict.fromkeys(METRICS, off))


METRICS = ("ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms", "e2e_mean_ms")


def test_a_difference_of_one_sign_in_every_run_stands_with_its_range():
    """A saving of 31 to 82 % is none that the model's error could undo, however much both move."""
    large = verdicts([variant("as it is", 100, 200), variant("up", 690, 1000), variant("d", 9, 50)])
    for one in large:
        assert one.verdict == "stands"
        assert (one.difference_low_ms, one.difference_ms, one.difference_high_ms) == (41, 100, 310)
        assert (one.saving_low_share, one.saving_high_share) == (0.31, 0.82)
    worse = verdicts([variant("as it is", 110, 100), variant("up", 130, 129)])
    assert {one.verdict for one in worse} == {"stands"}  # caching costs, whichever way


@pytest.mark.parametrize("other", [(130, 120), (130, 130)])
def test_a_difference_whose_sign_depends_on_the_error_is_a_tie(other):
    flips = verdicts([variant("as it is", 100, 101), variant("up", *other)])
    assert {one.verdict for one in flips} == {"tie: the sign depends on the model's error"}
    assert {one.difference_low_ms for one in flips} == {other[1] - other[0]}


def test_without_a_pair_there_is_nothing_to_compare():
    _, result = run_of(engine={"baseline": False})
    prepared, _ = run_of(engine={"baseline": False})
    assert verdicts(band_runs(prepared, result)) == []


def test_linear_step_times_have_no_edges_and_it_is_said_what_to_do():
    numbers = {"step_ns": 1_000_000, "token_ns": 1_000, "context_ns": 1}
    prepared, result = run_of(gpu={"backend": "linear", "linear": numbers})
    with pytest.raises(InputError, match=r"gpu\.backend linear") as told:
        band_runs(prepared, result)
    assert "leave --sensitivity out" in told.value.hint
