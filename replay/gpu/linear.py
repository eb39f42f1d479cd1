"""Time of everything in a step but attention, by its count of tokens: GEMMs, bytes, waiting.

Formulas: `docs/gpu-model.md`. All functions take an array of token counts and return times in ns,
float64, of all layers together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.config.hardware import BYTES_PER_VALUE
from replay.config.hardware.layers import Mla
from replay.gpu.gemms import Gemm, attention_gemms, mlp_gemms, router_gemms
from replay.gpu.replica import Replica, WeightKind
from replay.units import NS_PER_S

RESIDUAL_PASSES = 8  # hidden-wide reads and writes of a layer: two fused residual adds with norm
ALL_REDUCES = 2  # after attention and after the MLP
EXPERT_PASSES = 4.0  # hidden-wide: a row is gathered, put out again, read and added up
STATE_FLOP = 6  # per key and value of a linear layer's state: decay, update and read, each 2

Floats = NDArray[np.float64]


def linear_parts(replica: Replica, tokens: Floats) -> dict[str, Floats]:
    """Return the parts of a step's linear time for each count of tokens; all 0 at 0 tokens."""
    model, gpus = replica.model, replica.tensor_parallel
    plain, dense = replica.weights("unquantised"), replica.weights("linear")
    projections = [
        g for group in model.attention_groups for g in attention_gemms(model, group, gpus)
    ]
    parts = {
        "attention projections": gemms_ns(replica, projections, tokens, dense),
        "MLP": gemms_ns(replica, mlp_gemms(model, gpus), tokens, dense),
        "experts": experts_ns(replica, tokens)
        + gemms_ns(replica, router_gemms(model), tokens, plain),
        "state of linear layers": _states_ns(replica, tokens),
        "element-wise": _elementwise_ns(replica, tokens),
        "fixed time of layers": np.full_like(tokens, _layers_ns(replica)),
        "all-reduce": all_reduces_ns(replica, tokens),
        "between stages": _handovers_ns(replica, tokens),
    }
    busy = tokens > 0
    return {name: np.where(busy, part, 0.0) for name, part in parts.items()}


def linear_ns(replica: Replica, tokens: Floats) -> Floats:
    """Return the time of a step without attention and LM head for each count of tokens."""
    return np.sum(list(linear_parts(replica, tokens).values()), axis=0)


def head_ns(replica: Replica, rows: Floats) -> Floats:
    """Return the time of the LM head for each count of sampled rows."""
    head = Gemm(replica.model.hidden, replica.model.vocab / replica.tensor_parallel, 1)
    times = gemms_ns(replica, [head], rows, replica.weights("unquantised"))
    return np.where(rows > 0, times, 0.0)


def gemms_ns(replica: Replica, gemms: list[Gemm], rows: Floats, kind: WeightKind) -> Floats:
    """Return the time of products, each the soft maximum of its arithmetic and its memory time."""
    gpu, fit = replica.gpu, replica.gpu.fit
    flop_per_s = kind.flop_per_s * min(fit.gemm_efficiency * kind.share, 1.0)
    bytes_per_s = gpu.hbm_bytes_per_s * fit.memory_efficiency
    total = np.zeros_like(rows)
    for gemm in gemms:
        compute = rows * (2.0 * gemm.inner * gemm.columns / flop_per_s * NS_PER_S)
        moved = gemm.inner * gemm.columns * kind.weight_bytes + rows * (
            gemm.inner * kind.input_bytes + gemm.columns * BYTES_PER_VALUE
        )
        total += gemm.layers * _soft_max(compute, moved * (NS_PER_S / bytes_per_s))
    return total


def _soft_max(first: Floats, second: Floats) -> Floats:
    """Return the 4-norm of two times, without overflow for large ones."""
    return np.sqrt(np.sqrt(first**4 + second**4))


def _layers_ns(replica: Replica) -> float:
    return replica.model.layers * replica.gpu.fit.layer_ns * replica.layer_share


def touched_experts(replica: Replica, tokens: Floats) -> Floats:
    """Return the routed experts of one layer that a step reads, were each token to pick any."""
    moe = replica.model.moe
    if moe is None:
        return np.zeros_like(tokens)
    return moe.experts * (1.0 - (1.0 - moe.experts_per_token / moe.experts) ** tokens)


