"""Operators, attention modules, experts and serving points against public measurements."""

import numpy as np
import pytest

from benchmarks import experts, modules, operators, serving
from benchmarks.naive import naive_gpu
from benchmarks.routing import touched as routing_touched
from replay.gpu.calibrate import summary
from replay.gpu.spec import load_gpu
from tests.shared_data import SHARED, needs

FOLDER = SHARED / "gpu"
MEDIAN, P90, BIAS = 15, 40, 15  # percent, of every family


@needs(FOLDER / operators.FILE)
def test_operators_of_every_type_are_within_the_bars():
    by_gpu = [operators.operator_errors(FOLDER, name) for name in operators.GPUS]
    for kind in {kind for found in by_gpu for kind in found}:
        errors = np.concatenate([found[kind][0] for found in by_gpu if kind in found])
        median, p90, bias = summary(errors)
        assert median <= MEDIAN, kind
        assert p90 <= P90, kind
        assert abs(bias) <= BIAS, kind


@pytest.mark.slow
@needs(FOLDER / operators.FILE)
@pytest.mark.parametrize("kind", ["moe bfloat16", "moe fp8_block", "moe nvfp4"])
def test_experts_of_a_width_that_was_left_out_are_within_the_bars(kind):
    errors = [operators.kind_left_out(FOLDER, name, kind) for name in operators.GPUS]
    median, p90, _ = summary(np.concatenate(errors))
    assert median <= MEDIAN
    assert p90 <= P90


@needs(FOLDER / modules.FILE)
def test_attention_modules_are_within_the_bars_each_model_left_out():
    found = modules.read_modules(FOLDER / modules.FILE)
    for op in {op for op, _ in found}:
        errors = np.concatenate([found[op, gpu].left_out() for gpu in modules.GPUS])
        median, p90, bias = summary(errors)
        assert median <= MEDIAN, op
        assert p90 <= P90, op
        assert abs(bias) <= BIAS, op


@pytest.mark.parametrize(
    ("routing", "tokens", "experts", "chosen", "touched"),
    [
        ("balanced", 2, 128, 8, 16),
        ("balanced", 16, 128, 8, 128),
        ("balanced", 4096, 8, 2, 8),
        ("power_law_1.01", 2, 256, 8, 16),  # too few picks for a second one of any
        ("power_law_1.2", 8192, 8, 2, 8),
    ],
)
def test_a_row_says_how_many_experts_its_tokens_touched(routing, tokens, experts, chosen, touched):
    assert routing_touched(routing, tokens, experts, chosen) == touched


def test_a_power_law_touches_fewer_experts_than_tokens_that_pick_any():
    anyhow = 256 * (1 - (1 - 8 / 256) ** 64)
    steep, flat = (routing_touched(f"power_law_{x}", 64, 256, 8) for x in ("1.2", "1.01"))
    assert steep < flat < 0.9 * anyhow
    assert routing_touched("balanced", 64, 256, 8) == 256
    with pytest.raises(ValueError, match="unknown routing"):
        routing_touched("zipf", 64, 256, 8)


@needs(FOLDER / operators.FILE)
def test_what_fits_the_l2_cache_is_read_from_it_in_the_tables_and_nowhere_else():
    gpu = load_gpu("l40s")
    rows = operators.read_operators(FOLDER / operators.FILE, gpu.name)
    decodes = [row for row in rows if row.kind == "attention generation"]
    cached = operators.in_cache(gpu, decodes)
    speed = operators.fit_cache_speed(gpu, rows)
    measured = np.array([row.measured_us for row in decodes])
    cold, warm = (operators.predict_us(gpu, decodes, x) / measured - 1 for x in (1.0, speed))
    assert 2 < speed < 4
    assert (cold[~cached] == warm[~cached]).all()
    assert summary(warm[cached])[1] < 0.5 * summary(cold[cached])[1]


@needs(FOLDER / experts.FILE)
def test_layers_of_experts_of_another_laboratory_are_within_the_bars():
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
