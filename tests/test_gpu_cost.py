import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.gpu.cost import step_cost
from replay.gpu.spec import gpu_names, load_gpu, load_model, splits_evenly
from replay.kernels.cost import decode_attention_ns, prefill_attention_ns, step_ns
from tests import naive_cost

H100 = load_gpu("h100-sxm")
LLAMA_8B = load_model("llama-3.1-8b")
GPUS = [load_gpu(name) for name in gpu_names()]
MODELS = [
    load_model(name) for name in ("llama-2-7b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b")
]
MAX_TOKENS, MAX_SEQUENCES = 2200, 40

replicas = st.tuples(
    st.sampled_from(GPUS), st.sampled_from(MODELS), st.sampled_from([1, 2, 4, 8, 16])
).filter(lambda replica: splits_evenly(replica[1], replica[2]))
chunks = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 150_000)), max_size=4)
contexts = st.lists(st.integers(1, 150_000), max_size=30)


def cost_of(gpu, model, gpus, *, tokens=MAX_TOKENS, sequences=MAX_SEQUENCES):
    return step_cost(
        gpu, model, tensor_parallel=gpus, max_batched_tokens=tokens, max_sequences=sequences
    )


def whole_step_ns(cost, *, chunks=(), contexts=(), sampled=0):
    tokens = sum(new for new, _ in chunks) + len(contexts)
    prefill = sum(prefill_attention_ns(cost.attention, new, cached) for new, cached in chunks)
    decode = decode_attention_ns(cost.attention, len(contexts), sum(contexts))
    return step_ns(cost.linear_ns[tokens], cost.head_ns[sampled], float(prefill), decode)


@settings(max_examples=60, deadline=None)
@given(replicas, chunks, contexts)
def test_a_step_costs_what_the_formulas_say(replica, chunks, contexts):
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    fast = whole_step_ns(cost_of(*replica), **step)
    assert fast == pytest.approx(naive_cost.step_ns(*replica, **step), rel=1e-9, abs=1)


@settings(max_examples=60, deadline=None)
@given(replicas, chunks, contexts)
def test_no_step_beats_the_hardware(replica, chunks, contexts):
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    assert whole_step_ns(cost_of(*replica), **step) >= naive_cost.floor_ns(*replica, **step)


@settings(max_examples=60, deadline=None)
@given(replicas, chunks, contexts)
def test_no_step_beats_perfect_hardware_either(replica, chunks, contexts):
    gpu, model, gpus = replica
    fit = {name: 1.0 for name in type(gpu.fit).model_fields if name.endswith("_efficiency")}
    perfect = gpu.model_copy(
        update={"fit": gpu.fit.model_copy(update=fit | {"layer_ns": 0.0, "all_reduce_ns": 0.0})}
    )
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    floor = naive_cost.floor_ns(perfect, model, gpus, **step)
    # Sums of many floats: allow the last few of their 53 bits.
    assert whole_step_ns(cost_of(perfect, model, gpus), **step) >= floor * (1 - 1e-12)


@settings(max_examples=20, deadline=None)
@given(replicas)
def test_more_tokens_or_rows_never_cost_less(replica):
    cost = cost_of(*replica)
    assert (np.diff(cost.linear_ns) >= 0).all()
    assert (np.diff(cost.head_ns) >= 0).all()


@given(replicas, st.integers(0, 9000), st.integers(0, 200_000), st.integers(1, 300))
@settings(deadline=None)
def test_longer_chunks_and_contexts_never_cost_less(replica, new, cached, more):
    attention = cost_of(*replica, tokens=1).attention
    here = prefill_attention_ns(attention, new, cached)
    assert prefill_attention_ns(attention, new + more, cached) >= here
    assert prefill_attention_ns(attention, new, cached + more) >= here


@given(replicas, st.integers(0, 500), st.integers(0, 10**8), st.integers(1, 300))
@settings(deadline=None)
def test_more_decodes_and_longer_contexts_never_cost_less(replica, requests, keys, more):
    attention = cost_of(*replica, tokens=1).attention
    here = decode_attention_ns(attention, requests, keys)
    assert decode_attention_ns(attention, requests + more, keys) >= here
    assert decode_attention_ns(attention, requests, keys + more) >= here


def test_an_empty_step_is_free():
    cost = cost_of(H100, LLAMA_8B, 1)
    assert cost.linear_ns[0] == cost.head_ns[0] == 0.0
    assert prefill_attention_ns(cost.attention, 0, 4096) == 0.0
    assert decode_attention_ns(cost.attention, 0, 0) == 0.0
    assert whole_step_ns(cost) == 0


def test_tables_cover_every_batch_and_are_plain_arrays():
    cost = cost_of(H100, LLAMA_8B, 1, tokens=8192, sequences=256)
    assert cost.linear_ns.shape == (8193,)
    assert cost.head_ns.shape == (257,)
    for array in (cost.linear_ns, cost.head_ns, cost.attention):
        assert array.dtype == np.float64
        assert array.flags.c_contiguous


def test_a_step_is_rounded_up_to_whole_nanoseconds():
    assert step_ns(10.0, 0.0, 0.25, 0.25) == 11
    assert step_ns(10.0, 1.0, 2.0, 3.0) == 16


