"""The cost model against public measurements; skipped where the measured rows are not at hand."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_accuracy as accuracy
from replay.gpu.cost import step_cost
from replay.gpu.spec import load_gpu, load_model
from replay.kernels.cost import prefill_attention_ns, step_ns

MEASURED = Path(__file__).parents[1] / ".." / "shared" / "gpu"


def rows_of(file, gpu, phase):
    path = MEASURED / f"{file}.csv"
    if not path.exists():
        pytest.skip(f"measured step times are not at hand ({file}.csv)")
    return accuracy.groups(accuracy.read_rows(path))[file, gpu, phase]


# Bars are median and 90th percentile of the absolute error in percent.
@pytest.mark.parametrize(
    ("file", "gpu", "phase", "median", "p90"),
    [
        ("vidur_measured", "a100-sxm-80gb", "prefill", 4, 10),
        ("vidur_measured", "a100-sxm-80gb", "decode", 5, 14),
        ("vidur_measured", "h100-sxm", "prefill", 4, 10),
        ("vidur_measured", "h100-sxm", "decode", 5, 14),
        ("vidur_cached_prefill_a100", "a100-sxm-80gb", "prefill", 12, 18),
        ("llmservingsim_measured", "rtx-pro-6000", "prefill", 5, 12),
        ("llmservingsim_measured", "rtx-pro-6000", "decode", 5, 12),
        ("llmservingsim_measured", "rtx-pro-6000", accuracy.FULL_HIT, 4, 12),
        ("llmservingsim_measured", "rtx-pro-6000", "mixed", 15, 52),
    ],
)
def test_step_times_are_within_the_bars(file, gpu, phase, median, p90):
    error = np.abs(accuracy.errors_percent(rows_of(file, gpu, phase)))
    assert np.median(error) <= median
    assert np.quantile(error, 0.9) <= p90


@pytest.mark.parametrize(
    ("file", "gpu"),
    [
        ("vidur_measured", "a100-sxm-80gb"),
        ("vidur_measured", "h100-sxm"),
        ("llmservingsim_measured", "rtx-pro-6000"),
    ],
)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_error_in_the_gpu_file_is_the_error_measured(file, gpu, phase):
    rows = rows_of(file, gpu, phase)
    error = np.abs(accuracy.errors_percent(rows))
    stated = getattr(load_gpu(gpu).fit.error, phase)
    assert stated.rows == len(rows)
    assert stated.median_percent == pytest.approx(np.median(error), abs=0.06)
    assert stated.p90_percent == pytest.approx(np.quantile(error, 0.9), abs=0.06)


@pytest.mark.parametrize("gpu", ["a100-sxm-80gb", "h100-sxm"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_constant_efficiency_of_one_half_is_several_times_worse(gpu, phase, monkeypatch):
    rows = rows_of("vidur_measured", gpu, phase)
    ours = np.median(np.abs(accuracy.errors_percent(rows)))

    @cache
    def halved(name, model, gpus):
        real = load_gpu(name)
        names = [field for field in type(real.fit).model_fields if field.endswith("_efficiency")]
        fit = real.fit.model_copy(
            update=dict.fromkeys(names, 0.5) | {"layer_ns": 0.0, "all_reduce_ns": 0.0}
        )
        return step_cost(
            real.model_copy(update={"fit": fit}),
            load_model(model),
            tensor_parallel=gpus,
            max_batched_tokens=accuracy.MAX_TOKENS,
            max_sequences=accuracy.MAX_SEQUENCES,
        )

    monkeypatch.setattr(accuracy, "cost_of", halved)
    assert np.median(np.abs(accuracy.errors_percent(rows))) > 3 * ours


# One request on an idle H100, Llama-3.1-8B, chunks of 8,192: the time to its first token by the
# kernel tables of aiconfigurator, and the time at 989 TFLOP/s that nothing can beat.
@pytest.mark.parametrize(
    ("tokens", "table_ms", "floor_ms"),
    [
        (1_000, 22, 14),
        (4_000, 90, 61),
        (12_000, 316, 208),
        (60_000, 2_792, 1_801),
        (120_000, 8_283, 5_511),
    ],
)
def test_idle_prompts_on_an_h100_agree_with_kernel_tables(tokens, table_ms, floor_ms):
    cost = step_cost(
        load_gpu("h100-sxm"),
        load_model("llama-3.1-8b"),
        tensor_parallel=1,
        max_batched_tokens=8192,
        max_sequences=256,
    )
    total_ns, done = 0, 0
    while done < tokens:
        new = min(8192, tokens - done)
        last = done + new == tokens
        attention = prefill_attention_ns(cost.attention, new, done)
        total_ns += step_ns(cost.linear_ns[new], cost.head_ns[int(last)], attention, 0.0)
        done += new
    assert total_ns / 1e6 == pytest.approx(table_ms, rel=0.2)
    assert total_ns / 1e6 > floor_ms
