"""Sizes of a model the long way: every layer in turn, every matrix, every token of the KV.

The twin of the model's own arithmetic: layers are spelt out one by one as plain dicts, weights are
lists of (rows, columns), and KV is counted token by token.
"""

from fractions import Fraction


def layers_of(model):
    """Return one dict a layer: which attention it has, and which MLP."""
    spelt = []
    if model.compressed:
        for group in model.compressed.groups:
            index = (model.compressed.index_heads, model.compressed.index_dim)
            one = {"kind": "compressed", "ratio": group.ratio, "index": group.top_k and index}
            spelt += [dict(one) for _ in range(group.layers)]
        while len(spelt) < model.layers:
            spelt.append({"kind": "compressed", "ratio": None, "index": None})
    else:
        for _ in range(model.linear.layers if model.linear else 0):
            spelt.append({"kind": "linear"})
        for _ in range(model.window.layers if model.window else 0):
            spelt.append({"kind": "window"})
        index = 0
        while len(spelt) < model.layers:
            has_index = model.sparse is not None and index < model.sparse.layers
            spelt.append({"kind": "latent" if model.mla else "full", "index": has_index})
            index += 1
    for number, layer in enumerate(spelt):
        layer["experts"] = model.moe is not None and number < model.moe.layers
        layer["dense"] = not layer["experts"] or model.moe.beside_dense
    return spelt


def attention_matrices(model, layer):
    """Return (matrices that are split over GPUs, matrices of one KV head, whole on every GPU)."""
    hidden, heads, dim = model.hidden, model.heads, model.head_dim
    gates = 1 if model.output_gate else 0
    if layer["kind"] == "linear":
        one = model.linear
        keys, values = one.key_heads * one.key_head_dim, one.value_heads * one.value_head_dim
        matrices = [(hidden, keys), (hidden, keys), (hidden, values), (hidden, values)]
        matrices += [(values, hidden), (2 * keys + values, one.conv_kernel)]
        matrices += [(hidden, one.value_heads)]
        if one.kind == "gated_delta_net":
            matrices += [(hidden, one.value_heads)]
        if one.kind == "kda":
            matrices += [(hidden, one.key_head_dim), (one.key_head_dim, keys)]
        return matrices, [], []
    if layer["kind"] == "compressed":
        one = model.compressed
        split = [(one.q_lora_rank, heads * dim), (heads * dim, one.o_lora_rank)]
        split += [(one.o_groups * one.o_lora_rank, hidden)]
        whole = [(hidden, one.q_lora_rank), (hidden, dim)]
        if layer["index"]:
            index_heads, index_dim = layer["index"]
            whole += [(one.q_lora_rank, index_heads * index_dim), (hidden, index_dim)]
            whole += [(hidden, index_heads)]
        return split, [], whole
    if layer["kind"] == "latent":
        one = model.mla
        key = one.qk_nope_head_dim + one.qk_rope_head_dim
        whole = [(hidden, one.kv_lora_rank), (hidden, one.qk_rope_head_dim)]
        split = [(one.kv_lora_rank, heads * one.qk_nope_head_dim)]
        split += [(one.kv_lora_rank, heads * one.v_head_dim), (heads * one.v_head_dim, hidden)]
        split += [(hidden, heads * one.v_head_dim)] * gates
        if one.q_lora_rank is None:
            split.append((hidden, heads * key))
        else:
            whole.append((hidden, one.q_lora_rank))
            split.append((one.q_lora_rank, heads * key))
        return split, [], whole + index_matrices(model, layer)
    own_shape = layer["kind"] == "window" and model.window.head_dim is not None
    if layer["kind"] == "window" and own_shape:
        dim = model.window.head_dim
    split = [(hidden, heads * dim), (heads * dim, hidden)] + [(hidden, heads * dim)] * gates
    head = [(hidden, dim)]
    if own_shape or not model.keys_are_values:
        head.append((hidden, dim))
    return split, head, index_matrices(model, layer)


def index_matrices(model, layer):
    if not layer.get("index"):
        return []
    one = model.sparse
    rank = model.hidden
    if model.mla and model.mla.q_lora_rank is not None:
        rank = model.mla.q_lora_rank
    return [
        (rank, one.index_heads * one.index_dim),
        (model.hidden, one.index_dim),
        (model.hidden, one.index_heads),
    ]


def kv_heads_of(model, layer):
    if layer["kind"] == "linear":
        return 0
    if layer["kind"] == "window" and model.window.kv_heads is not None:
        return model.window.kv_heads
    return model.kv_heads


