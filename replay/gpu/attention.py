"""The coefficients of attention: one row a kind of layer, for `replay.kernels.attention`.

Grouped and multi-head attention, latents (expanded for prompts, absorbed for decodes), windows,
sparse attention (a capped main part and an index over all keys), compressed entries, and the
states of linear layers, which cost only what a decode moves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.config.hardware import BYTES_PER_VALUE, AttentionGroup
from replay.config.hardware.gpu import ModuleFit
from replay.gpu.replica import Replica
from replay.kernels import attention as kernel
from replay.units import NS_PER_S

INDEX_BYTES = 1  # FP8 keys of a sparse index
FLOP_PER_PAIR = 2  # a multiplication and an addition

Floats = NDArray[np.float64]

_NO_MODULE = ModuleFit()


def attention_table(replica: Replica, groups: tuple[AttentionGroup, ...] | None = None) -> Floats:
    """Return the coefficients, float64[K, COEFFICIENTS], all layers of a kind folded in.

    `groups` stand in for those of the model.
    """
    if groups is None:
        groups = replica.model.attention_groups
    rows = [row for group in groups for row in _rows(replica, group)]
    return np.ascontiguousarray(rows, np.float64)


def _rows(replica: Replica, group: AttentionGroup) -> list[Floats]:
    if group.kind == "linear":
        return [_state_row(replica, group)]
    rows = [_row(replica, group)]
    if group.kind == "compressed":
        rows.append(_row(replica, group, part="window"))
    if group.top_k:
        rows.append(_index_row(replica, group))
    return rows


def _row(replica: Replica, group: AttentionGroup, part: str = "main") -> Floats:
    """Return the row of keys and values; `part` window is that beside compressed entries."""
    gpu, fit, gpus = replica.gpu, replica.gpu.fit, replica.tensor_parallel
    layers_ns = float(group.layers * NS_PER_S)
    heads = group.heads / gpus
    kv_heads = group.stored_kv_heads(gpus) / gpus
    dims = float(group.key_dim + group.value_dim)
    floor_dims = decode_dims = dims
    expand = 0.0
    mla = replica.model.mla
    if group.kind == "mla" and mla is not None:
        decode_dims = mla.cached_values + mla.kv_lora_rank  # absorbed: queries meet the latent
        if group.top_k:  # prompts too: what an index picks is read as it lies
            dims = decode_dims
        else:
            made = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
            gemm = gpu.bf16_flop_per_s * fit.gemm_efficiency
            expand = layers_ns * FLOP_PER_PAIR * mla.kv_lora_rank * made / gemm
    flop_per_s = gpu.bf16_flop_per_s * fit.attention_efficiency
    module = _module(replica, group)
    worked = max(dims, float(fit.attention_least_width)) / module.share
    key_bytes = kv_heads * group.kv_values * replica.kv_value_bytes
    query_bytes = heads * dims * BYTES_PER_VALUE
    bytes_per_s = gpu.hbm_bytes_per_s * fit.memory_efficiency
    apart = 1.0 / group.ratio if part == "main" else 1.0

    shared = heads / kv_heads
    unsplit = _unsplit(fit.mixed_decode, group, shared)
    packed = unsplit == kernel.PACKED
    row = _empty(gpu.sms, fit.attention_tile_rows, heads)
    if packed or group.top_k or group.kind == "compressed":  # heads of one KV head share a tile
        row[kernel.TILE_ROWS] = max(row[kernel.TILE_ROWS] / shared, 1.0)
        row[kernel.HEADS] = kv_heads
    row[kernel.PAIR_NS] = apart * layers_ns * FLOP_PER_PAIR * worked * heads / flop_per_s
    row[kernel.TILE_KEY_NS] = (
        apart * layers_ns * FLOP_PER_PAIR * worked * fit.attention_tile_rows * gpu.sms / flop_per_s
    )
    row[kernel.TILE_START_KEYS] = group.layers * fit.attention_tile_ns / row[kernel.TILE_KEY_NS]
    row[kernel.KEY_NS] = apart * layers_ns * key_bytes / bytes_per_s
    row[kernel.ROW_NS] = layers_ns * query_bytes / bytes_per_s
    row[kernel.EXPAND_NS] = expand
    row[kernel.DECODE_PAIR_NS] = (
        apart * layers_ns * FLOP_PER_PAIR * decode_dims * heads / flop_per_s
    )
    row[kernel.ABSORBED_PAIR_NS] = row[kernel.DECODE_PAIR_NS] / module.absorbed_share
    row[kernel.DECODE_KEY_NS] = (
        apart * layers_ns * key_bytes / (gpu.hbm_bytes_per_s * fit.kv_read_efficiency)
    )
    row[kernel.DECODE_ROW_NS] = row[kernel.ROW_NS]
    row[kernel.GROUP] = shared
    row[kernel.L2_KEYS] = gpu.l2_bytes * kv_heads / key_bytes if gpu.l2_bytes else kernel.UNLIMITED
    row[kernel.WINDOW] = _window(group, part)
    row[kernel.UNSPLIT] = unsplit
    row[kernel.DECODE_PIECES] = kernel.pieces_that_fill(row[kernel.HEADS], float(gpu.sms))
    if part == "main":
        _add_fixed(row, replica, group, module, cut=not packed)
    if group.kind == "mla" and not group.top_k:
        row[kernel.ABSORBED_TOKENS] = fit.absorbed_tokens
    peak = max(gpu.bf16_flop_per_s, (gpu.fp8_flop_per_s or 0) * (replica.kv_value_bytes == 1))
    row[kernel.FLOOR_PAIR_NS] = apart * layers_ns * FLOP_PER_PAIR * floor_dims * heads / peak
    row[kernel.FLOOR_DECODE_PAIR_NS] = (
        apart * layers_ns * FLOP_PER_PAIR * min(floor_dims, decode_dims) * heads / peak
    )
    row[kernel.FLOOR_KEY_NS] = apart * layers_ns * key_bytes / gpu.hbm_bytes_per_s
    return row


def _add_fixed(
    row: Floats, replica: Replica, group: AttentionGroup, module: ModuleFit, *, cut: bool
) -> None:
    """Fill in what a launch takes besides its work, and what each new token takes.

    `cut` says that decodes alone are always cut over their keys.
    """
    gpu, fit = replica.gpu, replica.gpu.fit
    launch = fit.attention_launch_ns + module.layer_ns
    combine = group.layers * fit.attention_combine_ns
    row[kernel.CHUNK_LAUNCH_NS] = group.layers * (launch + module.prompt_layer_ns)
    row[kernel.DECODE_LAUNCH_NS] = group.layers * launch + (combine if cut else 0.0)
    row[kernel.COMBINE_NS] = combine
    kv_heads = group.stored_kv_heads(replica.tensor_parallel) / replica.tensor_parallel
    moved = kv_heads * group.kv_values * (BYTES_PER_VALUE + replica.kv_value_bytes)
    write_ns = moved / (gpu.hbm_bytes_per_s * fit.kv_write_efficiency) * NS_PER_S
    row[kernel.WRITE_NS] = group.layers * (write_ns + module.row_ns)


def _module(replica: Replica, group: AttentionGroup) -> ModuleFit:
    """Return what layers of that kind take besides; nothing where the GPU's file is silent."""
    name = {"mla": "latent", "compressed": "compressed"}.get(group.kind, "")
    words = ["sparse"] * (group.top_k is not None) + [name] * bool(name)
    modules = replica.gpu.fit.modules
    return next((modules[kind] for kind in modules if kind == "_".join(words)), _NO_MODULE)


