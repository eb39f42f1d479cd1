"""The step cost written out the long way: plain Python, one layer at a time, nothing shared.

Seconds inside, integer nanoseconds out. `chunks` are (new, cached) tokens of one request each,
`contexts` the keys each decoding request attends to.
"""

import math


def step_ns(gpu, model, tensor_parallel, *, chunks=(), contexts=(), sampled=0):
    """Return the time of one step, from the formulas of docs/gpu-model.md."""
    tokens = sum(new for new, _ in chunks) + len(contexts)
    seconds = linear_s(gpu, model, tensor_parallel, tokens)
    seconds += head_s(gpu, model, tensor_parallel, sampled)
    for new, cached in chunks:
        seconds += model.layers * prefill_s(gpu, model, tensor_parallel, new, cached)
    seconds += model.layers * decode_s(gpu, model, tensor_parallel, contexts)
    return math.ceil(seconds * 1e9)


def shard(model, tensor_parallel):
    """Return query heads, KV heads and MLP width of one GPU."""
    kv_heads = 1
    while kv_heads * tensor_parallel < model.kv_heads:
        kv_heads += 1
    return model.heads // tensor_parallel, kv_heads, model.ffn // tensor_parallel


def four_norm(first, second):
    return math.pow(math.pow(first, 4) + math.pow(second, 4), 0.25)


def gemm_s(gpu, rows, inner, columns):
    flop = 2 * rows * inner * columns
    moved = 2 * (inner * columns + rows * inner + rows * columns)
    return four_norm(
        flop / (gpu.bf16_flop_per_s * gpu.fit.gemm_efficiency),
        moved / (gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency),
    )


def linear_s(gpu, model, tensor_parallel, tokens):
    if tokens == 0:
        return 0.0
    heads, kv_heads, ffn = shard(model, tensor_parallel)
    hidden, dim = model.hidden, model.head_dim
    shapes = {
        "qkv": (hidden, heads * dim + kv_heads * dim + kv_heads * dim),
        "output": (heads * dim, hidden),
        "gate and up": (hidden, ffn + ffn),
        "down": (ffn, hidden),
    }
    passes = {  # values read and written per token
        "residual and norm before attention": 4 * hidden,
        "rotary embedding": 2 * heads * dim + 2 * kv_heads * dim,
        "residual and norm before the MLP": 4 * hidden,
        "activation": 2 * ffn + ffn,
    }
    seconds = 0.0
    for _ in range(model.layers):
        for inner, columns in shapes.values():
            seconds += gemm_s(gpu, tokens, inner, columns)
        for values in passes.values():
            bandwidth = gpu.hbm_bytes_per_s * gpu.fit.elementwise_efficiency
            seconds += 2 * tokens * values / bandwidth
        seconds += gpu.fit.layer_ns / 1e9
        if tensor_parallel > 1:
            for _ in ("after attention", "after the MLP"):
                seconds += all_reduce_s(gpu, tensor_parallel, 2 * tokens * hidden)
    return seconds


def all_reduce_s(gpu, gpus, data_bytes):
    sent = 2 * (gpus - 1) / gpus * data_bytes
    return gpu.fit.all_reduce_ns / 1e9 + sent / (
        gpu.link_bytes_per_s * gpu.fit.all_reduce_efficiency
    )


def head_s(gpu, model, tensor_parallel, rows):
    return gemm_s(gpu, rows, model.hidden, model.vocab / tensor_parallel) if rows else 0.0


def prefill_s(gpu, model, tensor_parallel, new, cached):
    if new == 0:
        return 0.0
    heads, kv_heads, _ = shard(model, tensor_parallel)
    dim = model.head_dim
    flop_per_s = gpu.bf16_flop_per_s * gpu.fit.attention_efficiency
    pairs = sum(cached + position + 1 for position in range(new))
    whole = 4 * dim * heads * pairs / flop_per_s

    tile_rows = gpu.fit.attention_tile_rows
    tiles = 0
    for _ in range(heads):
        first = 0
        while first < new:
            tiles += 1
            first += tile_rows
    waves = 0
    while waves * gpu.sms < tiles:
        waves += 1
    key_s = 4 * dim * tile_rows / (flop_per_s / gpu.sms)
    average_tile = key_s * (cached + new / 2 + tile_rows / 2)
    longest_tile = key_s * (cached + new)

    kv_bytes = 2 * kv_heads * dim * 2 * (cached + new)
    query_and_output_bytes = 2 * heads * dim * 2 * new
    memory = (kv_bytes + query_and_output_bytes) / (gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency)
    return four_norm(max(whole, waves * average_tile, longest_tile), memory)


def decode_s(gpu, model, tensor_parallel, contexts):
    heads, kv_heads, _ = shard(model, tensor_parallel)
    dim = model.head_dim
    flop, kv_bytes, query_bytes = 0, 0, 0
    for keys in contexts:
        flop += 4 * dim * heads * keys
        kv_bytes += 2 * kv_heads * dim * 2 * keys
        query_bytes += 2 * heads * dim * 2
    return four_norm(
        flop / (gpu.bf16_flop_per_s * gpu.fit.attention_efficiency),
        kv_bytes / (gpu.hbm_bytes_per_s * gpu.fit.kv_read_efficiency)
        + query_bytes / (gpu.hbm_bytes_per_s * gpu.fit.memory_efficiency),
    )


def floor_ns(gpu, model, tensor_parallel, *, chunks=(), contexts=(), sampled=0):
    """Return the time no software can beat: peak arithmetic, or every byte read once."""
    tokens = sum(new for new, _ in chunks) + len(contexts)
    projections = model.hidden * model.head_dim * 2 * (model.heads + model.kv_heads)
    weights = model.layers * (projections + 3 * model.hidden * model.ffn)
    head = model.hidden * model.vocab
    pairs = sum(contexts)
    for new, cached in chunks:
        pairs += sum(cached + position + 1 for position in range(new))
    flop = 2 * weights * tokens + 2 * head * sampled
    flop += 4 * model.layers * model.heads * model.head_dim * pairs
    keys = sum(contexts) + sum(cached for _, cached in chunks)
    read = 2 * weights * bool(tokens) + 2 * head * bool(sampled)
    read += model.layers * 2 * model.kv_heads * model.head_dim * 2 * keys
    return 1e9 * max(
        flop / (gpu.bf16_flop_per_s * tensor_parallel),
        read / (gpu.hbm_bytes_per_s * tensor_parallel),
    )
