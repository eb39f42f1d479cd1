"""Models read from the config.json that is published with their weights."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.published.families import FAMILIES
from replay.config.published.read import read_published
from replay.errors import ConfigError, InputError
from replay.gpu.spec import load_model
from tests import published_configs as published

DESCRIPTIONS = {"name", "sources", "unverified", "note", "parameter_gap", "declared_parameters",
                "declared_active_parameters"}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Write a config into a folder of its own and return the path of the file."""

    def write(config, folder="Some-Model"):
        path = tmp_path / folder / "config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    return write


def problems(path):
    with pytest.raises(ConfigError) as caught:
        read_published(path)
    return "\n".join(problem.message for problem in caught.value.problems), caught.value


@pytest.mark.parametrize("name", published.SHIPPED)
def test_the_config_and_the_shipped_file_describe_one_model(written, name):
    read = load_model(written(published.SHIPPED[name]))
    shipped = load_model(name)
    assert read.model_dump(exclude=DESCRIPTIONS) == shipped.model_dump(exclude=DESCRIPTIONS)
    assert read.parameters == shipped.parameters


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (published.DEEPSEEK_V2_LITE, 15.7e9),  # 16B-A2.4B: 15.7 on its card
        (published.PHI3, 3.82e9),
        (published.PHI2, 2.78e9),
    ],
)
def test_parameters_of_models_that_do_not_ship_are_those_published(written, config, parameters):
    assert load_model(written(config)).parameters == pytest.approx(parameters, rel=0.005)


def test_a_model_is_called_after_its_folder_and_says_what_it_was_read_from(written):
    path = written(published.LLAMA, "Llama-3.1-8B")
    model = load_model(path)
    assert model.name == "Llama-3.1-8B"
    assert model.sources == {"dimensions": str(path)}
    assert model.declared_parameters is None
    assert "has 8.03 billion parameters by its dimensions" in model.notes[0]
    assert load_model(path.parent) == model


def test_a_window_as_long_as_the_context_is_none(written):
    config = published.MISTRAL | {"sliding_window": 32768}
    assert load_model(written(config)).window is None


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (published.QWEN2 | {"use_sliding_window": True, "max_window_layers": 20}, 8),
        (published.GEMMA2 | {"num_hidden_layers": 27}, 14),
        (published.GPT_OSS
         | {"layer_types": ["full_attention"] * 20 + ["sliding_attention"] * 4}, 4),
        (published.LLAMA4 | {"text_config": published.LLAMA4["text_config"]
                             | {"no_rope_layers": [1, 1, 0, 0] * 12}}, 24),
    ],
)  # fmt: skip
def test_windows_are_in_the_layers_that_the_family_says(written, config, layers):
    assert load_model(written(config)).window.layers == layers


@pytest.mark.parametrize(
    ("change", "layers"),
    [
        ({"decoder_sparse_step": 2}, 24),
        ({"mlp_only_layers": [0, 1, 47]}, 45),
        ({"decoder_sparse_step": None, "mlp_only_layers": None, "first_k_dense_replace": 5}, 43),
        ({"decoder_sparse_step": None, "mlp_only_layers": None, "moe_layer_freq": 3}, 16),
    ],
)
def test_experts_are_in_the_layers_that_the_keys_say(written, change, layers):
    model = load_model(written(published.QWEN3_MOE | change))
    assert model.moe.layers == layers
    assert model.ffn == 6144


@pytest.mark.parametrize(
    ("config", "types"),
    [
        (None, ("bf16", None)),
        ({"quant_method": "fp8"}, ("fp8", None)),
        ({"quant_method": "awq", "bits": 4}, ("int4", None)),
        ({"quant_method": "gptq", "bits": 8}, ("int8", None)),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("fp4", None)),
        ({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["model.layers.0.self_attn*"]},
         ("bf16", "fp8")),
        ({"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn.k_norm"]},
         ("fp8", None)),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized",
          "config_groups": {"g": {"weights": {"num_bits": 4, "type": "int"}}}}, ("int4", None)),
    ],
)  # fmt: skip
def test_types_of_weights_follow_from_the_quantisation(written, config, types):
    model = load_model(written(published.QWEN3_MOE | {"quantization_config": config}))
    assert (model.weight_dtype, model.expert_weight_dtype) == types


def test_quantisation_may_stand_in_a_file_beside(written):
    path = written(published.LLAMA)
    beside = {"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    path.with_name("hf_quant_config.json").write_text(json.dumps(beside))
    assert load_model(path).weight_dtype == "fp8"


def test_an_unknown_family_is_refused_and_the_known_are_listed(written):
    said, error = problems(written(published.LLAMA | {"model_type": "rwkv"}))
    assert said == "model_type 'rwkv' is not known"
    assert all(name in error.hint for name in FAMILIES)
    said, _ = problems(written({"model_type": "rwkv", "hidden_size": 8, "n_layer": 2}))
    assert "it lacks num_attention_heads (or n_head), intermediate_size" in said


def test_every_missing_key_is_named_at_once(written):
    said, _ = problems(
        written({"model_type": "deepseek_v3", "kv_lora_rank": 512, "num_experts": 4})
    )
    for name in ("num_hidden_layers", "hidden_size", "vocab_size", "v_head_dim",
                 "num_experts_per_tok", "moe_intermediate_size"):  # fmt: skip
        assert f"lacks {name}" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": "4096"}, "hidden_size must be a whole number from 1 (got '4096')"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number from 1 (got 0)"),
        ({"vocab_size": True}, "vocab_size must be a whole number"),
        ({"tie_word_embeddings": 1}, "tie_word_embeddings must be true or false (got 1)"),
        ({"num_key_value_heads": 5}, "heads (32) must be a multiple of kv_heads (5)"),
        ({"sliding_window": 4096}, "sliding_window is not modelled"),
        ({"num_kv_shared_layers": 10}, "num_kv_shared_layers is not modelled: layers that share"),
        ({"quantization_config": {"quant_method": "new"}}, "quant_method must be one of fp8"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "weights of 3 bits"),
        ({"attn_type_list": [0, 1]}, "attn_type_list is not modelled"),
        ({"layer_types": ["full_attention"], "sliding_window": 8}, "a list of one item a layer"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_key(written, change, said):
    assert said in problems(written(published.LLAMA | change))[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", ":1:2: not JSON"),
        ("[1]", "must be a mapping"),
        ("{}", "lacks model_type"),
        ("[" * 100_000, "nested too deep"),
        ('{"model_type": "llama", "text_config": 3}', "text_config must be a mapping"),
    ],
)
def test_what_is_no_config_is_refused(written, text, said):
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        load_model(path)
    assert said in caught.value.message


def test_a_config_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path / "config.json")


KEYS = sorted(
    {key for config in published.SHIPPED.values() for key in config}
    | set(published.KIMI_K3["text_config"])
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(list(published.SHIPPED.values())),
    st.dictionaries(st.sampled_from(KEYS), junk, max_size=4),
    st.booleans(),
)
def test_junk_in_any_key_is_an_error_of_the_file_or_none(tmp_path_factory, base, changes, inside):
    config = dict(base)
    if inside and "text_config" in config:
        config["text_config"] = config["text_config"] | changes
    else:
        config |= changes
    path = tmp_path_factory.mktemp("junk") / "config.json"
    path.write_text(json.dumps(config))
    try:
        model = load_model(path)
    except ConfigError:
        return
    assert model.parameters > 0
    assert model.kv_bytes(100) >= 0
