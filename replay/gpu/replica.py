"""How a model is spread over the GPUs of one replica, and in which types it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from replay.config.hardware import BYTES_PER_VALUE, KV_DTYPE_BYTES, NATIVE, WEIGHT_DTYPE_BITS
from replay.errors import InputError, UnknownNameError
from replay.gpu.spec import Gpu, Model, check_splits

AllReduce = Literal["graph", "nccl"]


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: `tensor_parallel` times `pipeline_parallel` GPUs of one type.

    `weight_dtype` native is as published. With FP8 or FP4 weights the products run in that type
    where the GPU has a peak for it, else the weights are widened on the way and only their bytes
    are saved, as INT4 and MXFP4 kernels do. `layer_share` is what an engine's kernels take of the
    fixed time of a layer.
    """

    gpu: Gpu
    model: Model
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    weight_dtype: str = NATIVE
    kv_dtype: str = "bf16"
    all_reduce: AllReduce = "graph"
    layer_share: float = 1.0

    def check(self) -> None:
        """Raise InputError where the model cannot be spread so, UnknownNameError for a type."""
        check_splits(self.model, self.tensor_parallel)
        _check_stages(self.model, self.pipeline_parallel)
        if self.kv_dtype not in KV_DTYPE_BYTES:
            raise UnknownNameError("KV type", self.kv_dtype, KV_DTYPE_BYTES)
        if self.weight_dtype not in (NATIVE, *WEIGHT_DTYPE_BITS):
            raise UnknownNameError("weight type", self.weight_dtype, (NATIVE, *WEIGHT_DTYPE_BITS))

    @property
    def kv_value_bytes(self) -> float:
        """Bytes of one value of KV."""
        return float(KV_DTYPE_BYTES[self.kv_dtype])

    def weights(self, part: str) -> WeightKind:
        """Return how weights of `linear`, `expert` or `unquantised` parts are kept and used."""
        gpu, fit = self.gpu, self.gpu.fit
        if part == "unquantised":
            return WeightKind(BYTES_PER_VALUE, BYTES_PER_VALUE, gpu.bf16_flop_per_s, 1.0)
        dtype = self.model.dtype_of(part, self.weight_dtype)
        size = float(WEIGHT_DTYPE_BITS[dtype] / 8)
        if dtype == "fp8" and gpu.fp8_flop_per_s:
            blocks = self.weight_dtype == NATIVE
            reached = fit.fp8_block_gemm_efficiency if blocks else fit.fp8_gemm_efficiency
            name = "fp8_block" if blocks else "fp8"
            return WeightKind(size, 1.0, gpu.fp8_flop_per_s, reached / fit.gemm_efficiency, name)
        if dtype == "fp4" and gpu.fp4_flop_per_s:
            share = fit.fp4_gemm_efficiency / fit.gemm_efficiency
            return WeightKind(size, 0.5, gpu.fp4_flop_per_s, share, dtype)
        if dtype == "mxfp4" and self._activations_in_fp8 and gpu.fp8_flop_per_s:
            return WeightKind(size, 1.0, gpu.fp8_flop_per_s, 1.0, "mxfp4_fp8")
        return WeightKind(size, BYTES_PER_VALUE, gpu.bf16_flop_per_s, 1.0, dtype)

    @property
    def _activations_in_fp8(self) -> bool:
        """Whether MXFP4 experts get FP8 inputs: in an FP8 model, by kernels of Blackwell."""
        in_fp8 = self.model.dtype_of("linear", self.weight_dtype) == "fp8"
        return in_fp8 and self.gpu.fp4_flop_per_s is not None


@dataclass(frozen=True, slots=True)
class WeightKind:
    """Bytes of a weight and of an input, the peak they meet at, and how much of it is reached.

    `share` is relative to the efficiency of a bf16 product; `name` is the type as `fit.experts`
    has it. Published FP8 weights have scales for blocks of 128, those made FP8 one for a matrix.
    """

    weight_bytes: float
    input_bytes: float
    flop_per_s: float
    share: float
    name: str = "bf16"


def _check_stages(model: Model, stages: int) -> None:
    if not 1 <= stages <= model.layers:
        raise InputError(
            f"{model.name} has {model.layers} layers: it cannot be cut into {stages} stages",
            hint=f"pipeline_parallel may be 1 to {model.layers}",
        )
