"""From `quantization_config` to the types of a model's weights."""

from __future__ import annotations

from typing import Any

from replay.config.explain import shown
from replay.config.published.keys import Keys

_METHODS = "fp8, mxfp4, gptq, awq, modelopt, compressed-tensors"
_ATTENTION = "self_attn"


def weight_types(keys: Keys, *, has_experts: bool) -> dict[str, Any]:
    """Return `weight_dtype` and, where experts differ, `expert_weight_dtype`; {} is bf16.

    Where attention is left out of quantisation and there are experts, only the experts are taken
    to be quantised.
    """
    config = keys.section("quantization_config")
    if config is None:
        return {}
    dtype = _type_of(config)
    if dtype is None:
        return {}
    if keys.get("expert_dtype") == "fp4":  # beside FP8: scales of eight bits for 32 values
        return {"weight_dtype": dtype, "expert_weight_dtype": "mxfp4"}
    if has_experts and _leaves_attention_out(config):
        return {"weight_dtype": "bf16", "expert_weight_dtype": dtype}
    return {"weight_dtype": dtype}


def _type_of(config: Keys) -> str | None:
    method = config.get("quant_method")
    if method in ("fp8", "mxfp4"):
        return str(method)
    if method in ("gptq", "awq"):
        return _of_bits(config, config.number("bits"), "int")
    if method == "modelopt":
        name = str(config.get("quant_algo")).lower()
        found = {"nvfp4": "fp4", "fp8": "fp8"}.get(name)
        if found is None:
            config.wrong.append(f"quant_algo must be NVFP4 or FP8 (got {shown(name)})")
        return found
    if method == "compressed-tensors":
        return _of_groups(config)
    config.wrong.append(f"quant_method must be one of {_METHODS} (got {shown(method)})")
    return None


def _of_groups(config: Keys) -> str | None:
    groups = config.get("config_groups")
    if not isinstance(groups, dict) or len(groups) != 1:
        config.wrong.append("config_groups must be a mapping of one group of weights")
        return None
    name, group = next(iter(groups.items()))
    if not isinstance(group, dict):
        config.wrong.append(f"config_groups.{name} must be a mapping (got {shown(group)})")
        return None
    weights = config.inside(group).section("weights")
    if weights is None:
        config.missing.append("config_groups.*.weights")
        return None
    if "mxfp4" in str(config.get("format")):
        return "mxfp4"
    return _of_bits(weights, weights.number("num_bits"), str(weights.get("type")))


def _of_bits(config: Keys, bits: int, kind: str) -> str | None:
    found = {(8, "float"): "fp8", (4, "float"): "fp4", (8, "int"): "int8", (4, "int"): "int4"}
    if (bits, kind) not in found:
        config.wrong.append(f"weights of {bits} bits ({shown(kind)}) are not known")
    return found.get((bits, kind))


def _leaves_attention_out(config: Keys) -> bool:
    names = ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers")
    left_out = [str(item) for name in names for item in config.items(name) or ()]
    # With or without wildcards at its end, but not a single projection of attention.
    return any(item.rstrip(".*$").endswith(_ATTENTION) for item in left_out)
