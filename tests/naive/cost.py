"""The step cost written out the long way: plain Python, one layer at a time, nothing shared.

Nanoseconds inside, integer nanoseconds out. `chunks` are (new, cached) tokens of one request each,
`contexts` the keys each decoding request attends to. Knows multi-head, grouped, latent and windowed
attention, dense MLPs and experts; compressed and linear layers have tests of their own.
"""

import math

from replay.config.hardware.gpu import ModuleFit
from tests.naive import attention as naive_attention
from tests.naive.attention import four_norm

FOREVER = 2.0**53
WIDTHS = {"bf16": 2.0, "fp8": (8 + 32 / 16384) / 8, "fp4": 4.5 / 8, "mxfp4": 4.25 / 8}


def step_ns(gpu, model, gpus, *, chunks=(), contexts=(), sampled=0, **kept):
    """Return the time of one step, from the formulas of docs/gpu-model.md."""
    tokens = sum(new for new, _ in chunks) + len(contexts)
    total = linear_ns(gpu, model, gpus, tokens, **kept) + head_ns(gpu, model, gpus, sampled)
    kinds = [kind_of(gpu, model, group, gpus, **kept) for group in model.attention_groups]
    return math.ceil(total + naive_attention.attention(kinds, chunks, contexts))


def kv_heads_of(group, gpus):
    """Return the KV heads that one GPU holds: each on several once there are more GPUs."""
    held = 1
    while held * gpus < group.kv_heads:
        held += 1
    return held


# --- products -------------------------------------------------------------------------------


def gemm_ns(gpu, rows, inner, columns, dtype="bf16", blocks=False):
    peak, share, width, values = gpu.bf16_flop_per_s, gpu.fit.gemm_efficiency, WIDTHS[dtype], 2.0
    if dtype == "fp8" and gpu.fp8_flop_per_s:
        peak, share, values = gpu.fp8_flop_per_s, gpu.fit.fp8_gemm_efficiency, 1.0
        share = gpu.fit.fp8_block_gemm_efficiency if blocks else share
    if dtype == "fp4" and gpu.fp4_flop_per_s:
        peak, share, values = gpu.fp4_flop_per_s, gpu.fit.fp4_gemm_efficiency, 0.5
    flop = 2 * rows * inner * columns
    moved = inner * columns * width + rows * inner * values + rows * columns * 2
    return 1e9 * four_norm(
        flop / (peak * share), moved / (gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency)
    )


def linear_ns(gpu, model, gpus, tokens, weight_dtype="native", **_):
    if tokens == 0:
        return 0.0
    dtype = model.dtype_of("linear", weight_dtype)
    blocks = weight_dtype == "native"
    total, values = 0.0, 0.0
    for group in model.attention_groups:
        for _ in range(group.layers):
            for inner, columns in projections(model, group, gpus):
                total += gemm_ns(gpu, tokens, inner, columns, dtype, blocks)
            values += 8 * model.hidden
            values += 2 * (group.heads / gpus + kv_heads_of(group, gpus)) * group.key_dim
            if group.kind == "mla":
                mla = model.mla
                each = mla.kv_lora_rank + mla.qk_rope_head_dim + group.key_dim + group.value_dim
                values += 2 * each * group.heads / gpus
            total += gpu.fit.layer_ns
            if gpus > 1:
                total += 2 * all_reduce_ns(gpu, gpus, 2 * tokens * model.hidden)
    for _ in range(model.dense_layers):
        width = model.ffn / gpus
        total += gemm_ns(gpu, tokens, model.hidden, 2 * width, dtype, blocks)
        total += gemm_ns(gpu, tokens, width, model.hidden, dtype, blocks)
        values += 3 * width
    moe = model.moe
    for _ in range(moe.layers if moe else 0):
        total += gemm_ns(gpu, tokens, model.hidden, moe.experts)
        total += experts_ns(gpu, model, gpus, tokens, weight_dtype)
        if moe.shared_ffn:
            width = moe.shared_ffn / gpus
            total += gemm_ns(gpu, tokens, model.hidden, 2 * width, dtype, blocks)
            total += gemm_ns(gpu, tokens, width, model.hidden, dtype, blocks)
            values += 3 * width
    bandwidth = gpu.hbm_bytes_per_s * gpu.fit.elementwise_efficiency
    return total + 1e9 * 2 * tokens * values / bandwidth


