import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import DoesNotFitError, InputError, UnknownNameError
from replay.gpu.memory import LONG_CONTEXT_TOKENS, activation_bytes, kv_pool
from replay.gpu.spec import load_gpu, load_model, splits_evenly
from tests.random_models import models

H100 = load_gpu("h100-sxm")
H200 = load_gpu("h200-sxm")
LLAMA_8B = load_model("llama-3.1-8b")
LLAMA_70B = load_model("llama-3.1-70b")
ENGINE = {"memory_utilization": 0.9, "max_batched_tokens": 8192, "max_sequences": 256}


def test_llama_8b_on_one_h100_by_hand():
    pool = kv_pool(H100, LLAMA_8B, tensor_parallel=1, **ENGINE)
    weights = 16_060_522_496
    # 8192 tokens of hidden state in bf16, and 32 bytes for each of 256 x 128,256 logits.
    activations = 8192 * 4096 * 2 + 256 * 128_256 * 32
    assert pool.kv_bytes_per_token == 131_072
    assert pool.weight_bytes == weights
    assert pool.activation_bytes == activations
    assert pool.pool_bytes == 85_029_158_912 * 9 // 10 - weights - activations


def test_llama_8b_on_one_h100_holds_about_what_engines_report():
    # Start-up logs of vLLM on H100 80 GB print 420,000 to 450,000 tokens for this model.
    pool = kv_pool(H100, LLAMA_8B, tensor_parallel=1, **ENGINE)
    assert pool.pool_bytes // pool.kv_bytes_per_token == pytest.approx(447_000, rel=0.03)


def test_two_gpus_hold_one_copy_of_the_weights():
    pool = kv_pool(H100, LLAMA_70B, tensor_parallel=2, **ENGINE)
    assert pool.weight_bytes == LLAMA_70B.weight_bytes
    assert pool.kv_bytes_per_token == 327_680


def test_kv_heads_are_stored_twice_on_twice_as_many_gpus_as_heads():
    pool = kv_pool(H100, LLAMA_70B, tensor_parallel=16, **ENGINE)
    assert pool.kv_bytes_per_token == 2 * 327_680
    # Eight more copies of a head's K and V projections in each of 80 layers.
    assert pool.weight_bytes == LLAMA_70B.weight_bytes + 8 * 80 * 2 * 8192 * 128 * 2


def test_a_wide_mlp_decides_the_activations_of_a_large_batch():
    peak = activation_bytes(LLAMA_8B, tensor_parallel=1, max_batched_tokens=65_536, max_sequences=1)
    assert peak == 65_536 * 2 * (2 * 4096 + 3 * 14_336)


def test_utilization_is_the_decimal_it_was_written_as():
    gpu = H100.model_copy(update={"memory_bytes": 10**11})
    pool = kv_pool(gpu, LLAMA_8B, tensor_parallel=1, **ENGINE)
    assert pool.pool_bytes + pool.weight_bytes + pool.activation_bytes == 9 * 10**10


def test_llama_70b_on_one_h100_says_by_how_much_it_does_not_fit():
    with pytest.raises(DoesNotFitError) as caught:
        kv_pool(H100, LLAMA_70B, tensor_parallel=1, **ENGINE)
    assert "llama-3.1-70b does not fit on 1 x h100-sxm" in caught.value.message
    # 141.1 GB of weights and 1.7 GB of activations against 76.5 GB: 66.3 GB, or 61.7 GiB.
    assert "61.71GiB more than the 71.27GiB" in caught.value.message
    assert caught.value.hint == (
        "tensor_parallel 2 is the smallest that fits; 1 x b200-sxm, gb200 or b300-sxm would do"
    )
    assert caught.value.exit_code == 2


def test_a_larger_gpu_is_suggested_where_one_would_do():
    with pytest.raises(DoesNotFitError) as caught:
        kv_pool(H100, load_model("llama-3.1-405b"), tensor_parallel=8, **ENGINE)
    assert caught.value.hint == (
        "tensor_parallel 16 is the smallest that fits; 8 x h20-3e, h200-sxm or gh200-144gb would do"
    )


def test_a_model_that_no_gpu_count_holds_says_so():
    tiny = H100.model_copy(update={"memory_bytes": 10**8})
    with pytest.raises(DoesNotFitError) as caught:
        kv_pool(tiny, load_model("llama-3.1-405b"), tensor_parallel=1, **ENGINE)
    assert caught.value.hint == "use a smaller model, or GPUs with more memory"


def test_heads_that_do_not_split_are_refused():
    with pytest.raises(InputError, match="cannot be split over 3 GPUs"):
        kv_pool(H100, LLAMA_8B, tensor_parallel=3, **ENGINE)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_utilization_outside_its_range_is_refused(share):
    with pytest.raises(InputError, match="memory_utilization"):
        kv_pool(H100, LLAMA_8B, tensor_parallel=1, **(ENGINE | {"memory_utilization": share}))


@given(st.integers(1, 2**17), st.integers(1, 4096), st.sampled_from([1, 2, 4, 8]))
def test_a_larger_batch_never_leaves_more_for_kv(tokens, sequences, gpus):
    def pool_bytes(more_tokens, more_sequences):
        return kv_pool(
            H200,
            LLAMA_8B,
            tensor_parallel=gpus,
            memory_utilization=0.95,
            max_batched_tokens=tokens + more_tokens,
            max_sequences=sequences + more_sequences,
        ).pool_bytes

    assert pool_bytes(0, 0) >= pool_bytes(1, 0)
    assert pool_bytes(0, 0) >= pool_bytes(0, 1)


