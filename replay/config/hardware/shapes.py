"""From the sections of a model file to its attention groups."""

from __future__ import annotations

from dataclasses import replace

from replay.config.hardware.attention import AttentionGroup, AttentionKind
from replay.config.hardware.decoder import Decoder


def attention_groups(model: Decoder) -> tuple[AttentionGroup, ...]:
    """Return the model's layers by kind of attention; biases and norms of heads are not counted."""
    if model.compressed is not None:
        return _compressed(model)
    groups = []
    window_layers = model.window.layers if model.window else 0
    linear_layers = model.linear.layers if model.linear else 0
    full_layers = model.layers - window_layers - linear_layers
    if full_layers:
        groups += _full(model, full_layers)
    if model.window is not None:
        groups.append(_window(model))
    if model.linear is not None:
        groups.append(_linear(model))
    return tuple(groups)


def _full(model: Decoder, layers: int) -> list[AttentionGroup]:
    plain = _latent(model, layers) if model.mla else _heads(model, layers)
    sparse = model.sparse
    if sparse is None:
        return [plain]
    rank = (model.mla.q_lora_rank if model.mla else None) or model.hidden
    index = rank * sparse.index_heads * sparse.index_dim
    index += model.hidden * (sparse.index_dim + sparse.index_heads)
    picked = replace(
        plain,
        layers=sparse.layers,
        parameters=plain.parameters + index,
        replicated_parameters=plain.replicated_parameters + index,
        top_k=sparse.top_k,
        index_heads=sparse.index_heads,
        index_dim=sparse.index_dim,
    )
    rest = layers - sparse.layers
    return [picked, replace(plain, layers=rest)] if rest else [picked]


def _heads(model: Decoder, layers: int) -> AttentionGroup:
    """Return layers with keys and values per KV head: MHA, GQA or MQA."""
    hidden, dim = model.hidden, model.head_dim
    projections = 1 if model.keys_are_values else 2
    queries = (3 if model.output_gate else 2) * hidden * model.heads * dim
    head = projections * hidden * dim
    return AttentionGroup(
        kind="full",
        layers=layers,
        heads=model.heads,
        kv_heads=model.kv_heads,
        key_dim=dim,
        value_dim=dim,
        kv_values=2 * dim,
        parameters=queries + model.kv_heads * head,
        head_parameters=head,
    )


def _window(model: Decoder) -> AttentionGroup:
    window = model.window
    assert window is not None  # the caller asked
    alike = model.model_copy(
        update={
            "kv_heads": window.kv_heads or model.kv_heads,
            "head_dim": window.head_dim or model.head_dim,
            # Where the shapes differ, shared keys are a matter of the full layers alone.
            "keys_are_values": model.keys_are_values and window.head_dim is None,
        }
    )
    kind: AttentionKind = "chunked" if window.chunked else "window"
    return replace(_heads(alike, window.layers), kind=kind, window=window.tokens)


def _latent(model: Decoder, layers: int) -> AttentionGroup:
    mla = model.mla
    assert mla is not None  # the caller asked
    hidden, heads = model.hidden, model.heads
    down = hidden * mla.cached_values
    queries = hidden * heads * mla.key_dim
    if mla.q_lora_rank is not None:
        down += hidden * mla.q_lora_rank
        queries = mla.q_lora_rank * heads * mla.key_dim
    up = mla.kv_lora_rank * heads * (mla.qk_nope_head_dim + mla.v_head_dim)
    output = (2 if model.output_gate else 1) * hidden * heads * mla.v_head_dim
    return AttentionGroup(
        kind="mla",
        layers=layers,
        heads=heads,
        kv_heads=1,
        key_dim=mla.key_dim,
        value_dim=mla.v_head_dim,
        kv_values=mla.cached_values,
        rotary_values=mla.qk_rope_head_dim,
        parameters=down + queries + up + output,
        replicated_parameters=down,
    )


def _linear(model: Decoder) -> AttentionGroup:
    linear = model.linear
    assert linear is not None  # the caller asked
    hidden, keys, values = model.hidden, linear.keys, linear.values
    inputs = 2 * keys + 2 * values  # queries, keys, values and the output gate
    scalars = {"gated_delta_net": 2, "kda": 1, "mamba2": 1}[linear.kind] * linear.value_heads
    parameters = hidden * (inputs + scalars) + (2 * keys + values) * linear.conv_kernel
    if linear.kind == "kda":  # a decay for each channel of a key, through a narrow layer
        parameters += (hidden + keys) * linear.key_head_dim
    return AttentionGroup(
        kind="linear",
        layers=linear.layers,
        heads=linear.value_heads,
        kv_heads=0,
        key_dim=linear.key_head_dim,
        value_dim=linear.value_head_dim,
        kv_values=0,
        parameters=parameters + hidden * values,
        state_bytes=linear.state_bytes,
    )


def _compressed(model: Decoder) -> tuple[AttentionGroup, ...]:
    compressed = model.compressed
    assert compressed is not None  # the caller asked
    hidden, heads, dim = model.hidden, model.heads, model.head_dim
    down = hidden * (compressed.q_lora_rank + dim)
    queries = compressed.q_lora_rank * heads * dim
    output = compressed.o_lora_rank * (heads * dim + compressed.o_groups * hidden)
    index = compressed.q_lora_rank * compressed.index_heads * compressed.index_dim
    index += hidden * (compressed.index_dim + compressed.index_heads)
    alone = AttentionGroup(
        kind="window",
        layers=model.layers - compressed.layers,
        heads=heads,
        kv_heads=1,
        key_dim=dim,
        value_dim=dim,
        kv_values=dim,
        parameters=down + queries + output,
        replicated_parameters=down,
        window=compressed.window,
    )
    groups = [
        replace(
            alone,
            kind="compressed",
            layers=group.layers,
            ratio=group.ratio,
            parameters=alone.parameters + (index if group.top_k else 0),
            replicated_parameters=down + (index if group.top_k else 0),
            top_k=group.top_k,
            index_heads=compressed.index_heads if group.top_k else 0,
            index_dim=compressed.index_dim if group.top_k else 0,
        )
        for group in compressed.groups
    ]
    return tuple([*groups, alone] if alone.layers else groups)
