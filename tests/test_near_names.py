"""Names as hubs and drivers print them lead to the ones that ship."""

import pytest

from replay.errors import UnknownNameError
from replay.gpu.spec import gpu_names, load_gpu, load_model, model_names
from replay.near_names import near_names


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3-30b-a3b"),
        ("google/gemma-3-27b-it", "gemma-3-27b"),
        ("deepseek-ai/DeepSeek-V3-0324", "deepseek-v3"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("h200", "h200-sxm"),
    ],
)
def test_a_hubs_or_drivers_name_finds_the_shipped_one(written: str, meant: str) -> None:
    load, known = (load_gpu, gpu_names()) if meant in gpu_names() else (load_model, model_names())
    assert meant in near_names(written, known)
    with pytest.raises(UnknownNameError) as caught:
        load(written)
    assert f"{meant}" in str(caught.value.hint).split("known:")[0]


def test_the_same_name_in_other_letters_is_the_only_one_meant() -> None:
    assert near_names("Llama_3.1 8B", model_names()) == ["llama-3.1-8b"]


def test_a_name_like_none_finds_none() -> None:
    assert near_names("xyz", model_names()) == []


def test_what_is_left_out_of_names_alone_still_finds_nothing_or_something_known() -> None:
    assert set(near_names("instruct", model_names())) <= set(model_names())
