"""Which `model_type` of a config.json is understood, and what its families leave unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

WindowRule = Literal["none", "all", "alternate", "pattern", "switch", "chunks"]


@dataclass(frozen=True, slots=True)
class Family:
    """What a family does where its config says nothing.

    `windows` tells which layers `sliding_window` is for when no `layer_types` says it: all of
    them; every second, the first one included; all but each n-th; those from `max_window_layers`
    on if `use_sliding_window`; all but each fourth, in chunks. `expert_key` is the width of an
    expert, `dense_key` that of a dense MLP beside layers with experts. `defaults` are values that
    published files leave out, because they are those of the family's code.
    """

    tied: bool = False
    gated: bool = True
    windows: WindowRule = "none"
    expert_key: str = "moe_intermediate_size"
    dense_key: str = "intermediate_size"
    output_gate: bool = False
    always_shared: bool = False
    defaults: Mapping[str, int] = field(default_factory=dict)


_PLAIN = Family()
_WINDOW = Family(windows="all")
_SWITCH = Family(windows="switch")
_QWEN3 = Family(windows="switch", defaults={"head_dim": 128})
_WIDE_EXPERTS = Family(expert_key="intermediate_size")

FAMILIES: dict[str, Family] = {
    # dense, full attention
    "llama": _PLAIN,
    "internlm2": _PLAIN,
    "glm": _PLAIN,
    "glm4": _PLAIN,
    "chatglm": _PLAIN,
    "olmo2": _PLAIN,
    "granite": _PLAIN,
    "seed_oss": _PLAIN,
    "mimo": _PLAIN,
    "smollm3": Family(tied=True),
    "gemma": Family(tied=True, defaults={"head_dim": 256}),
    "cohere": Family(tied=True),
    "phi": Family(gated=False),
    "gpt_neox": Family(gated=False),
    "nemotron": Family(gated=False),
    # dense, windows in some layers or all
    "mistral": _WINDOW,
    "ministral": _WINDOW,
    "phi3": _WINDOW,
    "starcoder2": Family(windows="all", gated=False, tied=True),
    "qwen2": _SWITCH,
    "qwen2_5_vl": _SWITCH,
    "qwen3": _QWEN3,
    "qwen3_vl_text": _QWEN3,
    "gemma2": Family(windows="alternate", tied=True, defaults={"head_dim": 256}),
    "gemma3_text": Family(
        windows="pattern",
        tied=True,
        defaults={
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 262_208,
            "sliding_window_pattern": 6,
        },
    ),
    "gemma4_text": Family(windows="pattern", tied=True),
    "cohere2": Family(windows="pattern", tied=True),
    "olmo3": Family(windows="pattern"),
    # experts
    "mixtral": Family(windows="all", expert_key="intermediate_size"),
    "phimoe": Family(windows="all", expert_key="intermediate_size"),
    "olmoe": _WIDE_EXPERTS,
    "granitemoe": Family(expert_key="intermediate_size", tied=True),
    "gpt_oss": Family(
        windows="alternate", expert_key="intermediate_size", defaults={"head_dim": 64}
    ),
    "minimax_m2": _WIDE_EXPERTS,
    "minimax_m3": Family(dense_key="dense_intermediate_size"),
    "qwen2_moe": _SWITCH,
    "qwen3_moe": _QWEN3,
    "qwen3_vl_moe_text": _QWEN3,
    "glm4_moe": _PLAIN,
    "llama4_text": Family(
        windows="chunks",
        expert_key="intermediate_size",
        dense_key="intermediate_size_mlp",
        always_shared=True,
    ),
    # layers with a state
    "qwen3_next": Family(output_gate=True),
    "qwen3_5_text": Family(output_gate=True),
    "qwen3_5_moe_text": Family(output_gate=True),
    # latents
    "deepseek_v2": _PLAIN,
    "deepseek_v3": _PLAIN,
    "deepseek_v32": _PLAIN,
    "deepseek_v4": _PLAIN,
    "kimi_k2": _PLAIN,
    "kimi_linear": _PLAIN,
    "glm4_moe_lite": _PLAIN,
    "glm_moe_dsa": _PLAIN,
}

# Keys that change the shape of a model in a way that is not modelled, unless 0, false or null.
REFUSED = {
    "hidden_size_per_layer_input": "embeddings for each layer",
    "num_kv_shared_layers": "layers that share their KV",
    "hybrid_override_pattern": "layers with attention or an MLP, not both",
    "use_double_wide_mlp": "MLPs of two widths",
    "is_encoder_decoder": "encoders",
}