def _window(group: AttentionGroup, part: str) -> float:
    """Return the keys a query sees at most, in tokens."""
    if group.top_k and part == "main":
        return float(group.top_k * group.ratio)
    if group.kind == "compressed" and part == "main":
        return kernel.UNLIMITED
    return float(group.window) if group.window is not None else kernel.UNLIMITED


def _unsplit(mixed_decode: str, group: AttentionGroup, shared: float) -> float:
    """Return whether decodes are tiles: beside chunks, and alone where their heads share no tile.

    FlashAttention-2 takes the query heads of a KV head together for decodes alone, but not under a
    window (`seqlenq_ngroups_swapped`), nor where each head has KV of its own.
    """
    if mixed_decode == "apart" or group.kind not in ("full", "window", "chunked"):
        return 0.0
    if mixed_decode == "packed":
        return kernel.PACKED
    return kernel.ALWAYS if shared == 1.0 or group.kind != "full" else 1.0


def _index_row(replica: Replica, group: AttentionGroup) -> Floats:
    """Return the row of a sparse index: narrow FP8 keys that all queries of a layer score."""
    gpu, fit = replica.gpu, replica.gpu.fit
    layers_ns = float(group.layers * NS_PER_S) / group.ratio
    peak = gpu.fp8_flop_per_s or gpu.bf16_flop_per_s
    flop = FLOP_PER_PAIR * group.index_heads * group.index_dim
    key_bytes = group.index_dim * INDEX_BYTES
    row = _empty(gpu.sms, fit.attention_tile_rows, 1.0)
    pair_ns = layers_ns * flop / (peak * fit.attention_efficiency)
    row[kernel.PAIR_NS] = pair_ns / _module(replica, group).index_share
    row[kernel.DECODE_PAIR_NS] = pair_ns
    row[kernel.KEY_NS] = layers_ns * key_bytes / (gpu.hbm_bytes_per_s * fit.memory_efficiency)
    row[kernel.DECODE_KEY_NS] = (
        layers_ns * key_bytes / (gpu.hbm_bytes_per_s * fit.kv_read_efficiency)
    )
    row[kernel.FLOOR_PAIR_NS] = row[kernel.FLOOR_DECODE_PAIR_NS] = layers_ns * flop / peak
    row[kernel.FLOOR_KEY_NS] = layers_ns * key_bytes / gpu.hbm_bytes_per_s
    return row


def _state_row(replica: Replica, group: AttentionGroup) -> Floats:
    """Return the row of linear layers: each decode reads and writes its state."""
    gpu, fit = replica.gpu, replica.gpu.fit
    row = _empty(gpu.sms, fit.attention_tile_rows, 1.0)
    moved = 2.0 * group.layers * group.state_bytes / replica.tensor_parallel
    row[kernel.DECODE_ROW_NS] = moved * NS_PER_S / (gpu.hbm_bytes_per_s * fit.kv_read_efficiency)
    return row


def _empty(sms: int, tile_rows: int, heads: float) -> Floats:
    """Return a row that costs nothing."""
    row = np.zeros(kernel.COEFFICIENTS)
    row[kernel.SMS], row[kernel.TILE_ROWS], row[kernel.HEADS] = sms, tile_rows, heads
    row[kernel.GROUP] = 1.0
    row[kernel.L2_KEYS] = row[kernel.WINDOW] = kernel.UNLIMITED
    return row
