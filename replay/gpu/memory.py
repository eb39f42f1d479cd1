"""How much GPU memory is left for KV once weights and activations are in it.

Layers that see a window, and layers that keep a state, hold the same amount for every long
sequence. The pool is counted in tokens of the layers that grow: what the others need is set aside
first, for as many sequences as the memory holds when each is LONG_CONTEXT_TOKENS long, and for
`max_sequences` at most. Pools of their own for each kind of layer are not modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from replay.config.hardware import NATIVE, AttentionGroup
from replay.errors import DoesNotFitError, InputError
from replay.gpu.spec import (
    BYTES_PER_VALUE,
    MAX_GPUS,
    Gpu,
    Model,
    check_splits,
    gpu_names,
    load_gpu,
    splits_evenly,
)
from replay.units import format_bytes

LOGIT_BYTES = 32  # bf16 and float32 logits, sorted values and their indices, softmax, sums, masks
LONG_CONTEXT_TOKENS = 8192  # tokens of a sequence when windows and states are weighed against KV
SUGGESTED_GPUS = 3
TOTAL, LEFT_AFTER_WEIGHTS = "total", "left_after_weights"  # what an engine takes its share of


@dataclass(frozen=True, slots=True)
class KvPool:
    """The memory of one replica, over all its GPUs together, in bytes.

    `kv_bytes_per_token` is what one more token of a long context adds and `pool_bytes` what all
    tokens may take; `reserved_bytes` is set aside for the windows and states of sequences, each of
    `sequence_bytes`.
    """

    kv_bytes_per_token: int
    weight_bytes: int
    activation_bytes: int
    sequence_bytes: int
    reserved_bytes: int
    pool_bytes: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about how the pool was counted."""
        if not self.reserved_bytes:
            return ()
        return (
            f"{format_bytes(self.reserved_bytes)} of the KV memory are set aside for windows and "
            f"states, {format_bytes(self.sequence_bytes)} a sequence; the pool counts the layers "
            "whose KV grows",
        )


def kv_pool(
    gpu: Gpu,
    model: Model,
    *,
    tensor_parallel: int,
    memory_utilization: float,
    max_batched_tokens: int,
    max_sequences: int,
    memory_share_of: str = TOTAL,
    weight_dtype: str = NATIVE,
    kv_dtype: str = "bf16",
) -> KvPool:
    """Return the KV pool: the share of memory the engine may use, less weights and activations.

    The share is of all memory, as vLLM and SGLang take it, or of what weights and activations
    leave (`memory_share_of` LEFT_AFTER_WEIGHTS), as TensorRT-LLM does.

    CUDA context, communication buffers and CUDA graphs are not subtracted; on a GPU of 80 GB they
    take another 0.5 to 2 %. Raises DoesNotFitError when not one token of KV is left, InputError
    where the model cannot be spread over that many GPUs or keeps no KV, and UnknownNameError for a
    weight or KV type.
    """
    if not 0 < memory_utilization <= 1:
        raise InputError(
            f"memory_utilization must be above 0 and at most 1 (got {memory_utilization:g})"
        )
    check_splits(model, tensor_parallel)
    check_keeps_kv(model)
    # As the decimal it was written as: 0.9 of 10 bytes is 9, not 8.
    share = Fraction(str(memory_utilization))
    of_left = memory_share_of == LEFT_AFTER_WEIGHTS
    engine = _Engine(share, of_left, max_batched_tokens, max_sequences, weight_dtype, kv_dtype)
    pool = _pool(gpu, model, tensor_parallel, engine)
    short_bytes = pool.kv_bytes_per_token - pool.pool_bytes
    if short_bytes > 0:
        budget = format_bytes(_budget_bytes(gpu, tensor_parallel, engine))
        allowed = f"memory_utilization {memory_utilization:g} allows"
        raise DoesNotFitError(
            f"{model.name} does not fit on {tensor_parallel} x {gpu.name}: weights "
            f"({format_bytes(pool.weight_bytes)}) and activations "
            f"({format_bytes(pool.activation_bytes)}) need {format_bytes(short_bytes)} more than "
            f"the {budget} that {'there is' if of_left else allowed}",
            hint=_what_fits(gpu, model, tensor_parallel, engine),
        )
    return pool


def check_keeps_kv(model: Model) -> None:
    """Raise InputError for a model of whose tokens no layer keeps KV."""
    if not model.kv_bytes_per_token:
        raise InputError(f"{model.name} keeps no KV: there is no prefix cache to size")