def test_lm_head_of_one_row_reads_its_matrix_once_by_hand():
    head = cost_of(H100, LLAMA_8B, 1).head_ns[1]
    read_s = 2 * (4096 * 128_256 + 4096 + 128_256) / (3.35e12 * H100.fit.memory_efficiency)
    assert head == pytest.approx(read_s * 1e9, rel=1e-3)


def test_decode_of_one_token_is_about_a_read_of_the_layers():
    linear = cost_of(H100, LLAMA_8B, 1).linear_ns[1]
    read_ns = 32 * LLAMA_8B.layer_parameters * 2 / (3.35e12 * H100.fit.memory_efficiency) * 1e9
    fixed_ns = 32 * H100.fit.layer_ns
    assert linear == pytest.approx(read_ns + fixed_ns, rel=0.01)


def test_a_short_suffix_on_a_long_cached_context_costs_one_tile_over_it():
    attention = cost_of(H100, LLAMA_8B, 1).attention
    tile_ns = 32 * 4 * 128 * 128 * (65_536 + 8 + 64) / (989e12 / 132 * 0.604) * 1e9
    suffix = prefill_attention_ns(attention, 16, 65_536)
    assert suffix == pytest.approx(tile_ns, rel=0.01)
    assert prefill_attention_ns(attention, 128, 65_536) == pytest.approx(suffix, rel=0.01)


def test_a_short_suffix_is_far_above_what_its_arithmetic_needs():
    pairs = 16 * 65_536 + 16 * 17 / 2
    arithmetic_ns = 32 * 4 * 128 * 32 * pairs / (989e12 * 0.604) * 1e9
    attention = cost_of(H100, LLAMA_8B, 1).attention
    assert prefill_attention_ns(attention, 16, 65_536) > 20 * arithmetic_ns


def test_one_wave_of_tiles_lasts_as_long_as_its_longest():
    # 512 new tokens are 4 tiles of each of 32 heads: 128 tiles on 132 SMs, one wave. Its last
    # tile sees all 512 keys where the average one sees 320.
    attention = cost_of(H100, LLAMA_8B, 1).attention
    longest_ns = 32 * 4 * 128 * 128 * 512 / (989e12 / 132 * 0.604) * 1e9
    assert prefill_attention_ns(attention, 512, 0) == pytest.approx(longest_ns, rel=0.02)


def test_a_long_prompt_reaches_the_attention_efficiency():
    attention = cost_of(H100, LLAMA_8B, 1).attention
    new = 2**17
    arithmetic_ns = 32 * 4 * 128 * 32 * (new * (new + 1) / 2) / (989e12 * 0.604) * 1e9
    assert prefill_attention_ns(attention, new, 0) == pytest.approx(arithmetic_ns, rel=0.01)


def slower_all_reduce(gpu, by_ns):
    slower = gpu.fit.model_copy(update={"all_reduce_ns": gpu.fit.all_reduce_ns + by_ns})
    return gpu.model_copy(update={"fit": slower})


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_each_layer_waits_for_two_all_reduces(gpus):
    slower = slower_all_reduce(H100, 1000.0)
    more = cost_of(slower, LLAMA_8B, gpus).linear_ns - cost_of(H100, LLAMA_8B, gpus).linear_ns
    assert more[1:] == pytest.approx(32 * 2 * 1000.0)
    assert more[0] == 0.0


def test_one_gpu_needs_no_all_reduce():
    slower = slower_all_reduce(H100, 1000.0)
    assert (cost_of(slower, LLAMA_8B, 1).linear_ns == cost_of(H100, LLAMA_8B, 1).linear_ns).all()


def test_all_reduce_moves_the_ring_share_of_the_hidden_states():
    halved = H100.model_copy(update={"link_bytes_per_s": H100.link_bytes_per_s // 2})
    more = cost_of(halved, LLAMA_8B, 4).linear_ns - cost_of(H100, LLAMA_8B, 4).linear_ns
    moved_bytes = 2 * 3 / 4 * 2000 * 4096 * 2
    link_s = moved_bytes / (450e9 * H100.fit.all_reduce_efficiency)
    assert more[2000] == pytest.approx(32 * 2 * link_s * 1e9, rel=1e-6)


def test_eight_gpus_prefill_faster_than_one_and_not_eight_times():
    one = cost_of(H100, LLAMA_8B, 1).linear_ns[2048]
    eight = cost_of(H100, LLAMA_8B, 8).linear_ns[2048]
    assert one / 8 < eight < one / 2


def test_heads_that_do_not_split_are_refused():
    with pytest.raises(InputError, match="cannot be split over 3 GPUs"):
        cost_of(H100, LLAMA_8B, 3)


def test_the_naive_twin_is_above_the_floor_of_field_measurements():
    # One 4,000-token prompt: 2 x 6.98e9 x n + 2 x 32 x 4096 x n^2 FLOP at 989 TFLOP/s.
    floor_s = (2 * 6.98e9 * 4000 + 2 * 32 * 4096 * 4000**2) / 989e12
    floor = naive_cost.floor_ns(H100, LLAMA_8B, 1, chunks=[(4000, 0)])
    assert floor == pytest.approx(floor_s * 1e9, rel=1e-3)
    assert math.isclose(floor_s, 0.0607, rel_tol=0.01)
