"""Attention launches on an H100 against measurements of FlashAttention-3."""

import numpy as np
import pytest

from benchmarks.launches import FILE, GPU, Launches
from replay.gpu.calibrate import summary, with_fit
from replay.gpu.spec import load_gpu
from tests.shared_data import SHARED, needs

PATH = SHARED / "gpu" / FILE
BARS = {  # of whole steps: median and 90th percentile of the absolute error in percent
    "short suffix": (6, 12),
    "cached": (5, 10),
    "mixed": (5, 18),
    "one long decode": (6, 15),
}


@needs(PATH)
def test_steps_of_a_kind_that_no_parameter_was_fitted_to_are_within_the_bars():
    launches, gpu = Launches(PATH), load_gpu(GPU)
    left_out, groups = launches.left_out(gpu), launches.groups()
    for name, (median, p90) in BARS.items():
        attention = np.full(len(launches.new), np.nan)
        attention[groups[name]] = left_out[name]
        found = summary(launches.step_errors(gpu, attention))
        assert found[0] <= median, name
        assert found[1] <= p90, name


@needs(PATH)
def test_as_shipped_attention_itself_is_about_right():
    launches, gpu = Launches(PATH), load_gpu(GPU)
    off = launches.attention_ns(gpu) / launches.measured_ns - 1
    for name, rows in launches.groups().items():
        assert abs(np.median(off[rows])) < 0.12, name
        assert np.median(np.abs(off[rows])) < 0.15, name


@needs(PATH)
@pytest.mark.parametrize("kind", ["apart", "by_tile"])
def test_other_ways_to_launch_it_are_far_off(kind):
    launches = Launches(PATH)
    gpu = with_fit(load_gpu(GPU), {"mixed_decode": kind})
    off = launches.attention_ns(gpu) / launches.measured_ns - 1
    groups = launches.groups()
    assert np.median(off[groups["short suffix"]]) > 0.5
    assert summary(launches.step_errors(gpu, launches.attention_ns(gpu)))[1] > 40