def activation_bytes(
    model: Model, *, tensor_parallel: int, max_batched_tokens: int, max_sequences: int
) -> int:
    """Return the peak activation memory of one GPU, an estimate of what engines profile at start.

    It is the largest of its moments, for T = `max_batched_tokens` and r = `max_sequences`: in the
    MLP, T x (2 hidden + 3 ffn / tp) bf16 values: residual, input, gate and up, their product; with
    experts, the same of each expert a token passes and its output; in attention, T x (2 hidden +
    Q + K + V + output) values; when sampling, T hidden values and 32 bytes for each of r x vocab
    logits, which every GPU gathers. The 32 bytes are an assumption that agrees with vLLM logs of
    small models (1.1 to 1.4 GiB for 256 sequences).
    """
    values = _mlp_values(model, tensor_parallel)
    values += [_attention_values(group, tensor_parallel) for group in model.attention_groups]
    token_bytes = max_batched_tokens * BYTES_PER_VALUE
    return max(
        token_bytes * (2 * model.hidden + max(values)),
        token_bytes * model.hidden + max_sequences * model.vocab * LOGIT_BYTES,
    )


def _mlp_values(model: Model, tensor_parallel: int) -> list[int]:
    """Return what one token holds in the dense MLP and in the experts of one GPU."""
    values = [model.mlp_matrices * (model.ffn // tensor_parallel)]
    if model.moe is not None:
        expert = model.mlp_matrices * (model.moe.ffn // tensor_parallel)
        output = model.moe.expert_hidden or model.hidden
        shared = model.mlp_matrices * (model.moe.shared_ffn // tensor_parallel)
        values.append(model.moe.experts_per_token * (expert + output) + shared)
    return values


def _attention_values(group: AttentionGroup, tensor_parallel: int) -> int:
    """Return queries, keys, values and output of one token on one GPU."""
    heads = group.heads // tensor_parallel
    kv_heads = group.stored_kv_heads(tensor_parallel) // tensor_parallel
    if group.kind in ("mla", "linear"):  # every head gets keys and values of its own
        kv_heads = heads
    return (heads + kv_heads) * (group.key_dim + group.value_dim)


@dataclass(frozen=True, slots=True)
class _Engine:
    """What of the engine's settings decides its memory."""

    memory_utilization: Fraction
    of_left: bool
    max_batched_tokens: int
    max_sequences: int
    weight_dtype: str
    kv_dtype: str


def _pool(gpu: Gpu, model: Model, tensor_parallel: int, engine: _Engine) -> KvPool:
    """Return the pool, below zero where the model does not fit."""
    weights = model.weight_bytes_in(engine.weight_dtype, tensor_parallel)
    activations = tensor_parallel * activation_bytes(
        model,
        tensor_parallel=tensor_parallel,
        max_batched_tokens=engine.max_batched_tokens,
        max_sequences=engine.max_sequences,
    )
    left = _left_bytes(gpu, tensor_parallel, engine, weights + activations)
    token_bytes = model.pool_token_bytes(engine.kv_dtype, tensor_parallel)
    sequence_bytes = model.sequence_bytes(engine.kv_dtype, tensor_parallel)
    if not model.kv_growth_bytes():  # windows alone: their tokens are in the pool itself
        sequence_bytes = 0
    reserved = 0
    if sequence_bytes:
        whole = sequence_bytes + LONG_CONTEXT_TOKENS * token_bytes
        reserved = min(
            engine.max_sequences * sequence_bytes, max(left, whole) * sequence_bytes // whole
        )
    return KvPool(
        kv_bytes_per_token=token_bytes,
        weight_bytes=weights,
        activation_bytes=activations,
        sequence_bytes=sequence_bytes,
        reserved_bytes=reserved,
        pool_bytes=left - reserved,
    )


def _left_bytes(gpu: Gpu, tensor_parallel: int, engine: _Engine, taken_bytes: int) -> int:
    """Return what is left for KV once so much is taken, below zero where that is too much."""
    total = gpu.memory_bytes * tensor_parallel
    if engine.of_left and taken_bytes < total:
        return int(engine.memory_utilization * (total - taken_bytes))
    return _budget_bytes(gpu, tensor_parallel, engine) - taken_bytes


def _budget_bytes(gpu: Gpu, tensor_parallel: int, engine: _Engine) -> int:
    share = 1 if engine.of_left else engine.memory_utilization
    return int(share * gpu.memory_bytes * tensor_parallel)


def _what_fits(gpu: Gpu, model: Model, tensor_parallel: int, engine: _Engine) -> str:
    """Return what to change: more of these GPUs, or as many larger ones."""

    def fits(other: Gpu, count: int) -> bool:
        pool = _pool(other, model, count, engine)
        return pool.pool_bytes >= pool.kv_bytes_per_token

    counts = [count for count in range(1, MAX_GPUS + 1) if splits_evenly(model, count)]
    enough = next((count for count in counts if fits(gpu, count)), None)
    others = sorted(map(load_gpu, gpu_names()), key=lambda other: (other.memory_bytes, other.name))
    larger = [
        other.name
        for other in others
        if gpu.vendor in ("unknown", other.vendor) and fits(other, tensor_parallel)
    ]
    ways = [f"tensor_parallel {enough} is the smallest that fits"] if enough else []
    if larger:
        *first, last = larger[:SUGGESTED_GPUS]
        names = f"{', '.join(first)} or {last}" if first else last
        ways.append(f"{tensor_parallel} x {names} would do")
    return "; ".join(ways) or "use a smaller model, or GPUs with more memory"
