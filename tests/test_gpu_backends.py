"""Backends of step times: one interface, corrected where measured, never beyond the hardware."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.backends import BACKENDS
from replay.errors import ConfigError, InputError, UnknownNameError
from replay.gpu.backends import Wanted, compile_cost
from replay.gpu.backends.correction import grid_of
from replay.gpu.calibrate import with_fit
from replay.gpu.cost import floor_steps, time_steps, uniform_steps
from replay.gpu.replica import Replica
from replay.gpu.spec import load_gpu, load_model
from replay.kernels.steps import StepList
from tests.measured_steps import rows_of, write_rows

H100 = load_gpu("h100-sxm")
REPLICA = Replica(H100, load_model("llama-3.1-8b"))
SLOWER = {"gemm_efficiency": 0.5, "attention_efficiency": 0.3, "kv_read_efficiency": 0.6}


def wanted(table=None, replica=REPLICA):
    return Wanted(replica, 8192, 256, table)


def test_the_table_reproduces_what_was_measured(tmp_path):
    rows = rows_of(with_fit(H100, SLOWER), "llama-3.1-8b")
    compiled = compile_cost("table", wanted(write_rows(tmp_path / "m.csv", rows)))
    for _, _, _, phase, new, before, batch, _, ms in rows:
        chunk = (new, before) if phase == "prefill" else (0, 0)
        decodes = (batch, before) if phase == "decode" else (0, 0)
        got = time_steps(compiled.cost, uniform_steps(*chunk, *decodes))[0]
        assert got == pytest.approx(ms * 1e6, rel=1e-6)
    assert any("27 measured rows" in note for note in compiled.notes)
    assert any("16 to 8,192 new tokens" in note for note in compiled.notes)


def test_between_measured_points_the_table_is_near_the_truth(tmp_path):
    truth = with_fit(H100, SLOWER)
    path = write_rows(tmp_path / "m.csv", rows_of(truth, "llama-3.1-8b"))
    steps = uniform_steps(
        [300, 1500, 48, 0, 0], [0, 6000, 9000, 0, 0], [0, 0, 0, 20, 100], [0, 0, 0, 700, 5000]
    )
    got = time_steps(compile_cost("table", wanted(path)).cost, steps)
    real = time_steps(
        compile_cost("roofline", wanted(replica=Replica(truth, REPLICA.model))).cost, steps
    )
    plain = time_steps(compile_cost("roofline", wanted()).cost, steps)
    assert (np.abs(got / real - 1) < 0.12).all()
    assert np.abs(np.log(got / real)).sum() < 0.5 * np.abs(np.log(plain / real)).sum()


def test_beyond_the_measured_points_the_nearest_factor_is_kept_and_said(tmp_path):
    rows = [row for row in rows_of(with_fit(H100, SLOWER), "llama-3.1-8b") if row[3] == "prefill"]
    compiled = compile_cost("table", wanted(write_rows(tmp_path / "m.csv", rows)))
    edge, beyond = (uniform_steps(2048, cached) for cached in (16_384, 200_000))
    plain = compile_cost("roofline", wanted()).cost
    factor = time_steps(compiled.cost, edge)[0] / time_steps(plain, edge)[0]
    far = time_steps(compiled.cost, beyond)[0] / time_steps(plain, beyond)[0]
    assert far == pytest.approx(factor, rel=1e-6)
    assert any("beyond, the nearest factor is kept" in note for note in compiled.notes)
    assert any("no decode rows" in note for note in compiled.notes)


def test_a_row_faster_than_the_hardware_is_refused_at_its_line(tmp_path):
    rows = rows_of(H100, "llama-3.1-8b")
    rows[3] = (*rows[3][:-1], 0.5)
    path = write_rows(tmp_path / "m.csv", rows)
    with pytest.raises(ConfigError, match=r"m\.csv:5: measured_ms 0\.5 is below the .* peaks"):
        compile_cost("table", wanted(path))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4000), st.integers(0, 60_000), st.integers(0, 200), st.integers(1, 30_000))
def test_no_corrected_step_beats_the_hardware(tmp_path_factory, new, cached, decodes, context):
    # As fast as can be measured: every row at its floor.
    compiled = fastest_table(tmp_path_factory)
    steps = uniform_steps(new, cached, decodes, context)
    assert time_steps(compiled.cost, steps)[0] >= floor_steps(compiled.cost, steps)[0] * (1 - 1e-9)


_fastest = []


def fastest_table(factory):
    if not _fastest:
        plain = compile_cost("roofline", wanted()).cost
        rows = []
        for row in rows_of(H100, "llama-3.1-8b"):
            _, _, _, phase, new, before, batch, _, _ = row
            step = (new, before) if phase == "prefill" else (0, 0, batch, before)
            rows.append((*row[:-1], floor_steps(plain, uniform_steps(*step))[0] / 1e6 * 1.000001))
        path = write_rows(factory.mktemp("fast") / "m.csv", rows)
        _fastest.append(compile_cost("table", wanted(path)))
    return _fastest[0]


def test_a_table_of_other_models_is_refused(tmp_path):
    path = write_rows(tmp_path / "m.csv", rows_of(H100, "qwen3-14b"))
    with pytest.raises(InputError, match=r"no rows of llama-3\.1-8b on 1 GPUs"):
        compile_cost("table", wanted(path))


def test_backends_are_named_and_a_table_goes_with_one_only(tmp_path):
    assert set(BACKENDS) == {"roofline", "table", "aiconfigurator", "linear"}
    with pytest.raises(UnknownNameError, match="unknown cost backend"):
        compile_cost("magic", wanted())
    for backend, table in (("table", None), ("roofline", tmp_path / "m.csv")):
        with pytest.raises(InputError, match=r"gpu\.table has an effect with gpu\.backend table"):
            compile_cost(backend, wanted(table))


def test_empty_cells_of_a_grid_take_the_nearest_factor():
    rows, columns = np.array([1, 1, 100, 1]), np.array([0, 1000, 1000, 0])
    grid = grid_of(rows, columns, np.array([2.0, 3.0, 5.0, 8.0]))
    assert grid.filled == 1
    assert grid.factor[0, 0] == pytest.approx(4.0)  # the geometric mean of two
    assert grid.factor[0, 1] == pytest.approx(3.0)
    assert grid.factor[1].tolist() == pytest.approx([4.0, 5.0])


def test_aiconfigurator_follows_its_tables_and_our_tiles():
    pytest.importorskip("aiconfigurator_core")
    compiled = compile_cost("aiconfigurator", wanted())
    at = time_steps(compiled.cost, uniform_steps([2048, 0, 0], 0, [0, 1, 64], [0, 2048, 2048]))
    assert at / 1e6 == pytest.approx([43.5, 6.2, 12.6], rel=0.03)
    # 16 tokens after 16,384 cached ones: its own estimate is half of what was measured.
    rtx = Replica(load_gpu("rtx-pro-6000"), REPLICA.model)
    compiled = compile_cost("aiconfigurator", wanted(replica=rtx))
    short = time_steps(compiled.cost, uniform_steps(16, 16_384))[0]
    assert short / 1e6 == pytest.approx(22.6, rel=0.05)


def test_aiconfigurator_says_when_it_is_not_there_or_does_not_know():
    try:
        import aiconfigurator_core  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="not installed"):
            compile_cost("aiconfigurator", wanted())
        return
    with pytest.raises(UnknownNameError, match="GPU of aiconfigurator"):
        compile_cost("aiconfigurator", wanted(replica=Replica(load_gpu("l4"), REPLICA.model)))


def test_several_chunks_of_a_step_are_corrected_by_their_mean_context(tmp_path):
    rows = rows_of(with_fit(H100, SLOWER), "llama-3.1-8b")
    compiled = compile_cost("table", wanted(write_rows(tmp_path / "m.csv", rows)))
    plain = compile_cost("roofline", wanted()).cost
    chunks = [[0, 2], [64, 64], [1024, 1024], [0], [0], [0], [1]]
    two = StepList(*(np.array(column, np.int64) for column in chunks))
    one = uniform_steps(128, 1024)
    factors = [
        time_steps(compiled.cost, steps)[0] / time_steps(plain, steps)[0] for steps in (two, one)
    ]
    assert factors[0] == pytest.approx(factors[1], rel=1e-6)
