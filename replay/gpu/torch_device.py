"""The device of a sweep that PyTorch drives; imported only where one is measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from replay.errors import InputError

WARM_UPS, RUNS = 3, 10


class TorchDevice:
    """A CUDA (or ROCm) device timed with events; bf16 throughout."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.name = str(torch.cuda.get_device_name()).replace(",", " ")

    def _median_ns(self, call: Callable[[], object]) -> float:
        torch = self._torch
        for _ in range(WARM_UPS):
            call()
        times = []
        for _ in range(RUNS):
            first = torch.cuda.Event(enable_timing=True)
            last = torch.cuda.Event(enable_timing=True)
            first.record()
            call()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) * 1e6)
        return statistics.median(times)

    def _random(self, *shape: int) -> Any:
        return self._torch.randn(*shape, device="cuda", dtype=self._torch.bfloat16)

    def gemm_ns(self, rows: int, inner: int, columns: int) -> float:
        """Time a product of bf16 matrices, the weights stored by output as engines do."""
        left, weights = self._random(rows, inner), self._random(columns, inner)
        return self._median_ns(lambda: self._torch.nn.functional.linear(left, weights))

    def prefill_ns(self, new: int, cached: int, heads: int, kv_heads: int, dim: int) -> float:
        """Time causal attention of new tokens after cached ones."""
        from torch.nn.attention.bias import causal_lower_right

        query = self._random(1, heads, new, dim)
        keys, values = (self._random(1, kv_heads, cached + new, dim) for _ in range(2))
        bias = causal_lower_right(new, cached + new)
        attend = self._torch.nn.functional.scaled_dot_product_attention
        return self._median_ns(
            lambda: attend(query, keys, values, attn_mask=bias, enable_gqa=heads != kv_heads)
        )

    def decode_ns(self, requests: int, context: int, heads: int, kv_heads: int, dim: int) -> float:
        """Time attention of one query each of several requests over their contexts."""
        query = self._random(requests, heads, 1, dim)
        keys, values = (self._random(requests, kv_heads, context, dim) for _ in range(2))
        attend = self._torch.nn.functional.scaled_dot_product_attention
        return self._median_ns(lambda: attend(query, keys, values, enable_gqa=heads != kv_heads))

    def copy_ns(self, size_bytes: int) -> float:
        """Time a copy within device memory."""
        source = self._torch.empty(size_bytes, dtype=self._torch.uint8, device="cuda")
        target = self._torch.empty_like(source)
        return self._median_ns(lambda: target.copy_(source))

    def transfer_ns(self, size_bytes: int, *, to_device: bool) -> float:
        """Time a transfer between pinned host memory and the device."""
        host = self._torch.empty(size_bytes, dtype=self._torch.uint8, pin_memory=True)
        device = self._torch.empty(size_bytes, dtype=self._torch.uint8, device="cuda")
        source, target = (host, device) if to_device else (device, host)
        return self._median_ns(lambda: target.copy_(source, non_blocking=True))


def torch_device() -> TorchDevice:
    """Return the machine's GPU; raises InputError where PyTorch or a GPU is missing."""
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "calibrate --measure needs PyTorch, which is not installed",
            hint="install it for your GPU: https://pytorch.org/get-started",
        ) from error
    if not torch.cuda.is_available():
        raise InputError(
            "calibrate --measure needs a GPU that PyTorch can use: there is none",
            hint="run it on the machine that has the GPU, and bring the CSV here",
        )
    return TorchDevice(torch)
