"""What one engine step costs: a roofline with efficiencies measured per GPU.

Each GEMM takes the soft maximum of its arithmetic and its memory time; element-wise kernels take
their bytes; each layer adds a fixed time, and two all-reduces under tensor parallelism. Formulas,
parameters and measured errors: `docs/gpu-model.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replay.gpu.spec import BYTES_PER_VALUE, Gpu, Model, kv_heads_per_gpu
from replay.kernels import cost as kernel
from replay.units import NS_PER_S

RESIDUAL_PASSES = 8  # hidden-wide reads and writes of a layer: two fused residual adds with norm
ALL_REDUCES = 2  # after attention and after the MLP

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepCost:
    """Everything an engine needs to time its steps; see `replay.kernels.cost` for the rule.

    `linear_ns[T]` is the time of all layers without attention for T new tokens, `head_ns[r]` that
    of the LM head for r sampled rows; both are 0 at 0 and never fall. `attention` holds the
    coefficients that the attention kernels index.
    """

    linear_ns: Floats
    head_ns: Floats
    attention: Floats


def step_cost(
    gpu: Gpu,
    model: Model,
    *,
    tensor_parallel: int,
    max_batched_tokens: int,
    max_sequences: int,
) -> StepCost:
    """Return the cost tables of one replica spanning `tensor_parallel` GPUs.

    Raises InputError where the model cannot be spread over that many GPUs.
    """
    kv_heads = kv_heads_per_gpu(model, tensor_parallel)
    return StepCost(
        linear_ns=_linear_ns(gpu, model, tensor_parallel, kv_heads, max_batched_tokens),
        head_ns=_head_ns(gpu, model, tensor_parallel, max_sequences),
        attention=_attention(gpu, model, tensor_parallel, kv_heads),
    )


def _linear_ns(
    gpu: Gpu, model: Model, tensor_parallel: int, kv_heads: int, max_tokens: int
) -> Floats:
    tokens = np.arange(max_tokens + 1, dtype=np.float64)
    hidden, ffn = model.hidden, model.ffn // tensor_parallel
    queries = model.heads // tensor_parallel * model.head_dim
    keys = kv_heads * model.head_dim
    layer = (
        _gemm_ns(gpu, tokens, hidden, queries + 2 * keys)
        + _gemm_ns(gpu, tokens, queries, hidden)
        + _gemm_ns(gpu, tokens, hidden, 2 * ffn)
        + _gemm_ns(gpu, tokens, ffn, hidden)
    )
    # Rotary embedding reads and writes Q and K; the activation reads gate and up and writes one.
    values = RESIDUAL_PASSES * hidden + 2 * (queries + keys) + 3 * ffn
    elementwise_bytes_per_s = gpu.hbm_bytes_per_s * gpu.fit.elementwise_efficiency
    layer += tokens * (values * BYTES_PER_VALUE / elementwise_bytes_per_s * NS_PER_S)
    layer += gpu.fit.layer_ns
    if tensor_parallel > 1:
        layer += ALL_REDUCES * _all_reduce_ns(gpu, tensor_parallel, tokens * hidden)
    layer[0] = 0.0
    return layer * model.layers


def _head_ns(gpu: Gpu, model: Model, tensor_parallel: int, max_rows: int) -> Floats:
    rows = np.arange(max_rows + 1, dtype=np.float64)
    head = _gemm_ns(gpu, rows, model.hidden, model.vocab / tensor_parallel)
    head[0] = 0.0
    return head


def _gemm_ns(gpu: Gpu, rows: Floats, inner: float, columns: float) -> Floats:
    """Return the times of `rows x inner` by `inner x columns`, for each number of rows."""
    flop_per_s = gpu.bf16_flop_per_s * gpu.fit.gemm_efficiency
    bytes_per_s = gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency
    compute = rows * (2.0 * inner * columns / flop_per_s * NS_PER_S)
    values = inner * columns + rows * (inner + columns)
    memory = values * (BYTES_PER_VALUE / bytes_per_s * NS_PER_S)
    return np.sqrt(np.sqrt(compute**4 + memory**4))


def _all_reduce_ns(gpu: Gpu, tensor_parallel: int, values: Floats) -> Floats:
    """Return ring all-reduce times: each GPU sends 2(N-1)/N of the data."""
    bytes_per_s = gpu.link_bytes_per_s * gpu.fit.all_reduce_efficiency
    share = 2.0 * (tensor_parallel - 1) / tensor_parallel
    return gpu.fit.all_reduce_ns + values * (share * BYTES_PER_VALUE / bytes_per_s * NS_PER_S)


def _attention(gpu: Gpu, model: Model, tensor_parallel: int, kv_heads: int) -> Floats:
    """Return the coefficients of `replay.kernels.cost`, all layers folded in."""
    heads = model.heads // tensor_parallel
    layers_ns = float(model.layers * NS_PER_S)
    # QK^T and PV are two multiply-adds per pair and head dimension.
    flop_per_pair = 4.0 * model.head_dim
    flop_per_s = gpu.bf16_flop_per_s * gpu.fit.attention_efficiency
    key_bytes = 2.0 * kv_heads * model.head_dim * BYTES_PER_VALUE
    query_bytes = 2.0 * heads * model.head_dim * BYTES_PER_VALUE
    bytes_per_s = gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency
    rows = gpu.fit.attention_tile_rows

    attention = np.empty(kernel.COEFFICIENTS)
    attention[kernel.PAIR_NS] = layers_ns * flop_per_pair * heads / flop_per_s
    attention[kernel.TILE_KEY_NS] = layers_ns * flop_per_pair * rows * gpu.sms / flop_per_s
    attention[kernel.TILE_ROWS] = rows
    attention[kernel.HEADS] = heads
    attention[kernel.SMS] = gpu.sms
    attention[kernel.KEY_BYTES_NS] = layers_ns * key_bytes / bytes_per_s
    attention[kernel.QUERY_BYTES_NS] = layers_ns * query_bytes / bytes_per_s
    attention[kernel.DECODE_KEY_BYTES_NS] = (
        layers_ns * key_bytes / (gpu.hbm_bytes_per_s * gpu.fit.kv_read_efficiency)
    )
    return attention
