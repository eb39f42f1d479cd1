"""The cost model against public measurements; skipped where the measured rows are not at hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import accuracy
from replay.gpu.calibrate import errors, predict_ns, row_groups, summary
from replay.gpu.spec import load_gpu

FOLDER = Path(__file__).parents[1] / ".." / "shared" / "gpu"
BY_KEY = {(data.file, data.rows_of): data for data in accuracy.SETS}
A100 = BY_KEY["vidur_measured", "A100"]
H100 = BY_KEY["vidur_measured", "H100"]
CACHED = BY_KEY["vidur_cached_prefill_a100", "A100"]
RTX_PRO = BY_KEY["llmservingsim_measured", "RTXPRO6000"]
RTX_4090 = BY_KEY["llmservingsim_measured", "RTX4090"]


def rows_of(data):
    measured = accuracy.rows_of(FOLDER, data)
    if measured is None:
        pytest.skip(f"measured step times are not beside the checkout ({data.file}.csv)")
    return measured


def within(relative, median, p90):
    found = summary(relative)
    assert found is not None
    return found[0] <= median and found[1] <= p90


# Bars are median and 90th percentile of the absolute error in percent.
BARS = [
    (A100, "prefill", 4, 10),
    (A100, "decode", 5, 14),
    (H100, "prefill", 4, 10),
    (H100, "decode", 5, 14),
    (CACHED, "prefill", 8, 16),
    (RTX_PRO, "prefill", 4, 10),
    (RTX_PRO, "short suffix", 4, 12),
    (RTX_PRO, "decode", 4, 8),
    (RTX_PRO, "mixed", 7, 18),
    (RTX_4090, "mixed", 7, 18),
]


@pytest.mark.parametrize(("data", "phase", "median", "p90"), BARS)
def test_step_times_as_shipped_are_within_the_bars(data, phase, median, p90):
    measured = rows_of(data)
    relative = errors(load_gpu(data.gpu), measured)
    assert within(relative[accuracy.phases(measured)[phase]], median, p90)


@pytest.mark.slow
@pytest.mark.parametrize("data", [A100, H100], ids=["a100", "h100"])
def test_a_model_left_out_of_the_fit_is_within_the_bars(data):
    measured = rows_of(data)
    held_out = accuracy.held_out_errors(FOLDER, data)
    assert not np.isnan(held_out).any()
    assert within(held_out[measured.phase == "prefill"], 4, 10)
    assert within(held_out[measured.phase == "decode"], 5, 14)


@pytest.mark.parametrize("data", [RTX_PRO, RTX_4090], ids=["rtx-pro-6000", "rtx-4090"])
def test_mixed_steps_follow_from_prefill_and_decode_rows(data):
    measured = rows_of(data)
    held_out = accuracy.held_out_errors(FOLDER, data)
    assert within(held_out[measured.phase == "mixed"], 7, 18)


@pytest.mark.parametrize("data", [A100, H100, RTX_PRO, RTX_4090])
def test_the_error_in_the_gpu_file_is_the_error_measured(data):
    measured = rows_of(data)
    gpu = load_gpu(data.gpu)
    relative = errors(gpu, measured)
    for phase, rows in accuracy.phases(measured).items():
        stated = getattr(gpu.fit.error, phase.replace(" ", "_"))
        found = summary(relative[rows])
        assert stated.rows == rows.sum()
        assert stated.median_percent == pytest.approx(found[0], abs=0.06)
        assert stated.p90_percent == pytest.approx(found[1], abs=0.06)


@pytest.mark.parametrize("data", accuracy.SETS)
def test_a_constant_efficiency_of_one_half_is_always_worse(data):
    measured = rows_of(data)
    gpu = load_gpu(data.gpu)
    ours, naive = errors(gpu, measured), accuracy.naive_errors(gpu, measured)
    for rows in accuracy.phases(measured).values():
        assert summary(naive[rows])[0] > summary(ours[rows])[0]
        assert summary(naive[rows])[1] > summary(ours[rows])[1]


def test_idle_prompts_on_an_h100_agree_with_kernel_tables_and_obey_the_floor():
    predicted = accuracy.idle_ms(load_gpu("h100-sxm"))
    for tokens, (table_ms, floor_ms) in accuracy.IDLE.items():
        assert predicted[tokens] == pytest.approx(table_ms, rel=0.2)
        assert predicted[tokens] > floor_ms


def test_a_gpu_with_no_fit_is_within_the_expected_error_on_the_gpus_that_were_measured():
    expected = accuracy.uncalibrated(load_gpu("h100-sxm")).fit.error
    for data in (A100, H100, RTX_PRO):
        measured = rows_of(data)
        relative = errors(accuracy.uncalibrated(load_gpu(data.gpu)), measured)
        for phase in ("prefill", "decode"):
            assert summary(relative[measured.phase == phase])[0] <= (
                getattr(expected, phase).median_percent + 1
            )


def test_predictions_of_the_fit_and_of_the_engine_are_one():
    measured = rows_of(H100)
    gpu = load_gpu(H100.gpu)
    fitted = predict_ns(gpu, row_groups(measured), len(measured))
    part = measured.where(np.arange(len(measured)) % 37 == 0)
    for model, gpus, rows in part.groups():
        cost = accuracy.step_cost(
            gpu,
            accuracy.load_model(model),
            tensor_parallel=gpus,
            max_batched_tokens=accuracy.MAX_TOKENS,
            max_sequences=accuracy.MAX_SEQUENCES,
        )
        some = part.where(rows)
        steps = accuracy.uniform_steps(
            some.new, some.cached, some.decodes, some.context, head=False
        )
        same = np.isin(measured.lines, some.lines)
        assert accuracy.time_steps(cost, steps) == pytest.approx(fitted[same], abs=1.01)