def projections(model, group, gpus):
    """Return (inner, columns) of the products around the attention of one layer, on one GPU."""
    hidden, heads = model.hidden, group.heads / gpus
    if group.kind == "mla":
        mla = model.mla
        nope, rope, v = mla.qk_nope_head_dim, mla.qk_rope_head_dim, mla.v_head_dim
        return [
            (hidden, mla.q_lora_rank + mla.kv_lora_rank + rope),
            (mla.q_lora_rank, heads * (nope + rope)),
            (mla.kv_lora_rank, heads * (nope + v)),
            (heads * v, hidden),
        ]
    keys = kv_heads_of(group, gpus) * group.key_dim
    queries = heads * group.key_dim
    return [(hidden, queries + keys + keys), (queries, hidden)]


def experts_ns(gpu, model, gpus, tokens, weight_dtype):
    """Return the routed experts of one layer; which of them are read is a matter of chance."""
    moe, fit = model.moe, gpu.fit
    dtype = model.dtype_of("expert", weight_dtype)
    peak, share, kind = gpu.bf16_flop_per_s, 1.0, dtype
    if dtype == "fp8" and gpu.fp8_flop_per_s:
        kind = "fp8_block" if weight_dtype == "native" else "fp8"
        peak = gpu.fp8_flop_per_s
        reached = fit.fp8_block_gemm_efficiency if kind == "fp8_block" else fit.fp8_gemm_efficiency
        share = reached / fit.gemm_efficiency
    padded, fixed, each = fit.moe_padded_rows, fit.moe_layer_ns, fit.moe_expert_ns
    if kind in fit.experts:
        own = fit.experts[kind]
        share, padded, fixed, each = own.share, own.padded_rows, own.layer_ns, own.expert_ns
    weights = 3 * model.hidden * moe.ffn / gpus
    untouched = 1.0
    for _ in range(tokens):
        untouched *= 1 - moe.experts_per_token / moe.experts
    touched = moe.experts * (1 - untouched)
    rows = tokens * moe.experts_per_token
    computed = 2 * (rows + touched * padded) * weights
    passed = rows * (4 * model.hidden + 4 * moe.ffn / gpus) * 2
    worked_ns = 1e9 * four_norm(
        computed / (peak * min(fit.moe_efficiency * share, 1.0)),
        touched * weights * WIDTHS[dtype] / (gpu.hbm_bytes_per_s * fit.moe_memory_efficiency),
    )
    passed_ns = 1e9 * passed / (gpu.hbm_bytes_per_s * fit.moe_traffic_efficiency)
    return fixed + four_norm(worked_ns, each * touched) + passed_ns


def all_reduce_ns(gpu, gpus, data_bytes):
    fit = gpu.fit
    sent = 1e9 * 2 * (gpus - 1) / gpus * data_bytes / gpu.link_bytes_per_s
    share = fit.all_reduce_efficiency * (2 / gpus) ** fit.all_reduce_crowding
    more = (gpus - 2) * fit.all_reduce_gpu_ns
    library = share
    if fit.nccl_efficiency:
        library = min(1.0, fit.nccl_efficiency * (gpus / 2) ** fit.nccl_growth)
    return more + min(
        fit.all_reduce_ns + sent / share,
        fit.nccl_all_reduce_ns + sent / library,
    )


def head_ns(gpu, model, gpus, rows):
    return gemm_ns(gpu, rows, model.hidden, model.vocab / gpus) if rows else 0.0


# --- attention ------------------------------------------------------------------------------