def copies_of_heads(kv_heads, gpus):
    """Return the KV heads stored by all GPUs, handing heads out one GPU at a time."""
    if kv_heads == 0:
        return 0
    stored = 0
    for gpu in range(gpus):
        first = gpu * kv_heads // gpus
        last = max((gpu + 1) * kv_heads // gpus, first + 1)
        stored += last - first
    return stored


def volume(matrices):
    return sum(rows * columns for rows, columns in matrices)


def weights(model, gpus=1, active=False):
    """Return how many weights are (quantisable beside experts, of routed experts, kept in bf16)."""
    linear = experts = 0
    kept = model.hidden + model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    per_mlp = 3 if model.gated_mlp else 2
    for layer in layers_of(model):
        split, head, whole = attention_matrices(model, layer)
        kv_heads = kv_heads_of(model, layer)
        stored = copies_of_heads(kv_heads, gpus)
        linear += volume(split) + stored * volume(head) + gpus * volume(whole)
        kept += 2 * model.hidden
        if layer["dense"]:
            linear += per_mlp * model.hidden * model.ffn
        if layer["experts"]:
            moe = model.moe
            inner = moe.expert_hidden or model.hidden
            kept += moe.experts * model.hidden
            linear += per_mlp * model.hidden * moe.shared_ffn
            linear += 2 * model.hidden * inner if moe.expert_hidden else 0
            for _ in range(moe.experts_per_token if active else moe.experts):
                experts += per_mlp * inner * moe.ffn
    return linear, experts, kept


BITS = {
    "bf16": Fraction(16),
    "fp8": Fraction(8) + Fraction(32, 16384),
    "int8": Fraction(8) + Fraction(32, 16384),
    "fp4": Fraction(4) + Fraction(8, 16),
    "mxfp4": Fraction(4) + Fraction(8, 32),
    "int4": Fraction(4) + Fraction(16, 32),
}


def weight_bytes(model, dtype, gpus=1):
    linear, experts, kept = weights(model, gpus)
    first = model.weight_dtype if dtype == "native" else dtype
    second = (model.expert_weight_dtype or model.weight_dtype) if dtype == "native" else dtype
    return (
        int(linear * BITS[first] / 8)
        + int(experts * BITS[second] / 8)
        + int(kept * BITS["bf16"] / 8)
    )


def kv_bytes(model, tokens, value_bytes=2, gpus=1):
    """Return the bytes of one sequence on all GPUs, adding up what each token leaves.

    `value_bytes` 2 is bf16 and 1 is FP8.
    """
    total = 0
    for layer in layers_of(model):
        if layer["kind"] == "linear":
            one = model.linear
            for _ in range(one.value_heads if tokens else 0):
                total += one.key_head_dim * one.value_head_dim * one.state_value_bytes
            inputs = 2 * one.key_heads * one.key_head_dim + one.value_heads * one.value_head_dim
            total += inputs * (one.conv_kernel - 1) * 2 if tokens else 0
            continue
        if layer["kind"] == "latent" and layer["index"]:
            total += tokens * gpus * sparse_latent_bytes(model, value_bytes)
            continue
        for token in range(tokens):
            total += value_bytes * token_values(model, layer, token, tokens, gpus)
    return total


def sparse_latent_bytes(model, value_bytes):
    """Return what one token leaves in a layer of latents with an index, byte by byte.

    FP8 has a float32 scale for each 128 values; keys of the index are FP8 in every case, and the
    rotary part of a latent is bf16 in every case.
    """

    def scales(values):
        return sum(4 for start in range(0, values, 128))

    latent, rotary = model.mla.kv_lora_rank, model.mla.qk_rope_head_dim
    entry = 2 * latent if value_bytes == 2 else latent + scales(latent)
    return entry + 2 * rotary + model.sparse.index_dim + scales(model.sparse.index_dim)


def token_values(model, layer, token, tokens, gpus):
    """Return the values that a token still has in a layer once `tokens` were computed."""
    stored = copies_of_heads(kv_heads_of(model, layer), gpus)
    recent = tokens - token
    if layer["kind"] == "compressed":
        values = model.head_dim if recent <= model.compressed.window else 0
        if layer["ratio"] and (token + 1) % layer["ratio"] == 0:  # the last token of an entry
            values += model.head_dim + (layer["index"][1] if layer["index"] else 0)
        return values * gpus
    if layer["kind"] == "latent":
        values = model.mla.kv_lora_rank + model.mla.qk_rope_head_dim
    elif layer["kind"] == "window":
        dim = model.window.head_dim or model.head_dim
        return 2 * dim * stored if recent <= model.window.tokens else 0
    else:
        values = 2 * model.head_dim
    index = model.sparse.index_dim * gpus if layer.get("index") else 0
    return values * stored + index
