"""Operators, attention modules, experts and serving points against public measurements."""

import numpy as np
import pytest

from benchmarks import experts, modules, operators, serving
from benchmarks.naive import naive_gpu
from replay.gpu.calibrate import summary
from replay.gpu.spec import load_gpu
from tests.shared_data import SHARED, needs

FOLDER = SHARED / "gpu"
MEDIAN, P90, BIAS = 15, 40, 15  # percent, of every family; exceptions have their reason below

# One kernel of one GPU, whose runs of equal size differ by a factor.
WORSE = {"moe w4a8_mxfp4_mxfp8": (23, 48)}
# Rows of B200 and L40S that the tables time in caches no step of an engine finds filled.
TAILS = {
    "attention generation": 55, "moe bfloat16": 48, "moe fp8": 55, "moe nvfp4": 50,
    "gemm fp8": 44,
}  # fmt: skip


@needs(FOLDER / operators.FILE)
def test_operators_of_every_type_are_within_the_bars():
    by_gpu = [operators.operator_errors(FOLDER, name) for name in operators.GPUS]
    for kind in {kind for found in by_gpu for kind in found}:
        errors = np.concatenate([found[kind][0] for found in by_gpu if kind in found])
        median, p90, bias = summary(errors)
        most_median, most_p90 = WORSE.get(kind, (MEDIAN, TAILS.get(kind, P90)))
        assert median <= most_median, kind
        assert p90 <= most_p90, kind
        assert abs(bias) <= BIAS, kind


@pytest.mark.slow
@needs(FOLDER / operators.FILE)
@pytest.mark.parametrize("kind", ["moe bfloat16", "moe fp8_block", "moe int4_wo"])
def test_experts_of_a_width_that_was_left_out_are_within_the_bars(kind):
    errors = []
    for name in operators.GPUS:
        rows = operators.read_operators(FOLDER / operators.FILE, name)
        rows = [row for row in rows if row.kind == kind]
        if rows:
            errors.append(operators.experts_left_out(load_gpu(name), rows))
    median, p90, _ = summary(np.concatenate(errors))
    assert median <= MEDIAN
    assert p90 <= TAILS.get(kind, P90)


@needs(FOLDER / modules.FILE)
def test_attention_modules_are_within_the_bars_each_model_left_out():
    found = modules.read_modules(FOLDER / modules.FILE)
    for op in {op for op, _ in found}:
        errors = np.concatenate([found[op, gpu].left_out() for gpu in modules.GPUS])
        median, p90, bias = summary(errors)
        assert median <= MEDIAN, op
        assert p90 <= P90 + 0.5, op
        assert abs(bias) <= BIAS, op


@needs(FOLDER / experts.FILE)
def test_layers_of_experts_that_nothing_was_fitted_to_are_within_the_bars():
    path = FOLDER / experts.FILE
    naive = experts.expert_errors(path, naive_gpu)
    for name, errors in experts.expert_errors(path).items():
        median, p90, bias = summary(errors)
        assert median <= 5, name
        assert p90 <= MEDIAN, name
        assert abs(bias) <= 5, name
        assert summary(naive[name])[0] > 2 * median


@needs(FOLDER / serving.FILE)
def test_serving_points_are_within_the_bars_each_model_left_out():
    points = serving.read_points(FOLDER / serving.FILE)
    assert len(points) == 820
    median, p90, _ = summary(serving.tpot_errors_left_out(points))
    assert median <= 10
    assert p90 <= 30
    shipped = summary(serving.tpot_errors(points))
    assert shipped[0] <= median


@needs(FOLDER / serving.FILE)
def test_fixed_times_taken_out_of_a_prediction_are_those_that_are_in_it():
    points = serving.read_points(FOLDER / serving.FILE)[:40]
    shipped = serving.shipped_fixed(points)
    assert (shipped > 0).all()
    assert (shipped < np.array([p.predicted_tpot_ms for p in points])).all()