def experts_ns(replica: Replica, tokens: Floats, touched: Floats | None = None) -> Floats:
    """Return the routed experts' time: chosen weights read, chosen products computed.

    `touched` is how many experts of a layer a step reads, where that is known.
    """
    model, gpu, fit = replica.model, replica.gpu, replica.gpu.fit
    moe = model.moe
    if moe is None:
        return np.zeros_like(tokens)
    kind = replica.weights("expert")
    share, padded_rows = kind.share, fit.moe_padded_rows
    layer_ns, expert_ns = fit.moe_layer_ns, fit.moe_expert_ns
    if kind.name in fit.experts:
        own = fit.experts[kind.name]
        share, padded_rows = own.share, own.padded_rows
        layer_ns, expert_ns = own.layer_ns, own.expert_ns
    weights = model.expert_parameters / replica.tensor_parallel
    if touched is None:
        touched = touched_experts(replica, tokens)
    rows = tokens * moe.experts_per_token
    flop_per_s = kind.flop_per_s * min(fit.moe_efficiency * share, 1.0)
    compute = (rows + touched * padded_rows) * (2.0 * weights / flop_per_s * NS_PER_S)
    read_bytes_per_s = gpu.hbm_bytes_per_s * fit.moe_memory_efficiency
    memory = touched * (weights * kind.weight_bytes / read_bytes_per_s * NS_PER_S)
    width = moe.expert_hidden or model.hidden
    values = EXPERT_PASSES * width
    values += (model.mlp_matrices + 1) * moe.ffn / replica.tensor_parallel
    traffic_bytes_per_s = gpu.hbm_bytes_per_s * fit.moe_traffic_efficiency
    traffic = rows * (values * BYTES_PER_VALUE / traffic_bytes_per_s * NS_PER_S)
    worked = _soft_max(_soft_max(compute, memory), touched * expert_ns)
    return moe.layers * (worked + traffic + layer_ns)


def _states_ns(replica: Replica, tokens: Floats) -> Floats:
    """Return the arithmetic of recurrent states; what they move is counted with decodes."""
    total = np.zeros_like(tokens)
    flop_per_s = replica.gpu.bf16_flop_per_s * replica.gpu.fit.attention_efficiency
    for group in replica.model.attention_groups:
        if group.kind == "linear":
            heads = group.heads / replica.tensor_parallel
            flop = STATE_FLOP * heads * group.key_dim * group.value_dim
            total += tokens * (group.layers * flop / flop_per_s * NS_PER_S)
    return total


def _elementwise_ns(replica: Replica, tokens: Floats) -> Floats:
    """Return norms, residual additions, rotary embedding of Q and K in place, activations."""
    model, gpus = replica.model, replica.tensor_parallel
    values = float(RESIDUAL_PASSES * model.hidden * model.layers)
    for group in model.attention_groups:
        heads = (group.heads + group.stored_kv_heads(gpus)) / gpus
        values += 2.0 * heads * group.key_dim * group.layers
        if group.kind == "mla" and model.mla is not None:
            values += latent_values(model.mla) * group.heads / gpus * group.layers
    if model.dense_layers:
        values += model.mlp_matrices * model.ffn / gpus * model.dense_layers
    if model.moe is not None and model.moe.shared_ffn:
        values += model.mlp_matrices * model.moe.shared_ffn / gpus * model.moe.layers
    bytes_per_s = replica.gpu.hbm_bytes_per_s * replica.gpu.fit.elementwise_efficiency
    return tokens * (values * BYTES_PER_VALUE / bytes_per_s * NS_PER_S)


def latent_values(mla: Mla) -> float:
    """Return what is copied for one head: queries as they meet the latent, keys and values made."""
    return 2.0 * (mla.cached_values + mla.key_dim + mla.v_head_dim)


def all_reduces_ns(replica: Replica, tokens: Floats) -> Floats:
    """Return all all-reduces of the residual stream: each GPU sends 2(N-1)/N of the data."""
    gpus = replica.tensor_parallel
    if gpus == 1:
        return np.zeros_like(tokens)
    gpu, fit = replica.gpu, replica.gpu.fit
    sent = 2.0 * (gpus - 1) / gpus * replica.model.hidden * BYTES_PER_VALUE * NS_PER_S
    shared = fit.all_reduce_efficiency * (2.0 / gpus) ** fit.all_reduce_crowding
    latency = fit.nccl_all_reduce_ns + (gpus - 2) * fit.all_reduce_gpu_ns
    reached = shared
    if fit.nccl_efficiency is not None:
        reached = min(fit.nccl_efficiency * (gpus / 2.0) ** fit.nccl_growth, 1.0)
    each = latency + tokens * (sent / (gpu.link_bytes_per_s * reached))
    if replica.all_reduce == "graph":  # a kernel of the engine's own, as long as it is faster
        latency = fit.all_reduce_ns + (gpus - 2) * fit.all_reduce_gpu_ns
        own = latency + tokens * (sent / (gpu.link_bytes_per_s * shared))
        each = np.minimum(own, each)
    return ALL_REDUCES * replica.model.layers * each


def _handovers_ns(replica: Replica, tokens: Floats) -> Floats:
    """Return what the residual stream takes from stage to stage."""
    stages = replica.pipeline_parallel
    if stages == 1:
        return np.zeros_like(tokens)
    gpu, fit = replica.gpu, replica.gpu.fit
    bytes_per_s = gpu.link_bytes_per_s * fit.all_reduce_efficiency
    sent = replica.model.hidden * BYTES_PER_VALUE / replica.tensor_parallel
    return (stages - 1) * (fit.all_reduce_ns + tokens * (sent / bytes_per_s * NS_PER_S))
