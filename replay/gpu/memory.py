"""How much GPU memory is left for KV once weights and activations are in it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from replay.errors import DoesNotFitError, InputError
from replay.gpu.spec import (
    BYTES_PER_VALUE,
    MAX_GPUS,
    Gpu,
    Model,
    gpu_names,
    kv_heads_per_gpu,
    load_gpu,
    splits_evenly,
)
from replay.units import format_bytes

LOGIT_BYTES = 32  # bf16 and float32 logits, sorted values and their indices, softmax, sums, masks


@dataclass(frozen=True, slots=True)
class KvPool:
    """The memory of one replica, over all its GPUs together, in bytes."""

    kv_bytes_per_token: int
    weight_bytes: int
    activation_bytes: int
    pool_bytes: int


def kv_pool(
    gpu: Gpu,
    model: Model,
    *,
    tensor_parallel: int,
    memory_utilization: float,
    max_batched_tokens: int,
    max_sequences: int,
) -> KvPool:
    """Return the KV pool: the share of memory the engine may use, less weights and activations.

    CUDA context, communication buffers and CUDA graphs are not subtracted; on a GPU of 80 GB they
    take another 0.5 to 2 %. Raises DoesNotFitError when not one token of KV is left, and
    InputError where the model cannot be spread over that many GPUs.
    """
    if not 0 < memory_utilization <= 1:
        raise InputError(
            f"memory_utilization must be above 0 and at most 1 (got {memory_utilization:g})"
        )
    # As the decimal it was written as: 0.9 of 10 bytes is 9, not 8.
    engine = _Engine(Fraction(str(memory_utilization)), max_batched_tokens, max_sequences)
    pool = _pool(gpu, model, tensor_parallel, engine)
    short_bytes = pool.kv_bytes_per_token - pool.pool_bytes
    if short_bytes > 0:
        budget = format_bytes(_budget_bytes(gpu, tensor_parallel, engine))
        raise DoesNotFitError(
            f"{model.name} does not fit on {tensor_parallel} x {gpu.name}: weights "
            f"({format_bytes(pool.weight_bytes)}) and activations "
            f"({format_bytes(pool.activation_bytes)}) need {format_bytes(short_bytes)} more than "
            f"the {budget} that memory_utilization {memory_utilization:g} allows",
            hint=_what_fits(gpu, model, tensor_parallel, engine),
        )
    return pool


def activation_bytes(
    model: Model, *, tensor_parallel: int, max_batched_tokens: int, max_sequences: int
) -> int:
    """Return the peak activation memory of one GPU, an estimate of what engines profile at start.

    It is the largest of three moments, for T = `max_batched_tokens` and r = `max_sequences`:
    in the MLP, T x (2 hidden + 3 ffn / tp) bf16 values: residual, input, gate and up, their
    product; in attention, T x (2 hidden + Q + K + V + output) values; when sampling, T hidden
    values and 32 bytes for each of r x vocab logits, which every GPU gathers. The 32 bytes are an
    assumption that agrees with vLLM logs of small models (1.1 to 1.4 GiB for 256 sequences).
    """
    hidden, ffn = model.hidden, model.ffn // tensor_parallel
    queries = model.heads // tensor_parallel * model.head_dim
    keys = kv_heads_per_gpu(model, tensor_parallel) * model.head_dim
    token_bytes = max_batched_tokens * BYTES_PER_VALUE
    return max(
        token_bytes * (2 * hidden + 3 * ffn),
        token_bytes * (2 * hidden + 2 * queries + 2 * keys),
        token_bytes * hidden + max_sequences * model.vocab * LOGIT_BYTES,
    )


@dataclass(frozen=True, slots=True)
class _Engine:
    """What of the engine's settings decides its memory."""

    memory_utilization: Fraction
    max_batched_tokens: int
    max_sequences: int


def _pool(gpu: Gpu, model: Model, tensor_parallel: int, engine: _Engine) -> KvPool:
    """Return the pool, below zero where the model does not fit."""
    repeated_heads = tensor_parallel * kv_heads_per_gpu(model, tensor_parallel) - model.kv_heads
    head_bytes = 2 * model.layers * model.head_dim * BYTES_PER_VALUE
    weights = model.weight_bytes + repeated_heads * head_bytes * model.hidden
    activations = tensor_parallel * activation_bytes(
        model,
        tensor_parallel=tensor_parallel,
        max_batched_tokens=engine.max_batched_tokens,
        max_sequences=engine.max_sequences,
    )
    return KvPool(
        kv_bytes_per_token=model.kv_bytes_per_token + repeated_heads * head_bytes,
        weight_bytes=weights,
        activation_bytes=activations,
        pool_bytes=_budget_bytes(gpu, tensor_parallel, engine) - weights - activations,
    )


def _budget_bytes(gpu: Gpu, tensor_parallel: int, engine: _Engine) -> int:
    return int(engine.memory_utilization * gpu.memory_bytes * tensor_parallel)


def _what_fits(gpu: Gpu, model: Model, tensor_parallel: int, engine: _Engine) -> str:
    """Return what to change: more of these GPUs, or as many larger ones."""

    def fits(other: Gpu, count: int) -> bool:
        pool = _pool(other, model, count, engine)
        return pool.pool_bytes >= pool.kv_bytes_per_token

    counts = [count for count in range(1, MAX_GPUS + 1) if splits_evenly(model, count)]
    enough = next((count for count in counts if fits(gpu, count)), None)
    larger = [name for name in gpu_names() if fits(load_gpu(name), tensor_parallel)]
    ways = [f"tensor_parallel {enough} is the smallest that fits"] if enough else []
    if larger:
        ways.append(f"{tensor_parallel} x {' or '.join(larger)} would do")
    return "; ".join(ways) or "use a smaller model, or GPUs with more memory"
