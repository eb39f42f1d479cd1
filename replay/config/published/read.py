"""Any supported model from the `config.json` that its publisher ships with the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from replay.config.explain import shown
from replay.config.hardware import Model
from replay.config.load import read_text
from replay.config.published.families import FAMILIES, REFUSED, Family
from replay.config.published.keys import Keys
from replay.config.published.quantization import weight_types
from replay.config.published.sections import (
    compressed_section,
    linear_section,
    mla_section,
    moe_section,
    sparse_section,
    window_section,
)
from replay.errors import ConfigError, Problem

INNER = ("text_config", "llm_config", "language_config")  # of models that see or hear
PLAIN = (
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
)
QUANTIZATION = "quantization_config"
QUANTIZATION_FILE = "hf_quant_config.json"  # where some publishers put it instead
MAX_BYTES = 4_000_000  # some list every module that is not quantised
_OWN_FILE = "write a model file with its dimensions: hardware/README.md"


def read_published(path: Path) -> Model:
    """Return the model that a config.json describes.

    Raises ConfigError for what is no JSON, for a `model_type` that is not known, with all keys that
    are missing or not understood, and InputError where the file cannot be read.
    """
    keys, outer = _keys(path)
    name = str(keys.get("model_type") or outer.get("model_type") or "")
    family = _family(name)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        message = f"model_type {shown(name)} is not known" if name else "lacks model_type"
        for key in PLAIN:
            keys.number(key)
        if keys.missing:
            message += f"; of what every model has it lacks {', '.join(keys.missing)}"
        raise ConfigError([Problem(str(path), message)], hint=f"{_OWN_FILE}; known: {known}")
    keys.defaults = family.defaults
    if outer.get(QUANTIZATION) is None and (path.parent / QUANTIZATION_FILE).is_file():
        beside = _mapping(path.parent / QUANTIZATION_FILE).get("quantization")
        if isinstance(beside, dict):
            outer.data = {**outer.data, QUANTIZATION: {**beside, "quant_method": "modelopt"}}
    data = _dimensions(keys, outer, family)
    if 0 in (keys.whole_numbers("attn_type_list") or ()):
        keys.refuse("attn_type_list", "layers with lightning attention")
    for refused, why in REFUSED.items():
        if keys.get(refused):
            keys.refuse(refused, why)
    problems = [f"lacks {name}" for name in keys.missing] + keys.wrong
    if problems:
        raise ConfigError([Problem(str(path), text) for text in problems], hint=_OWN_FILE)
    data |= {"name": _name(path), "sources": {"dimensions": str(path)}}
    try:
        return Model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            [Problem(str(path), _words(details)) for details in error.errors()],
            hint=_OWN_FILE,
        ) from error


def _keys(path: Path) -> tuple[Keys, Keys]:
    """Return the keys of the language model, and those of the file around them."""
    outer = Keys(_mapping(path))
    for name in INNER:
        inner = outer.section(name)
        if inner is not None:
            return inner, outer
    return outer, outer


def _words(details: ErrorDetails) -> str:
    """Return what pydantic says of a dimension, by the name that hardware files have for it."""
    place = ".".join(map(str, details["loc"]))
    text = details["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return f"{place}: {text} (got {shown(details['input'])})" if place else text


def _mapping(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_text(path, MAX_BYTES))
    except json.JSONDecodeError as error:
        problem = Problem(str(path), f"not JSON: {error.msg}", error.lineno, error.colno)
        raise ConfigError([problem]) from error
    except RecursionError as error:
        raise ConfigError([Problem(str(path), "nested too deep")]) from error
    except ValueError as error:  # Python makes no integer of thousands of digits
        problem = Problem(str(path), "a number of thousands of digits is out of range")
        raise ConfigError([problem]) from error
    if not isinstance(data, dict):
        raise ConfigError([Problem(str(path), "must be a mapping of keys to values")])
    return data


def _family(name: str) -> Family | None:
    """Return a family; a model that sees is called as its language model without `_text`."""
    return FAMILIES.get(name) or FAMILIES.get(f"{name}_text")


def _dimensions(keys: Keys, outer: Keys, family: Family) -> dict[str, Any]:
    layers = keys.number("num_hidden_layers")
    hidden, heads = keys.number("hidden_size"), keys.number("num_attention_heads")
    data: dict[str, Any] = {
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "vocab": keys.number("vocab_size"),
        "tied_embeddings": keys.flag(
            "tie_word_embeddings", outer.flag("tie_word_embeddings", family.tied)
        ),
        "gated_mlp": family.gated,
        "output_gate": keys.flag("attn_output_gate", family.output_gate)
        or keys.flag("mla_use_output_gate", False),
    }
    sections = {
        "moe": moe_section(keys, family, layers),
        "mla": mla_section(keys),
        "window": window_section(keys, family, layers),
        "linear": linear_section(keys, layers),
        "sparse": sparse_section(keys, layers),
        "compressed": compressed_section(keys, layers),
    }
    data |= {name: section for name, section in sections.items() if section is not None}
    if "mla" not in data:
        data["head_dim"] = keys.number("head_dim", max(hidden // heads, 1))
        data["kv_heads"] = keys.number("num_key_value_heads", heads)
        _two_shapes(keys, data)
    moe = data.get("moe")
    if moe is None or moe["layers"] < layers or moe.get("beside_dense"):
        key = family.dense_key if moe is not None else "intermediate_size"
        data["ffn"] = keys.number(key)
    holder = keys if keys.get(QUANTIZATION) is not None else outer
    types = weight_types(holder, has_experts=moe is not None)
    keys.missing += [name for name in holder.missing if name not in keys.missing]
    keys.wrong += [text for text in holder.wrong if text not in keys.wrong]
    return data | types


def _two_shapes(keys: Keys, data: dict[str, Any]) -> None:
    """Give full layers the shape of their own that Gemma 4 has, and windows the other one."""
    if keys.get("global_head_dim") is None or "window" not in data:
        return
    data["window"] |= {"kv_heads": data["kv_heads"], "head_dim": data["head_dim"]}
    data["head_dim"] = keys.number("global_head_dim")
    data["kv_heads"] = keys.number("num_global_key_value_heads", data["kv_heads"])
    data["keys_are_values"] = keys.flag("attention_k_eq_v", False)


def _name(path: Path) -> str:
    """Return what to call the model: its folder, or its file where that says more."""
    if path.name == "config.json":
        return path.resolve().parent.name
    return path.stem.removesuffix("_config")
