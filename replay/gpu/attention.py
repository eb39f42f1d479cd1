"""The coefficients of attention: one row a kind of layer, for `replay.kernels.cost`.

Grouped and multi-head attention, latents (expanded for prompts, absorbed for decodes), windows,
sparse attention (a capped main part and an index over all keys), compressed entries, and the
states of linear layers, which cost only what a decode moves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from replay.config.hardware import BYTES_PER_VALUE, AttentionGroup
from replay.gpu.replica import Replica
from replay.kernels import cost as kernel
from replay.units import NS_PER_S

INDEX_BYTES = 1  # FP8 keys of a sparse index
FLOP_PER_PAIR = 2  # a multiplication and an addition

Floats = NDArray[np.float64]


def attention_table(replica: Replica) -> Floats:
    """Return the coefficients, float64[K, COEFFICIENTS], all layers of a kind folded in."""
    rows = [row for group in replica.model.attention_groups for row in _rows(replica, group)]
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
    decode_dims, expand = dims, 0.0
    if group.kind == "mla" and replica.model.mla is not None:
        mla = replica.model.mla
        decode_dims = mla.cached_values + mla.kv_lora_rank  # absorbed: queries meet the latent
        made = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
        gemm = gpu.bf16_flop_per_s * fit.gemm_efficiency
        expand = layers_ns * FLOP_PER_PAIR * mla.kv_lora_rank * made / gemm
    flop_per_s = gpu.bf16_flop_per_s * fit.attention_efficiency
    worked = max(dims, float(fit.attention_least_width))
    key_bytes = kv_heads * group.kv_values * replica.kv_value_bytes
    query_bytes = heads * dims * BYTES_PER_VALUE
    bytes_per_s = gpu.hbm_bytes_per_s * fit.memory_efficiency
    apart = 1.0 / group.ratio if part == "main" else 1.0

    shared = heads / kv_heads
    unsplit = _unsplit(fit.mixed_decode, group, shared)
    packed = unsplit == kernel.PACKED
    row = _empty(gpu.sms, fit.attention_tile_rows / (shared if packed else 1.0), heads)
    if packed:  # query heads of one KV head are rows of one tile
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
    row[kernel.DECODE_KEY_NS] = (
        apart * layers_ns * key_bytes / (gpu.hbm_bytes_per_s * fit.kv_read_efficiency)
    )
    row[kernel.DECODE_ROW_NS] = row[kernel.ROW_NS]
    row[kernel.GROUP] = shared
    row[kernel.L2_KEYS] = gpu.l2_bytes * kv_heads / key_bytes if gpu.l2_bytes else kernel.UNLIMITED
    row[kernel.WINDOW] = _window(group, part)
    row[kernel.UNSPLIT] = unsplit
    if part == "main":
        launch = group.layers * fit.attention_launch_ns
        combine = group.layers * fit.attention_combine_ns
        row[kernel.CHUNK_LAUNCH_NS] = row[kernel.DECODE_LAUNCH_NS] = launch
        row[kernel.COMBINE_NS] = combine
        if not packed:  # decodes alone are always cut
            row[kernel.DECODE_LAUNCH_NS] += combine
        moved = kv_heads * group.kv_values * (BYTES_PER_VALUE + replica.kv_value_bytes)
        write_bytes_per_s = gpu.hbm_bytes_per_s * fit.kv_write_efficiency
        row[kernel.WRITE_NS] = layers_ns * moved / write_bytes_per_s
    if group.kind == "mla":
        row[kernel.ABSORBED_TOKENS] = fit.absorbed_tokens
    peak = max(gpu.bf16_flop_per_s, (gpu.fp8_flop_per_s or 0) * (replica.kv_value_bytes == 1))
    row[kernel.FLOOR_PAIR_NS] = apart * layers_ns * FLOP_PER_PAIR * dims * heads / peak
    row[kernel.FLOOR_DECODE_PAIR_NS] = (
        apart * layers_ns * FLOP_PER_PAIR * min(dims, decode_dims) * heads / peak
    )
    row[kernel.FLOOR_KEY_NS] = apart * layers_ns * key_bytes / gpu.hbm_bytes_per_s
    return row


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
    row[kernel.PAIR_NS] = layers_ns * flop / (peak * fit.attention_efficiency)
    row[kernel.DECODE_PAIR_NS] = row[kernel.PAIR_NS]
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
