"""Fits to measured rows: what they find, what they leave alone, and what a GPU file says of it."""

import numpy as np
import pytest

from replay.config.dump import dump_document
from replay.config.load import load_document
from replay.errors import ConfigError, InputError
from replay.gpu.calibrate import (
    calibrate,
    errors,
    fit,
    parameters_in,
    predict_ns,
    row_groups,
    summary,
    with_fit,
)  # fmt: skip
from replay.gpu.calibrated_file import calibrated_gpu
from replay.gpu.least_squares import Prior, fit_map
from replay.gpu.measured import read_measured
from replay.gpu.spec import Gpu, load_gpu
from tests.measured_steps import HEADER, rows_of, write_rows

H100 = load_gpu("h100-sxm")
TRUTH = {
    "gemm_efficiency": 0.63, "memory_efficiency": 0.92, "attention_efficiency": 0.44,
    "kv_read_efficiency": 0.81, "layer_ns": 45_000.0,
}  # fmt: skip


@pytest.fixture
def measured(tmp_path):
    """Rows of two models on a GPU that is not as its file says."""
    other = with_fit(H100, TRUTH)
    rows = [*rows_of(other, "llama-3.1-8b"), *rows_of(other, "qwen3-14b")]
    return read_measured(write_rows(tmp_path / "measured.csv", rows))


# --- the solver -----------------------------------------------------------------------------


def test_without_data_a_fit_returns_the_priors():
    priors = [Prior(0.7, 0.2, 1.0), Prior(3e4, 0.6)]
    assert fit_map(lambda x: np.zeros(0) * x[0], priors) == pytest.approx([0.7, 3e4])


def test_a_line_through_exact_data_is_found_against_wide_priors():
    at = np.geomspace(1, 1000, 60)
    truth = 0.4 + 0.02 * at
    found = fit_map(
        lambda x: np.log((x[0] + x[1] * at) / truth), [Prior(1.0, 5.0), Prior(0.1, 5.0)]
    )
    assert found == pytest.approx([0.4, 0.02], rel=0.01)


def test_a_bound_is_kept_and_outliers_do_not_decide():
    data = np.log(np.array([1.3] * 40))
    assert fit_map(lambda x: np.log(x[0]) - data, [Prior(0.8, 1.0, 1.0)]) == pytest.approx([1.0])
    spoiled = np.log(np.r_[np.full(30, 0.5), np.full(6, 50.0)])
    found = fit_map(lambda x: np.log(x[0]) - spoiled, [Prior(0.8, 1.0)])
    assert found[0] == pytest.approx(0.5, rel=0.05)


# --- fits -----------------------------------------------------------------------------------


def test_a_fit_finds_the_gpu_that_made_the_rows(measured):
    found = calibrate(H100, measured)
    for name, value in TRUTH.items():
        # layer_ns takes what memory_efficiency, held by its prior, leaves.
        near = 0.12 if name == "layer_ns" else 0.08
        assert getattr(found.gpu.fit, name) == pytest.approx(value, rel=near), name
    assert summary(found.in_sample)[0] < 1
    assert summary(found.held_out)[1] < 3
    assert summary(errors(H100, measured))[0] > 5


def test_noise_moves_a_fit_little_and_shows_in_its_error(tmp_path):
    rows = rows_of(with_fit(H100, TRUTH), "llama-3.1-8b", noise=0.05)
    found = calibrate(H100, read_measured(write_rows(tmp_path / "m.csv", rows)))
    assert found.gpu.fit.attention_efficiency == pytest.approx(0.44, rel=0.1)
    assert 2 < summary(found.in_sample)[0] < 6
    assert np.isnan(found.held_out).all()
    assert summary(found.held_out) is None


def test_only_parameters_that_rows_say_something_about_are_fitted(measured):
    names = parameters_in(measured)
    assert "kv_read_efficiency" in names
    assert not {"all_reduce_ns", "moe_efficiency", "fp8_gemm_efficiency"} & set(names)
    prompts = measured.where(measured.phase == "prefill")
    assert "kv_read_efficiency" not in parameters_in(prompts)
    fitted = fit(H100, prompts, parameters_in(prompts))
    assert fitted.fit.kv_read_efficiency == H100.fit.kv_read_efficiency
    assert fitted.fit.all_reduce_ns == H100.fit.all_reduce_ns


def test_several_gpus_and_experts_have_parameters_of_their_own(tmp_path):
    rows = [*rows_of(H100, "llama-3.1-8b", gpus=4), *rows_of(H100, "qwen3-30b-a3b")]
    names = parameters_in(read_measured(write_rows(tmp_path / "m.csv", rows)))
    assert {"all_reduce_ns", "all_reduce_efficiency", "moe_efficiency", "moe_layer_ns"} <= set(
        names
    )