def test_weights_and_kv_take_the_types_they_are_given():
    plain = kv_pool(H100, LLAMA_8B, tensor_parallel=1, **ENGINE)
    small = kv_pool(
        H100, LLAMA_8B, tensor_parallel=1, **ENGINE, weight_dtype="fp8", kv_dtype="int8"
    )
    assert small.kv_bytes_per_token == 65_536
    assert small.weight_bytes == LLAMA_8B.weight_bytes_in("fp8")
    freed = plain.weight_bytes - small.weight_bytes
    assert small.pool_bytes == plain.pool_bytes + freed
    assert small.activation_bytes == plain.activation_bytes


@pytest.mark.parametrize("wrong", [{"weight_dtype": "fp7"}, {"kv_dtype": "fp4"}])
def test_unknown_types_are_refused(wrong):
    with pytest.raises(UnknownNameError):
        kv_pool(H100, LLAMA_8B, tensor_parallel=1, **ENGINE, **wrong)


def test_latents_fill_every_gpu_alike():
    model = load_model("deepseek-v3")
    pool = kv_pool(load_gpu("h200-sxm"), model, tensor_parallel=8, **ENGINE)
    assert pool.kv_bytes_per_token == 8 * 70_272
    down = 61 * 7168 * (1536 + 576)  # what compresses queries and KV is on every GPU
    assert pool.weight_bytes == model.weight_bytes_in("native") + 7 * (down + down // 4096)


def test_few_windows_are_set_aside_for_every_sequence():
    model = load_model("gpt-oss-20b")
    pool = kv_pool(H100, model, tensor_parallel=1, **ENGINE)
    assert pool.kv_bytes_per_token == 24_576
    assert pool.sequence_bytes == 128 * 24_576
    assert pool.reserved_bytes == 256 * pool.sequence_bytes
    budget = 85_029_158_912 * 9 // 10
    used = pool.weight_bytes + pool.activation_bytes + pool.reserved_bytes
    assert pool.pool_bytes == budget - used
    assert "768MiB of the KV memory are set aside" in pool.notes[0]


def test_large_windows_take_the_share_they_have_of_a_long_sequence():
    model = load_model("gemma-3-27b")
    pool = kv_pool(H100, model, tensor_parallel=1, **ENGINE)
    window = 52 * 2 * 16 * 128 * 2 * 1024
    full = 10 * 2 * 16 * 128 * 2 * LONG_CONTEXT_TOKENS
    assert pool.reserved_bytes < 256 * window
    share = pool.reserved_bytes / (pool.reserved_bytes + pool.pool_bytes)
    assert share == pytest.approx(window / (window + full), rel=1e-6)


def test_states_are_set_aside_too():
    pool = kv_pool(H100, load_model("qwen3.5-27b"), tensor_parallel=1, **ENGINE)
    assert pool.kv_bytes_per_token == 65_536
    assert 0 < pool.reserved_bytes < pool.pool_bytes


def test_windows_in_every_layer_are_counted_as_if_none_were_full():
    windowed = kv_pool(H100, load_model("mistral-7b-v0.1"), tensor_parallel=1, **ENGINE)
    plain = kv_pool(H100, load_model("mistral-7b"), tensor_parallel=1, **ENGINE)
    assert windowed == plain
    assert windowed.notes == ()


def test_an_expert_layer_holds_its_experts_outputs():
    model = load_model("mixtral-8x7b")
    peak = activation_bytes(model, tensor_parallel=2, max_batched_tokens=65_536, max_sequences=1)
    assert peak == 65_536 * 2 * (2 * 4096 + 2 * (3 * 14_336 // 2 + 4096))


def test_a_model_without_kv_has_no_pool():
    state = {"kind": "mamba2", "layers": 32, "key_heads": 8, "key_head_dim": 128,
             "value_heads": 64, "value_head_dim": 64}  # fmt: skip
    fields = LLAMA_8B.model_dump(exclude_unset=True) | {"linear": state, "name": "states"}
    model = type(LLAMA_8B).model_validate(fields)
    with pytest.raises(InputError, match="states keeps no KV"):
        kv_pool(H100, model, tensor_parallel=1, **ENGINE)


def test_experts_that_do_not_split_are_refused():
    with pytest.raises(InputError, match=r"over 64 GPUs \(heads 32, .*experts' ffn 768\)"):
        kv_pool(H100, load_model("qwen3-30b-a3b"), tensor_parallel=64, **ENGINE)


@settings(max_examples=60, deadline=None)
@given(models(), st.sampled_from([1, 2, 4]), st.integers(1, 500), st.integers(1, 4096))
def test_the_parts_of_a_pool_are_the_memory(model, gpus, sequences, tokens):
    engine = {"max_batched_tokens": tokens, "max_sequences": sequences}
    if not splits_evenly(model, gpus) or not model.kv_bytes_per_token:
        return
    pool = kv_pool(H100, model, tensor_parallel=gpus, memory_utilization=0.5, **engine)
    parts = pool.weight_bytes + pool.activation_bytes + pool.reserved_bytes + pool.pool_bytes
    assert parts == H100.memory_bytes * gpus // 2
    assert 0 <= pool.reserved_bytes <= sequences * pool.sequence_bytes
    assert pool.kv_bytes_per_token == model.pool_token_bytes("bf16", gpus)