def kind_of(gpu, model, group, gpus, kv_dtype="bf16", **_):
    """Return a group of layers in the words of tests/naive/attention.py."""
    fit, layers = gpu.fit, group.layers
    heads, kv_heads = group.heads // gpus, kv_heads_of(group, gpus)
    dims = group.key_dim + group.value_dim
    decode_dims, expand = dims, 0.0
    if group.kind == "mla":
        mla = model.mla
        decode_dims = mla.kv_lora_rank + mla.qk_rope_head_dim + mla.kv_lora_rank
        made = heads * (mla.qk_nope_head_dim + mla.v_head_dim)
        expand = 2 * mla.kv_lora_rank * made / (gpu.bf16_flop_per_s * fit.gemm_efficiency)
    flop_per_s = gpu.bf16_flop_per_s * fit.attention_efficiency
    rows = fit.attention_tile_rows
    worked = max(dims, fit.attention_least_width)
    tile_key = 2 * worked * rows / (flop_per_s / gpu.sms)
    values = group.kv_values * kv_heads * {"bf16": 2, "fp8": 1}[kv_dtype]
    bandwidth = gpu.hbm_bytes_per_s * fit.memory_efficiency
    row_bytes = heads * dims * 2
    one_head = values / kv_heads
    decodes = "apart"
    if group.kind != "mla" and fit.mixed_decode == "by_tile":
        alone = heads == kv_heads or group.window is not None
        decodes = "always tiles" if alone else "tiles beside chunks"
    if group.kind != "mla" and fit.mixed_decode == "packed":
        decodes = "packed"
    module = fit.modules.get("latent" if group.kind == "mla" else "", ModuleFit())
    written = group.kv_values * kv_heads * (2 + {"bf16": 2, "fp8": 1}[kv_dtype])
    scale = 1e9 * layers
    return {
        "pair": scale * 2 * worked * heads / flop_per_s,
        "tile_key": scale * tile_key,
        "tile_start": fit.attention_tile_ns / 1e9 / tile_key,
        "tile_rows": rows,
        "heads": heads,
        "sms": gpu.sms,
        "key": scale * values / bandwidth,
        "row": scale * row_bytes / bandwidth,
        "expand": scale * expand,
        "decode_pair": scale * 2 * decode_dims * heads / flop_per_s,
        "decode_key": scale * values / (gpu.hbm_bytes_per_s * fit.kv_read_efficiency),
        "decode_row": scale * row_bytes / bandwidth,
        "group": heads / kv_heads,
        "l2_keys": gpu.l2_bytes / one_head if gpu.l2_bytes else FOREVER,
        "window": group.window or FOREVER,
        "decodes": decodes,
        "kv_heads": kv_heads,
        "launch": layers * (fit.attention_launch_ns + module.layer_ns),
        "prompt": layers * module.prompt_layer_ns,
        "absorbed_pair": scale * 2 * decode_dims * heads / flop_per_s / module.absorbed_share,
        "combine": layers * fit.attention_combine_ns,
        "absorbed": fit.absorbed_tokens if group.kind == "mla" else 0,
        "write": scale * written / (gpu.hbm_bytes_per_s * fit.kv_write_efficiency)
        + layers * module.row_ns,
    }


# --- the floor ------------------------------------------------------------------------------


def floor_ns(gpu, model, gpus, *, chunks=(), contexts=(), sampled=0, dtype="native"):
    """Return the time no software can beat: peak arithmetic, or every byte read once.

    Counted over the whole model and divided by the GPUs, which is no more than one GPU's share.
    """
    tokens = sum(new for new, _ in chunks) + len(contexts)
    if tokens == 0:
        return 0.0
    peak = max(gpu.bf16_flop_per_s, gpu.fp8_flop_per_s or 0, gpu.fp4_flop_per_s or 0)
    plain = model.dtype_of("linear", dtype) == model.dtype_of("expert", dtype) == "bf16"
    weights_peak = gpu.bf16_flop_per_s if plain else peak
    picked = model.moe.layers * model.moe.experts_per_token if model.moe else 0
    weights = model.linear_parameters + picked * model.expert_parameters
    width = min(WIDTHS.get(model.dtype_of(part, dtype), 0.5) for part in ("linear", "expert"))
    head = model.hidden * model.vocab
    seconds = 2 * weights * tokens / weights_peak + 2 * head * sampled / gpu.bf16_flop_per_s
    read = width * weights + 2 * head * bool(sampled)
    for group in model.attention_groups:
        if group.kind in ("linear", "compressed") or group.top_k:
            continue  # what they must read depends on what they pick
        window = group.window or math.inf
        pairs = sum(min(keys, window) for keys in contexts)
        for new, cached in chunks:
            if group.window is None:
                pairs += new * cached + new * (new + 1) // 2
            else:
                pairs += sum(min(cached + place, window) for place in range(1, new + 1))
        dims = group.key_dim + group.value_dim
        seconds += 2 * group.layers * group.heads * dims * pairs / gpu.bf16_flop_per_s
        keys = sum(min(keys, window) for keys in contexts)
        keys += sum(min(cached, window) for _, cached in chunks)
        read += group.layers * group.kv_heads * group.kv_values * 2 * keys
    return 1e9 * max(seconds, read / gpu.hbm_bytes_per_s) / gpus
