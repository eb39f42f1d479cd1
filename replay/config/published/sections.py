"""From the keys of a config.json to the sections of a model: experts, latents, windows, states."""

from __future__ import annotations

from typing import Any

from replay.config.published.families import Family
from replay.config.published.keys import Keys

Section = dict[str, Any]

FULL_EVERY_CHUNKED = 4  # Llama 4: each fourth layer sees everything


def moe_section(keys: Keys, family: Family, layers: int) -> Section | None:
    """Return the experts of a model, or None where it has none."""
    if keys.get("num_experts") is None or keys.get("enable_moe_block") is False:
        return None
    width = keys.number(family.expert_key)
    section: Section = {
        "layers": _expert_layers(keys, layers),
        "experts": keys.number("num_experts"),
        "experts_per_token": keys.number("num_experts_per_tok"),
        "ffn": width,
        "shared_ffn": _shared_width(keys, family, width),
    }
    if keys.get("routed_expert_hidden_size") is not None:
        section["expert_hidden"] = keys.number("routed_expert_hidden_size")
    if keys.get("enable_moe_block"):
        section["beside_dense"] = True
    return section


def _expert_layers(keys: Keys, layers: int) -> int:
    frequency = keys.get("moe_layer_freq")
    if isinstance(frequency, list):
        return sum(map(bool, keys.whole_numbers("moe_layer_freq", layers) or ()))
    if keys.get("interleave_moe_layer_step") is not None:
        return layers // keys.number("interleave_moe_layer_step")
    if keys.get("decoder_sparse_step") is not None or keys.get("mlp_only_layers"):
        step = keys.number("decoder_sparse_step", 1)
        dense = set(keys.whole_numbers("mlp_only_layers") or ())
        return sum((layer + 1) % step == 0 and layer not in dense for layer in range(layers))
    first = keys.count("first_k_dense_replace")
    every = keys.number("moe_layer_freq", 1)
    return sum(layer >= first and layer % every == 0 for layer in range(layers))


def _shared_width(keys: Keys, family: Family, expert_width: int) -> int:
    if family.always_shared:
        return expert_width
    if keys.get("shared_expert_intermediate_size") is not None:
        return keys.count("shared_expert_intermediate_size")
    if keys.get("n_shared_experts") is None:
        return keys.count("shared_intermediate_size")
    each = keys.count("shared_intermediate_size", expert_width)
    return keys.count("n_shared_experts") * each


def mla_section(keys: Keys) -> Section | None:
    """Return the latents of a model, or None where it has keys and values per head."""
    if keys.get("kv_lora_rank") is None:
        return None
    names = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    section: Section = {name: keys.number(name) for name in names}
    query = keys.get("q_lora_rank")
    section["q_lora_rank"] = None if query is None else keys.number("q_lora_rank")
    return section


def window_section(keys: Keys, family: Family, layers: int) -> Section | None:
    """Return the layers that see the last tokens only, or None where all see everything."""
    chunked = keys.get("attention_chunk_size") is not None
    name = "attention_chunk_size" if chunked else "sliding_window"
    if keys.get(name) is None or keys.get("compress_ratios") is not None:
        return None
    tokens = keys.number(name)
    if tokens >= keys.number("max_position_embeddings", tokens + 1):
        return None
    windowed = _window_layers(keys, family, layers)
    if not windowed:
        return None
    return {"tokens": tokens, "layers": windowed, **({"chunked": True} if chunked else {})}


def _window_layers(keys: Keys, family: Family, layers: int) -> int:
    kinds = keys.items("layer_types", layers)
    if kinds is not None:
        return sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    if family.windows == "none":
        keys.refuse("sliding_window", "this family has none that is known")
        return 0
    if family.windows == "alternate":
        return (layers + 1) // 2
    if family.windows == "pattern":
        name = "_sliding_window_pattern"
        name = name if keys.get(name) is not None else "sliding_window_pattern"
        return layers - layers // keys.number(name)
    if family.windows == "switch":
        first = keys.count("max_window_layers", layers)
        return max(layers - first, 0) if keys.flag("use_sliding_window", False) else 0
    if family.windows == "chunks":
        ropes = keys.whole_numbers("no_rope_layers", layers)
        return sum(map(bool, ropes)) if ropes else layers - layers // FULL_EVERY_CHUNKED
    return layers


def linear_section(keys: Keys, layers: int) -> Section | None:
    """Return the layers that keep a state, or None where every layer keeps KV."""
    if keys.get("linear_num_value_heads") is not None:
        return _gated_delta_net(keys, layers)
    config = keys.section("linear_attn_config")
    if config is None:
        return None
    heads, width = config.number("num_heads"), config.number("head_dim")
    return {
        "kind": "kda",
        "layers": len(config.whole_numbers("kda_layers") or ()),
        "key_heads": heads,
        "key_head_dim": width,
        "value_heads": heads,
        "value_head_dim": width,
        "conv_kernel": config.number("short_conv_kernel_size"),
    }


def _gated_delta_net(keys: Keys, layers: int) -> Section:
    kinds = keys.items("layer_types", layers)
    if kinds is not None:
        with_state = sum(kind == "linear_attention" for kind in kinds)
    else:
        with_state = layers - layers // keys.number("full_attention_interval")
    return {
        "kind": "gated_delta_net",
        "layers": with_state,
        "key_heads": keys.number("linear_num_key_heads"),
        "key_head_dim": keys.number("linear_key_head_dim"),
        "value_heads": keys.number("linear_num_value_heads"),
        "value_head_dim": keys.number("linear_value_head_dim"),
        "conv_kernel": keys.number("linear_conv_kernel_dim"),
    }


def sparse_section(keys: Keys, layers: int) -> Section | None:
    """Return the index that picks keys, or None where queries read all they see."""
    config = keys.section("sparse_attention_config")
    if config is not None:
        if not config.flag("use_sparse_attention", True):
            return None
        blocks = config.number("sparse_topk_blocks") * config.number("sparse_block_size")
        frequency = config.whole_numbers("sparse_attention_freq", layers)
        return {
            "layers": layers if frequency is None else sum(map(bool, frequency)),
            "top_k": blocks,
            "index_heads": config.number("sparse_num_index_heads"),
            "index_dim": config.number("sparse_index_dim"),
        }
    if keys.get("index_topk") is None or keys.get("compress_ratios") is not None:
        return None
    return {
        "layers": layers,
        "top_k": keys.number("index_topk"),
        "index_heads": keys.number("index_n_heads"),
        "index_dim": keys.number("index_head_dim"),
    }


def compressed_section(keys: Keys, layers: int) -> Section | None:
    """Return the layers that keep one entry for several tokens, or None where there are none."""
    ratios = keys.whole_numbers("compress_ratios", layers)
    if ratios is None:
        return None
    known = sorted({ratio for ratio in ratios if ratio})
    indexed = known[:1]  # the index picks among the entries of the finest ratio
    top_k = keys.number("index_topk")
    return {
        "window": keys.number("sliding_window"),
        "groups": [
            {
                "ratio": ratio,
                "layers": ratios.count(ratio),
                "top_k": top_k if ratio in indexed else None,
            }
            for ratio in known
        ],
        "q_lora_rank": keys.number("q_lora_rank"),
        "o_lora_rank": keys.number("o_lora_rank"),
        "o_groups": keys.number("o_groups"),
        "index_heads": keys.number("index_n_heads"),
        "index_dim": keys.number("index_head_dim"),
    }
