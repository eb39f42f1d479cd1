from pathlib import Path

import pytest
from pydantic import ValidationError

from replay.config.hardware import Model
from replay.errors import ConfigError, InputError, UnknownNameError
from replay.gpu.spec import gpu_names, kv_heads_per_gpu, load_gpu, load_model, model_names
from replay.resources import data_folder

GPU_FILES = sorted((data_folder("hardware") / "gpus").glob("*"))
MODEL_FILES = sorted((data_folder("hardware") / "models").glob("*"))
NOT_SOURCED = {"name", "vendor", "architecture", "host", "sources", "unverified", "fit"}


def copy_with(source: Path, target: Path, old: str, new: str) -> Path:
    text = source.read_text()
    assert text.count(old) == 1
    target.write_text(text.replace(old, new))
    return target


def test_the_gpus_and_models_most_asked_for_ship():
    assert {"a100-sxm-80gb", "h100-sxm", "h200-sxm"} <= set(gpu_names())
    assert {"llama-2-7b", "llama-3.1-8b", "llama-3.1-70b"} <= set(model_names())


@pytest.mark.parametrize("name", gpu_names())
def test_gpu_file_is_named_after_its_gpu_and_says_where_every_number_is_from(name):
    gpu = load_gpu(name)
    given = {key for key in gpu.model_fields_set if getattr(gpu, key) is not None}
    assert gpu.name == name
    assert set(gpu.sources) == given - NOT_SOURCED
    assert set(gpu.unverified) <= given


@pytest.mark.parametrize("name", model_names())
def test_model_file_is_named_after_its_model_and_says_where_every_number_is_from(name):
    model = load_model(name)
    declared = {"declared_parameters", "declared_active_parameters"}
    given = {key for key in declared if getattr(model, key) is not None}
    assert model.name == name
    assert {"dimensions"} | given <= set(model.sources)
    assert set(model.unverified) <= set(Model.model_fields) | {"dimensions"}


@pytest.mark.parametrize("name", model_names())
def test_parameters_from_dimensions_agree_with_the_declared_total(name):
    model = load_model(name)
    if model.declared_parameters is None:
        assert "no total of the publisher" in model.note
        return
    gap = abs(model.parameters / model.declared_parameters - 1)
    assert (gap > 0.02) == (model.parameter_gap is not None), f"{gap:.1%} off"


def test_llama_3_1_8b_has_the_parameters_of_its_checkpoint():
    # 8,030,261,248 is what the published safetensors index sums to.
    model = load_model("llama-3.1-8b")
    assert model.parameters == 8_030_261_248
    assert model.weight_bytes == 16_060_522_496


def test_tied_embeddings_are_counted_once():
    model = load_model("llama-3.1-8b")
    tied = model.model_copy(update={"tied_embeddings": True})
    assert model.parameters - tied.parameters == 128_256 * 4_096


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [
        ("llama-2-7b", 524_288),
        ("llama-3.1-8b", 131_072),
        ("llama-3.1-70b", 327_680),
        ("qwen2.5-7b", 57_344),
    ],
)
def test_kv_bytes_per_token_are_the_published_ones(name, kv_bytes):
    assert load_model(name).kv_bytes_per_token == kv_bytes


@pytest.mark.parametrize(("gpus", "heads"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_kv_heads_are_split_and_then_repeated(gpus, heads):
    assert kv_heads_per_gpu(load_model("llama-3.1-8b"), gpus) == heads


def test_a_model_that_does_not_split_evenly_says_what_would():
    with pytest.raises(InputError) as caught:
        kv_heads_per_gpu(load_model("qwen2.5-7b"), 8)
    assert "heads 28" in caught.value.message
    assert caught.value.hint == "tensor_parallel may be 1, 2, 4"


def test_kv_heads_that_neither_split_nor_repeat_are_refused():
    model = load_model("llama-3.1-8b").model_copy(
        update={"heads": 24, "kv_heads": 8, "ffn": 24 * 512}
    )
    with pytest.raises(InputError, match="cannot be split over 6 GPUs"):
        kv_heads_per_gpu(model, 6)


def test_unknown_gpu_names_the_near_ones():
    with pytest.raises(UnknownNameError) as caught:
        load_gpu("H100")
    assert "h100-sxm" in caught.value.hint.split("known:")[0]
    assert caught.value.exit_code == 2


def test_unknown_model_lists_all_there_are():
    with pytest.raises(UnknownNameError) as caught:
        load_model("gpt-2")
    assert "llama-3.1-8b" in caught.value.hint


def test_a_gpu_can_be_the_users_own_file(tmp_path):
    own = copy_with(
        data_folder("hardware") / "gpus" / "h100-sxm.yaml",
        tmp_path / "mine.yaml",
        "name: h100-sxm",
        "name: mine",
    )
    assert load_gpu(own).name == "mine"
    assert load_gpu(str(own)).sms == 132


def test_a_file_with_a_misspelt_key_is_refused_at_its_place(tmp_path):
    own = copy_with(
        data_folder("hardware") / "gpus" / "h100-sxm.yaml",
        tmp_path / "mine.yaml",
        "\nsms:",
        "\nsm:",
    )
    with pytest.raises(ConfigError, match=r"mine\.yaml:10:1: sm: unknown key, did you mean sms"):
        load_gpu(own)


def test_an_efficiency_above_one_is_refused(tmp_path):
    own = copy_with(
        data_folder("hardware") / "gpus" / "h100-sxm.yaml",
        tmp_path / "mine.yaml",
        "\n  gemm_efficiency: 0.706",
        "\n  gemm_efficiency: 1.01",
    )
    with pytest.raises(ConfigError, match=r"fit\.gemm_efficiency"):
        load_gpu(own)


def test_heads_must_share_kv_heads_evenly():
    fields = load_model("llama-3.1-8b").model_dump() | {"kv_heads": 5}
    with pytest.raises(ValidationError, match="must be a multiple of kv_heads"):
        Model.model_validate(fields)


def test_a_missing_file_is_an_error_not_an_unknown_name(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_model(tmp_path / "none.yaml")


def test_what_was_loaded_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_gpu("h100-sxm").sms = 1
