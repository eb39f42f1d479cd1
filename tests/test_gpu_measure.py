"""The sweep over a machine's kernels, with a device that only pretends."""

import pytest

from replay.errors import InputError
from replay.gpu.calibrate import calibrate, summary
from replay.gpu.measure import CACHED, NEW, link_of, sweep, write_sweep
from replay.gpu.measured import read_measured
from replay.gpu.spec import load_gpu, load_model
from replay.gpu.torch_device import TorchDevice, torch_device


class Pretended:
    """A device whose kernels reach 70 % of an H100's arithmetic and 80 % of its bandwidth."""

    name = "PRETENDED"

    def __init__(self):
        self.calls = []

    def gemm_ns(self, rows, inner, columns):
        self.calls.append(("gemm", rows))
        flop = 2 * rows * inner * columns
        moved = 2 * (rows * inner + inner * columns + rows * columns)
        return 3_000 + 1e9 * max(flop / (0.7 * 989e12), moved / (0.8 * 3.35e12))

    def prefill_ns(self, new, cached, heads, kv_heads, dim):
        pairs = new * cached + new * new / 2
        tile = 4 * dim * 128 * (cached + new / 2) / (989e12 / 132 * 0.6)
        return 5_000 + 1e9 * max(4 * dim * heads * pairs / (0.6 * 989e12), tile)

    def decode_ns(self, requests, context, heads, kv_heads, dim):
        return 5_000 + 1e9 * requests * context * kv_heads * dim * 4 / (0.85 * 3.35e12)

    def copy_ns(self, size_bytes):
        return 1e9 * 2 * size_bytes / (0.8 * 3.35e12)

    def transfer_ns(self, size_bytes, *, to_device):
        return 20_000 + 1e9 * size_bytes / (50e9 if to_device else 40e9)


def test_a_sweep_can_be_fitted(tmp_path):
    found = sweep(Pretended(), load_model("llama-3.1-8b"))
    path = tmp_path / "measured.csv"
    assert write_sweep(found, path) == tmp_path / "measured-transfers.csv"
    measured = read_measured(path)
    assert measured.gpu == "PRETENDED"
    assert (measured.phase == "prefill").sum() == len(NEW) * len(CACHED)
    fitted = calibrate(load_gpu("h100-sxm"), measured)
    assert fitted.gpu.fit.gemm_efficiency == pytest.approx(0.7, rel=0.1)
    assert fitted.gpu.fit.kv_read_efficiency == pytest.approx(0.85, rel=0.1)
    assert summary(fitted.in_sample)[0] < 6
    lines = (tmp_path / "measured-transfers.csv").read_text().splitlines()
    assert lines[0] == "bytes,direction,measured_ms"
    assert len(lines) == 9


def test_a_step_is_its_layers_and_the_head():
    device, model = Pretended(), load_model("llama-3.1-8b")
    first = sweep(device, model).rows[0]
    assert first[:8] == ("PRETENDED", "llama-3.1-8b", 1, "prefill", 16, 0, 1, 0)
    layer = sum(
        device.gemm_ns(16, inner, columns)
        for inner, columns in ((4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096))
    )
    values = 8 * 4096 + 2 * 40 * 128 + 3 * 14336
    layer += 2 * 16 * values / (0.8 * 3.35e12) * 1e9 + device.prefill_ns(16, 0, 32, 8, 128)
    head = device.gemm_ns(1, 4096, 128256)
    assert first[8] == pytest.approx((32 * layer + head) / 1e6)


def test_products_of_one_count_of_tokens_are_timed_once():
    device = Pretended()
    sweep(device, load_model("llama-3.1-8b"))
    assert device.calls.count(("gemm", 8192)) == 4


def test_transfers_become_a_fixed_time_and_a_rate():
    found = sweep(Pretended(), load_model("llama-3.1-8b"))
    assert link_of(found.transfers, "host_to_device") == pytest.approx((20_000, 50e9), rel=0.01)
    assert link_of(found.transfers, "device_to_host") == pytest.approx((20_000, 40e9), rel=0.01)


def test_progress_is_told_and_ends():
    seen = []
    sweep(Pretended(), load_model("llama-3.1-8b"), progress=lambda *told: seen.append(told))
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    assert seen[-1][1] == seen[-1][2]


def test_models_without_kernels_here_are_refused():
    with pytest.raises(InputError, match="dense models with full attention"):
        sweep(Pretended(), load_model("deepseek-v3"))
    with pytest.raises(InputError, match="times one GPU"):
        sweep(Pretended(), load_model("llama-3.1-8b"), gpus=2)


class Event:
    """A CUDA event of a clock that goes on by one call a millisecond."""

    clock = 0.0

    def __init__(self, *, enable_timing):
        self.at = None

    def record(self):
        self.at = Event.clock

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return other.at - self.at


class Cuda:
    Event = Event

    @staticmethod
    def get_device_name():
        return "A GPU, of sorts"


class Torch:
    cuda = Cuda


def test_the_timing_layer_warms_up_and_takes_the_median():
    calls = []

    def call():
        calls.append(1)
        Event.clock += 9.0 if len(calls) == 5 else 2.0

    device = TorchDevice(Torch)
    assert device.name == "A GPU  of sorts"
    assert device._median_ns(call) == 2e6
    assert len(calls) == 13


def test_without_pytorch_or_a_gpu_the_error_says_so():
    with pytest.raises(InputError, match="calibrate --measure needs"):
        torch_device()
