"""Weights and KV of models of every kind, against a twin that counts layer by layer."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from replay.config.hardware import KV_DTYPE_BYTES, WEIGHT_DTYPE_BITS, Model, kv_bytes_in
from replay.errors import UnknownNameError
from replay.gpu.spec import load_model, splits_evenly
from tests.naive import sizes as naive_sizes
from tests.random_models import models
from tests.shared_data import SHARED, needs

GIB = 2**30
gpu_counts = st.sampled_from([1, 2, 4, 8])


@settings(max_examples=150, deadline=None)
@given(models())
def test_parameters_are_the_sum_of_all_matrices(model):
    linear, experts, kept = naive_sizes.weights(model)
    assert model.linear_parameters == linear
    assert model.routed_parameters == experts
    assert model.unquantised_parameters == kept
    assert model.parameters == linear + experts + kept
    assert model.active_parameters == sum(naive_sizes.weights(model, active=True))


@settings(max_examples=150, deadline=None)
@given(models(), gpu_counts, st.sampled_from(["native", *WEIGHT_DTYPE_BITS]))
def test_weight_bytes_are_those_of_every_copy(model, gpus, dtype):
    if splits_evenly(model, gpus):
        expected = naive_sizes.weight_bytes(model, dtype, gpus)
        assert model.weight_bytes_in(dtype, gpus) == expected


@settings(max_examples=200, deadline=None)
@given(models(), st.integers(0, 70), gpu_counts, st.sampled_from(["bf16", "fp8"]))
def test_kv_of_a_sequence_is_what_its_tokens_left(model, tokens, gpus, dtype):
    if splits_evenly(model, gpus):
        size = KV_DTYPE_BYTES[dtype]
        expected = naive_sizes.kv_bytes(model, tokens, size, gpus)
        assert model.kv_bytes(tokens, dtype, gpus) == expected


@settings(max_examples=100, deadline=None)
@given(models(), gpu_counts)
def test_long_contexts_grow_by_their_growth_and_nothing_else(model, gpus):
    if splits_evenly(model, gpus):
        start, more = 800, 64  # whole entries of every ratio, and every window is full
        grown = model.kv_bytes(start + more, tensor_parallel=gpus)
        grown -= model.kv_bytes(start, tensor_parallel=gpus)
        exact = more * model.kv_growth_bytes(tensor_parallel=gpus)
        # An entry for several tokens is rounded up to bytes of one token, in each of two groups.
        assert grown <= exact <= grown + 4 * more
        rest = model.kv_bytes(start, tensor_parallel=gpus)
        rest -= model.sequence_bytes(tensor_parallel=gpus)
        assert 0 <= start * model.kv_growth_bytes(tensor_parallel=gpus) - rest <= 4 * start


@pytest.mark.parametrize(
    ("name", "kv_bytes"),
    [
        ("deepseek-v3", 61 * 576 * 2),
        ("kimi-k2", 61 * 576 * 2),
        ("glm-5", 78 * 576 * 2),
        ("gpt-oss-120b", 36 * 2 * 8 * 64 * 2),
        ("mixtral-8x7b", 131_072),
        ("qwen3.5-397b-a17b", 15 * 2 * 2 * 256 * 2),
        ("gemma-4-26b-a4b", 25 * 2 * 8 * 256 * 2 + 5 * 2 * 2 * 512 * 2),
    ],
)
def test_kv_bytes_per_token_by_hand(name, kv_bytes):
    assert load_model(name).kv_bytes_per_token == kv_bytes


def test_a_latent_is_stored_on_every_gpu():
    model = load_model("deepseek-v3")
    assert model.kv_growth_bytes("bf16", 8) == 8 * 70_272
    assert model.kv_growth_bytes("fp8", 8) == 4 * 70_272


def test_a_million_tokens_of_deepseek_v4_pro_take_what_is_published():
    # "9.62 GiB/sequence (in bf16)", https://news.triggerhive.com/entry/2026-04-25/...
    model = load_model("deepseek-v4-pro")
    windows = model.sequence_bytes()
    assert model.kv_bytes(2**20) - windows == pytest.approx(9.62 * GIB, rel=1e-3)
    # The same source: 8.7 times as much in V3.2, all in bf16; engines keep its index in 132 bytes.
    older = load_model("deepseek-v3.2").kv_bytes(2**20) + 2**20 * 61 * (2 * 128 - 132)
    assert older == pytest.approx(8.7 * 9.62 * GIB, rel=5e-3)


def test_sparse_latents_take_what_engines_give_them():
    """656 bytes of an FP8 latent and 132 of its index: 48,068 a token and GPU of DeepSeek V3.2."""
    model = load_model("deepseek-v3.2")
    assert model.pool_token_bytes("fp8", 8) == 8 * 61 * (512 + 16 + 128 + 132) == 8 * 48_068
    assert model.pool_token_bytes("bf16", 8) == 8 * 61 * (576 * 2 + 132)
    assert load_model("glm-5").pool_token_bytes("fp8") == 78 * (656 + 132)
    # Latents that all queries read are plain values, and so is an index beside keys and values.
    assert load_model("deepseek-v3").pool_token_bytes("fp8") == 61 * 576
    assert load_model("minimax-m3").pool_token_bytes() == 60 * 2048 + 57 * 256


CAPACITY = SHARED / "golden" / "hybrid" / "capacity.csv"
ONE_GROUP = {
    "llama-3.1-8b": "bf16", "deepseek-v3": "bf16", "deepseek-v3.2": "bf16",
    "deepseek-v3.2+fp8_ds_mla": "fp8", "kimi-k2": "bf16", "minimax-m3": "bf16",
}  # fmt: skip


@needs(CAPACITY)
@pytest.mark.parametrize("name", ONE_GROUP)
def test_bytes_of_a_token_are_those_of_the_engines_own_code(name):
    """vLLM 0.33 over real models of one KV group, on each GPU of 1 to 8."""
    rows = pl.read_csv(CAPACITY).filter(pl.col("model") == name, pl.col("num_groups") == 1)
    assert set(rows["tp"].to_list()) >= {1, 2, 4}
    model = load_model(name.partition("+")[0])
    for row in rows.unique(["tp", "bytes_per_block"]).iter_rows(named=True):
        token = model.pool_token_bytes(ONE_GROUP[name], row["tp"])
        assert token * int(row["block_sizes"]) == row["bytes_per_block"] * row["tp"]


def test_mxfp4_checkpoints_weigh_what_they_do():
    # Published checkpoints: 13.76 and 65.25 GB of safetensors.
    assert load_model("gpt-oss-20b").weight_bytes == pytest.approx(13.76e9, rel=0.01)
    assert load_model("gpt-oss-120b").weight_bytes == pytest.approx(65.25e9, rel=0.01)


def test_windows_stop_at_their_length():
    model = load_model("gpt-oss-20b")
    assert model.kv_bytes(100) == 100 * model.kv_bytes_per_token
    layer = 2 * 8 * 64 * 2
    assert model.kv_bytes(10_000) == 12 * layer * (10_000 + 128)
    assert model.kv_growth_bytes() == 12 * layer
    assert model.sequence_bytes() == 12 * layer * 128


def test_a_state_does_not_grow():
    model = load_model("qwen3.5-27b")
    state = 48 * 128 * 128 * 4 + (2 * 16 * 128 + 48 * 128) * 3 * 2
    assert model.sequence_bytes() == 48 * state
    assert model.kv_bytes(1000) == 1000 * 65_536 + 48 * state
    assert model.sequence_bytes("fp8") == model.sequence_bytes()


def test_active_parameters_are_those_of_the_experts_used():
    model = load_model("mixtral-8x7b")
    expert = 3 * 4096 * 14_336
    assert model.parameters - model.active_parameters == 32 * 6 * expert


def test_other_weight_types_leave_embeddings_alone():
    model = load_model("llama-3.1-8b")
    kept = 2 * 2 * 128_256 * 4096 + 2 * 65 * 4096
    linear = model.parameters - kept // 2
    assert model.weight_bytes_in("bf16") == model.weight_bytes == 2 * model.parameters
    assert model.weight_bytes_in("fp8") == kept + linear + linear // 4096
    assert model.weight_bytes_in("fp4") == kept + linear * 9 // 16


def test_unknown_types_list_the_known_ones():
    model = load_model("llama-3.1-8b")
    with pytest.raises(UnknownNameError, match="unknown weight type") as caught:
        model.weight_bytes_in("fp6")
    assert "mxfp4" in caught.value.hint
    with pytest.raises(UnknownNameError, match="unknown KV type"):
        kv_bytes_in("fp4", 2)


DENSE = load_model("llama-3.1-8b").model_dump(exclude_unset=True)
MLA = load_model("deepseek-v3").model_dump(exclude_unset=True)


@pytest.mark.parametrize(
    ("base", "change", "said"),
    [
        (DENSE, {"ffn": 0}, "ffn is needed: 32 layers"),
        (DENSE, {"window": {"tokens": 8, "layers": 33}}, r"window.layers \(33\) is above the 32"),
        (DENSE, {"sources": {"heds": "x"}}, "sources names heds"),
        (DENSE, {"unverified": ["heds"]}, "unverified names heds"),
        (MLA, {"kv_heads": 8}, "kv_heads must be 1"),
        (MLA, {"head_dim": 128}, "head_dim must be 192"),
        (MLA, {"window": {"tokens": 8, "layers": 3}}, "mla and window do not go together"),
        (MLA, {"moe": MLA["moe"] | {"experts_per_token": 300}}, "is above experts"),
        (MLA, {"moe": MLA["moe"] | {"layers": 61}}, "ffn has no effect"),
    ],
)
def test_dimensions_that_contradict_each_other_are_refused(base, change, said):
    with pytest.raises(ValidationError, match=said):
        Model.model_validate(base | change)
