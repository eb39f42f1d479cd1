"""Models of every kind, small enough to be counted out layer by layer."""

from hypothesis import strategies as st

from replay.config.hardware import Model

KINDS = ("full", "window", "linear", "both", "latent", "latent_linear", "sparse", "compressed")


@st.composite
def models(draw, kinds=KINDS):
    """Draw a valid model with up to six layers."""
    kind = draw(st.sampled_from(kinds))
    layers = draw(st.integers(1, 6))
    kv_heads = draw(st.sampled_from([1, 2, 4]))
    data = {
        "name": "drawn",
        "layers": layers,
        "hidden": draw(st.sampled_from([8, 24])),
        "heads": kv_heads * draw(st.sampled_from([1, 2])),
        "vocab": draw(st.integers(1, 50)),
        "tied_embeddings": draw(st.booleans()),
        "gated_mlp": draw(st.booleans()),
        "output_gate": kind != "compressed" and draw(st.booleans()),
        "weight_dtype": draw(st.sampled_from(["bf16", "fp8", "fp4"])),
        "sources": {"dimensions": "drawn"},
    }
    if kind in ("latent", "latent_linear") or (kind == "sparse" and draw(st.booleans())):
        data["mla"] = draw(latents())
    elif kind == "compressed":
        data |= {"head_dim": 8, "compressed": draw(compressed(layers))}
    else:
        data |= {"kv_heads": kv_heads, "head_dim": draw(st.sampled_from([4, 8]))}
        data["keys_are_values"] = draw(st.booleans())
    left = layers
    if kind in ("linear", "both", "latent_linear"):
        data["linear"] = draw(linear(left))
        left -= data["linear"]["layers"]
    if kind in ("window", "both") and left:
        data["window"] = draw(windows(left))
    if kind == "sparse":
        data["sparse"] = {
            "layers": draw(st.integers(1, layers)),
            "top_k": 4,
            "index_heads": draw(st.integers(1, 3)),
            "index_dim": draw(st.integers(1, 5)),
        }
    if draw(st.booleans()):
        data["moe"] = draw(experts(layers))
        data["expert_weight_dtype"] = draw(st.sampled_from([None, "mxfp4", "int4"]))
    moe = data.get("moe")
    if moe is None or moe["layers"] < layers or moe["beside_dense"]:
        data["ffn"] = draw(st.sampled_from([16, 32]))
    return Model.model_validate(data)


@st.composite
def latents(draw):
    names = ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    section = {name: draw(st.integers(1, 9)) for name in names}
    return section | {"q_lora_rank": draw(st.none() | st.integers(1, 9))}


@st.composite
def linear(draw, layers):
    key_heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "kind": draw(st.sampled_from(["gated_delta_net", "kda", "mamba2"])),
        "layers": draw(st.integers(1, layers)),
        "key_heads": key_heads,
        "key_head_dim": draw(st.integers(1, 5)),
        "value_heads": key_heads * draw(st.sampled_from([1, 2])),
        "value_head_dim": draw(st.integers(1, 5)),
        "conv_kernel": draw(st.integers(1, 4)),
    }


@st.composite
def windows(draw, layers):
    own_shape = draw(st.booleans())
    return {
        "tokens": draw(st.integers(1, 40)),
        "layers": draw(st.integers(1, layers)),
        "chunked": draw(st.booleans()),
        "kv_heads": 1 if own_shape else None,
        "head_dim": draw(st.integers(1, 6)) if own_shape else None,
    }


@st.composite
def compressed(draw, layers):
    first = draw(st.integers(1, layers))
    groups = [{"ratio": draw(st.sampled_from([2, 4])), "layers": first, "top_k": 3}]
    if first < layers and draw(st.booleans()):
        groups.append({"ratio": 8, "layers": draw(st.integers(1, layers - first)), "top_k": None})
    return {
        "window": draw(st.integers(1, 20)),
        "groups": groups,
        "q_lora_rank": draw(st.integers(1, 6)),
        "o_lora_rank": draw(st.integers(1, 6)),
        "o_groups": draw(st.integers(1, 3)),
        "index_heads": draw(st.integers(1, 3)),
        "index_dim": draw(st.integers(1, 5)),
    }


@st.composite
def experts(draw, layers):
    count = draw(st.integers(1, 6))
    return {
        "layers": draw(st.integers(1, layers)),
        "experts": count,
        "experts_per_token": draw(st.integers(1, count)),
        "ffn": draw(st.sampled_from([8, 16])),
        "shared_ffn": draw(st.sampled_from([0, 8])),
        "expert_hidden": draw(st.none() | st.integers(1, 8)),
        "beside_dense": draw(st.booleans()),
    }
