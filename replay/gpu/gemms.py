"""The matrix products of one layer on one GPU, by kind of attention and of MLP.

Column-parallel products divide their output by the GPUs of a tensor-parallel group, row-parallel
ones their input; what makes a latent that all heads share is computed on every GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from replay.config.hardware import AttentionGroup
from replay.gpu.spec import Model


@dataclass(frozen=True, slots=True)
class Gemm:
    """`inner x columns` weights that every token of a step meets, in `layers` layers."""

    inner: float
    columns: float
    layers: float

    @property
    def weights(self) -> float:
        """Weights on one GPU, all layers."""
        return self.inner * self.columns * self.layers


def attention_gemms(model: Model, group: AttentionGroup, gpus: int) -> list[Gemm]:
    """Return the projections around the attention of one group of layers."""
    if group.kind == "mla":
        return _latent(model, group, gpus)
    if group.kind == "linear":
        return _linear(model, group, gpus)
    if model.compressed is not None:
        return _compressed(model, group, gpus)
    hidden, layers = model.hidden, group.layers
    queries = group.heads * group.key_dim / gpus
    keys = group.stored_kv_heads(gpus) * group.key_dim / gpus
    gate = queries if model.output_gate else 0.0
    shared = model.keys_are_values and group.kind == "full"
    inputs = queries + gate + keys * (1 if shared else 2)
    return [Gemm(hidden, inputs, layers), Gemm(queries, hidden, layers), *_index(model, group)]


def _latent(model: Model, group: AttentionGroup, gpus: int) -> list[Gemm]:
    mla = model.mla
    assert mla is not None  # the group says so
    hidden, layers, heads = model.hidden, group.layers, group.heads / gpus
    queries = heads * mla.key_dim
    made = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    outputs = heads * mla.v_head_dim
    gate = outputs if model.output_gate else 0.0
    gemms = [Gemm(hidden, mla.cached_values + (mla.q_lora_rank or 0), layers)]
    gemms.append(Gemm(mla.q_lora_rank or hidden, queries, layers))
    gemms.append(Gemm(mla.kv_lora_rank, made, layers))
    if gate:
        gemms.append(Gemm(hidden, gate, layers))
    return [*gemms, Gemm(outputs, hidden, layers), *_index(model, group)]


def _index(model: Model, group: AttentionGroup) -> list[Gemm]:
    """Return the projections of a sparse index, which every GPU computes whole."""
    if not group.top_k:
        return []
    rank = (model.mla.q_lora_rank if model.mla else None) or model.hidden
    if model.compressed is not None:
        rank = model.compressed.q_lora_rank
    made = group.index_heads * group.index_dim
    return [
        Gemm(rank, made, group.layers),
        Gemm(model.hidden, group.index_dim + group.index_heads, group.layers),
    ]


def _linear(model: Model, group: AttentionGroup, gpus: int) -> list[Gemm]:
    linear = model.linear
    assert linear is not None  # the group says so
    inner = linear.values / gpus
    columns = (group.parameters - model.hidden * linear.values) / model.hidden / gpus
    return [Gemm(model.hidden, columns, group.layers), Gemm(inner, model.hidden, group.layers)]


def _compressed(model: Model, group: AttentionGroup, gpus: int) -> list[Gemm]:
    compressed = model.compressed
    assert compressed is not None  # the caller asked
    hidden, layers = model.hidden, group.layers
    width = group.heads * group.key_dim / gpus
    outputs = compressed.o_groups * compressed.o_lora_rank / gpus
    return [
        Gemm(hidden, compressed.q_lora_rank + group.key_dim, layers),
        Gemm(compressed.q_lora_rank, width, layers),
        Gemm(width / compressed.o_groups * gpus, outputs, layers),
        Gemm(outputs, hidden, layers),
        *_index(model, group),
    ]


def mlp_gemms(model: Model, gpus: int) -> list[Gemm]:
    """Return the products of dense MLPs and of shared experts."""
    gemms = []
    inputs = model.mlp_matrices - 1  # gate and up
    if model.dense_layers:
        width = model.ffn / gpus
        gemms += [
            Gemm(model.hidden, inputs * width, model.dense_layers),
            Gemm(width, model.hidden, model.dense_layers),
        ]
    moe = model.moe
    if moe is not None and moe.shared_ffn:
        width = moe.shared_ffn / gpus
        gemms += [
            Gemm(model.hidden, inputs * width, moe.layers),
            Gemm(width, model.hidden, moe.layers),
        ]
    if moe is not None and moe.expert_hidden is not None:
        gemms += [
            Gemm(model.hidden, moe.expert_hidden, moe.layers),
            Gemm(moe.expert_hidden, model.hidden, moe.layers),
        ]
    return gemms


def router_gemms(model: Model) -> list[Gemm]:
    """Return the products that choose experts, in bf16 and on every GPU."""
    moe = model.moe
    return [Gemm(model.hidden, moe.experts, moe.layers)] if moe is not None else []