def test_efficiencies_stay_at_most_one(tmp_path):
    rows = rows_of(H100, "llama-3.1-8b")
    faster = [(*row[:-1], row[-1] * 0.6) for row in rows]
    found = calibrate(H100, read_measured(write_rows(tmp_path / "m.csv", faster)))
    for name in found.fitted:
        if name.endswith("_efficiency"):
            assert getattr(found.gpu.fit, name) <= 1.0
    assert load_document_again(found.gpu, tmp_path) == found.gpu


def test_predictions_are_those_of_the_rows(measured):
    assert predict_ns(with_fit(H100, TRUTH), row_groups(measured), len(measured)) == (
        pytest.approx(measured.measured_ns, rel=1e-5)
    )


def load_document_again(gpu, folder):
    path = folder / "gpu.yaml"
    path.write_text(dump_document(gpu))
    return load_document(path, Gpu)


def test_a_gpu_file_says_what_it_was_fitted_to(measured, tmp_path):
    found = calibrate(H100, measured)
    gpu = calibrated_gpu(
        found, measured, name="mine", path=tmp_path / "measured.csv", version="1.2"
    )
    again = load_document_again(gpu, tmp_path)
    assert again == gpu
    assert again.name == "mine"
    assert again.calibrated
    provenance = again.fit.provenance
    assert "54 rows of measured.csv" in provenance
    assert "llama-3.1-8b, qwen3-14b" in provenance
    assert "others" in again.fit.error.data
    assert again.fit.error.prefill.rows == 30
    assert again.fit.error.decode.rows == 24
    assert again.fit.error.short_suffix.rows == 6
    assert again.fit.error.mixed is None


# --- measured rows --------------------------------------------------------------------------


def test_rows_are_read_by_phase(tmp_path):
    rows = rows_of(H100, "llama-3.1-8b", mixed=True)
    measured = read_measured(write_rows(tmp_path / "m.csv", rows))
    mixed = measured.where(measured.phase == "mixed")
    assert (mixed.new > 0).all()
    assert (mixed.decodes > 0).all()
    assert (mixed.context == 2048).all()
    decode = measured.where(measured.phase == "decode")
    assert (decode.new == 0).all()
    assert set(decode.context) == {128, 2048, 16384}
    assert measured.short_suffix.sum() == 3


def row(**changes):
    plain = dict(zip(HEADER, ("G", "llama-3.1-8b", 1, "prefill", 16, 0, 1, 0, 1.5), strict=True))
    return tuple({**plain, **changes}.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phase": "warmup"}, r"m\.csv:2: phase must be one of prefill, decode, mixed"),
        ({"new_tokens": 0}, r"new_tokens must be a whole number from 1 \(got '0'\)"),
        ({"new_tokens": 1.5}, r"new_tokens must be a whole number"),
        ({"tp": 0}, r"tp must be a whole number from 1"),
        ({"batch": 2}, r"one prompt: batch must be 1"),
        ({"measured_ms": -1}, r"measured_ms must be milliseconds, a nanosecond at least"),
        ({"measured_ms": "5e-324"}, r"measured_ms must be milliseconds, a nanosecond at least"),
        ({"new_tokens": 2**24}, r"new_tokens must be at most 1,048,576"),
        ({"measured_ms": "fast"}, r"measured_ms must be milliseconds"),
        ({"phase": "mixed"}, r"decode_ctx must be a whole number from 1"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path, changes, message):
    path = write_rows(tmp_path / "m.csv", [row(**changes)])
    with pytest.raises(ConfigError, match=message):
        read_measured(path)


def test_files_that_cannot_be_used_say_why(tmp_path):
    two = write_rows(tmp_path / "two.csv", [row(), row(gpu="H")])
    with pytest.raises(InputError, match="rows of 2 GPUs: G, H"):
        read_measured(two)
    assert len(read_measured(two, gpu="H")) == 1
    with pytest.raises(InputError, match="no rows of X"):
        read_measured(two, gpu="X")
    stranger = write_rows(tmp_path / "s.csv", [row(model="Their-8B")])
    with pytest.raises(InputError, match=r"unknown model \(got 'Their-8B'\)"):
        read_measured(stranger)
    renamed = read_measured(stranger, renames={"Their-8B": "llama-3.1-8b"})
    assert list(renamed.models) == ["llama-3.1-8b"]
    torn = tmp_path / "torn.csv"
    torn.write_text(two.read_text() + "\nG\n" + "G," * 20 + "\n")
    with pytest.raises(ConfigError) as raised:
        read_measured(torn)
    assert [problem.line for problem in raised.value.problems] == [5, 6]
    assert "needs 9 cells, as the header has (got 1)" in str(raised.value)
    with pytest.raises(InputError, match="no column decode_ms"):
        read_measured(two, gpu="G", time_column="decode_ms")
    with pytest.raises(InputError, match="cannot be read"):
        read_measured(tmp_path / "nowhere.csv")
