import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.gpu import cost as costs
from replay.gpu.calibrate import with_fit
from replay.gpu.cost import replica_cost, step_cost, time_steps, uniform_steps
from replay.gpu.linear import all_reduces_ns, experts_ns, linear_parts, touched_experts
from replay.gpu.replica import Replica
from replay.gpu.spec import gpu_names, load_gpu, load_model, model_names, splits_evenly
from replay.kernels import attention as columns
from replay.kernels import cost as kernel
from replay.kernels.steps import StepList
from tests.naive import cost as naive_cost

H100 = load_gpu("h100-sxm")
A100 = load_gpu("a100-sxm-80gb")
B200 = load_gpu("b200-sxm")
LLAMA_8B = load_model("llama-3.1-8b")
GPUS = [load_gpu(name) for name in gpu_names()]
# One of each kind that the twin knows: MHA, GQA, windows, experts, latents, both, FP8 weights.
MODELS = [
    load_model(name)
    for name in (
        "llama-2-7b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b", "gemma-2-9b",
        "mistral-7b-v0.1", "mixtral-8x7b", "qwen3-30b-a3b", "deepseek-v3", "kimi-k2",
    )
]  # fmt: skip
EVERY_MODEL = [load_model(name) for name in model_names()]
MAX_TOKENS, MAX_SEQUENCES = 2200, 40


def replicas_of(models):
    return st.tuples(
        st.sampled_from(GPUS), st.sampled_from(models), st.sampled_from([1, 2, 4, 8, 16])
    ).filter(lambda replica: splits_evenly(replica[1], replica[2]))


replicas = replicas_of(MODELS)
chunks = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 150_000)), max_size=4)
contexts = st.lists(st.integers(1, 150_000), max_size=30)


def cost_of(gpu, model, gpus=1, *, tokens=MAX_TOKENS, sequences=MAX_SEQUENCES, **kept):
    replica = Replica(gpu, model, gpus, **kept)
    return replica_cost(replica, max_batched_tokens=tokens, max_sequences=sequences)


def steps_of(*steps):
    """Return a list of steps from (chunks, contexts, sampled)."""
    first = np.cumsum([0, *(len(chunks) for chunks, _, _ in steps)])
    flat = [chunk for chunks, _, _ in steps for chunk in chunks]
    parts = [
        first,
        [new for new, _ in flat],
        [cached for _, cached in flat],
        [len(contexts) for _, contexts, _ in steps],
        [sum(contexts) for _, contexts, _ in steps],
        [max(contexts, default=0) for _, contexts, _ in steps],
        [sampled for _, _, sampled in steps],
    ]
    return StepList(*(np.array(column, np.int64) for column in parts))


def step_ns(cost, *, chunks=(), contexts=(), sampled=0):
    return int(time_steps(cost, steps_of((chunks, contexts, sampled)))[0])


def attention_ns(cost, *, chunks=(), contexts=()):
    """Return a step's time less what its tokens cost without attention."""
    tokens = sum(new for new, _ in chunks) + len(contexts)
    return step_ns(cost, chunks=chunks, contexts=contexts) - cost.linear_ns[tokens]


# --- against the twin -----------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    replicas,
    chunks,
    contexts,
    st.sampled_from(["bf16", "fp8"]),
    st.sampled_from(["native", "bf16", "fp8"]),
)
def test_a_step_costs_what_the_formulas_say(replica, chunks, contexts, kv_dtype, weight_dtype):
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    kept = {"kv_dtype": kv_dtype, "weight_dtype": weight_dtype}
    assume(replica[1].dtype_of("linear", weight_dtype) in naive_cost.WIDTHS)
    fast = step_ns(cost_of(*replica, **kept), **step)
    assert fast == pytest.approx(naive_cost.step_ns(*replica, **step, **kept), rel=1e-9, abs=1)


def test_several_steps_at_once_cost_what_each_does_alone():
    cost = cost_of(A100, LLAMA_8B)
    steps = [
        ([(16, 65_536)], [], 1),
        ([], [100, 2_000], 2),
        ([(512, 0), (30, 9_000)], [7_000], 3),
        ([], [], 0),
    ]
    together = time_steps(cost, steps_of(*steps))
    assert list(together) == [int(time_steps(cost, steps_of(step))[0]) for step in steps]
    assert together[-1] == 0


# --- physics --------------------------------------------------------------------------------

perfect_names = [name for name in type(H100.fit).model_fields if name.endswith("_efficiency")]
perfect_fit = dict.fromkeys(perfect_names, 1.0) | {
    "layer_ns": 0.0,
    "all_reduce_ns": 0.0,
    "attention_tile_ns": 0.0,
    "attention_launch_ns": 0.0,
    "attention_combine_ns": 0.0,
    "moe_layer_ns": 0.0,
    "moe_expert_ns": 0.0,
    "moe_padded_rows": 0.0,
    "experts": {},
    "modules": {},
    "attention_least_width": 0,
    "nccl_growth": 0.0,
    "attention_tile_rows": 1,
}


@st.composite
def random_gpus(draw):
    """Any GPU that could be: peaks over three decades, efficiencies up to one."""
    gpu = draw(st.sampled_from(GPUS))
    fit = {name: draw(st.floats(0.05, 1.0)) for name in perfect_names}
    fit["attention_tile_rows"] = draw(st.sampled_from([1, 16, 64, 128]))
    fit["mixed_decode"] = draw(st.sampled_from(["apart", "by_tile", "packed"]))
    fit["absorbed_tokens"] = draw(st.sampled_from([0, 64, 512]))
    changed = gpu.model_copy(
        update={
            "bf16_flop_per_s": draw(st.integers(10**12, 10**16)),
            "hbm_bytes_per_s": draw(st.integers(10**10, 10**13)),
            "sms": draw(st.integers(1, 300)),
        }
    )
    return with_fit(changed, fit)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(random_gpus(), replicas_of(EVERY_MODEL), chunks, contexts)
def test_no_step_beats_the_hardware(gpu, replica, chunks, contexts):
    _, model, gpus = replica
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    floor = naive_cost.floor_ns(gpu, model, gpus, **step)
    assert step_ns(cost_of(gpu, model, gpus), **step) >= floor * (1 - 1e-9)


@settings(max_examples=100, deadline=None)
@given(replicas_of(EVERY_MODEL), chunks, contexts)
def test_no_step_beats_perfect_hardware_either(replica, chunks, contexts):
    gpu, model, gpus = replica
    perfect = with_fit(gpu, perfect_fit)
    step = {"chunks": chunks, "contexts": contexts, "sampled": len(chunks) + len(contexts)}
    floor = naive_cost.floor_ns(perfect, model, gpus, **step)
    assert step_ns(cost_of(perfect, model, gpus), **step) >= floor * (1 - 1e-9)


@pytest.mark.parametrize("name", model_names())
def test_tables_faster_than_the_peaks_are_refused(name):
    model = load_model(name)
    cost = cost_of(H100, model)
    assert costs.checked(cost, "h100-sxm") is cost
    for part in ("linear_ns", "head_ns", "attention"):
        table = getattr(cost, part).copy()
        rates = slice(0, columns.FLOOR_PAIR_NS) if part == "attention" else slice(None)
        table[..., rates] *= 0.1
        broken = costs.dataclasses.replace(cost, **{part: table})
        with pytest.raises(InputError, match="faster than its peaks allow"):
            costs.checked(broken, "h100-sxm")


def test_a_query_refuses_a_step_below_the_floor_and_takes_it_where_measurements_correct():
    cost = cost_of(H100, LLAMA_8B)
    free = costs.dataclasses.replace(cost, linear_ns=cost.linear_ns * 0.01)
    step = steps_of(([(2048, 0)], [], 1))
    with pytest.raises(InputError, match="faster than the hardware"):
        time_steps(free, step)
    one = np.zeros(1)
    corrected = costs.dataclasses.replace(
        free, prefill_new=one, prefill_cached=one, prefill_factor=np.ones((1, 1))
    )
    flop = 2 * 2048 * (LLAMA_8B.parameters - 2 * 128_256 * 4096)
    assert time_steps(corrected, step)[0] >= flop / 989e12 * 1e9


# --- more never costs less ------------------------------------------------------------------

CLIFF = 0.8


def least(replica, cost_ns):
    """Return what a larger step must cost, given a smaller one.

    No less; but where keys are cut over idle SMs, a longer chunk may be cut in a luckier way, or
    not be cut and need no launch that puts pieces together.
    """
    packed = replica[0].fit.mixed_decode == "packed"
    return cost_ns * CLIFF if packed else cost_ns


@settings(max_examples=30, deadline=None)
@given(replicas_of(EVERY_MODEL))
def test_more_tokens_or_rows_never_cost_less(replica):
    cost = cost_of(*replica)
    assert (np.diff(cost.linear_ns) >= 0).all()
    assert (np.diff(cost.head_ns) >= 0).all()


@given(replicas_of(EVERY_MODEL), st.integers(1, 900), st.integers(0, 200_000), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_longer_chunks_and_contexts_never_cost_less(replica, new, cached, more):
    cost = cost_of(*replica)
    here, longer, deeper = time_steps(
        cost, uniform_steps([new, new + more, new], [cached, cached, cached + more])
    )
    assert longer >= least(replica, here)
    assert deeper >= least(replica, here)


@given(replicas_of(EVERY_MODEL), st.integers(0, 30), st.integers(1, 10**5), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_more_decodes_and_longer_contexts_never_cost_less(replica, requests, keys, more):
    cost = cost_of(*replica)
    here, fuller, deeper = time_steps(
        cost, uniform_steps(0, 0, [requests, requests + 1, requests], [keys, keys, keys + more])
    )
    assert fuller >= least(replica, here)
    assert deeper >= least(replica, here)


@given(replicas, chunks, contexts)
@settings(max_examples=60, deadline=None)
def test_one_more_chunk_never_costs_less(replica, chunks, contexts):
    assume(chunks)
    cost = cost_of(*replica)
    fewer = step_ns(cost, chunks=chunks[:-1])
    assert step_ns(cost, chunks=chunks) >= least(replica, fewer)


# --- worked by hand -------------------------------------------------------------------------


def test_an_empty_step_is_free():
    cost = cost_of(H100, LLAMA_8B)
    assert cost.linear_ns[0] == cost.head_ns[0] == 0.0
    assert step_ns(cost) == 0


def test_tables_cover_every_batch_and_are_plain_arrays():
    cost = step_cost(H100, LLAMA_8B, tensor_parallel=1, max_batched_tokens=8192, max_sequences=256)
    assert cost.linear_ns.shape == (8193,)
    assert cost.head_ns.shape == (257,)
    for name, array in cost.tables._asdict().items():
        assert array.dtype == (np.int64 if name == "exact" else np.float64)
        assert array.flags.c_contiguous


def test_a_step_beyond_the_tables_is_an_error():
    cost = cost_of(H100, LLAMA_8B)
    with pytest.raises(InputError, match=r"2,201 tokens .* beyond the cost tables"):
        time_steps(cost, uniform_steps(MAX_TOKENS + 1))
    with pytest.raises(InputError, match="no negative counts"):
        time_steps(cost, uniform_steps(10, -1))


def test_lm_head_of_one_row_reads_its_matrix_once_by_hand():
    head = cost_of(H100, LLAMA_8B).head_ns[1]
    read_s = 2 * (4096 * 128_256 + 4096 + 128_256) / (3.35e12 * H100.fit.memory_efficiency)
    assert head == pytest.approx(read_s * 1e9, rel=1e-3)


def test_decode_of_one_token_is_about_a_read_of_the_layers():
    linear = cost_of(H100, LLAMA_8B).linear_ns[1]
    read_ns = 2 * LLAMA_8B.linear_parameters / (3.35e12 * H100.fit.memory_efficiency) * 1e9
    assert linear == pytest.approx(read_ns + 32 * H100.fit.layer_ns, rel=0.01)


def test_a_short_suffix_on_a_long_cached_context_costs_one_tile_over_it_unsplit():
    # 32 heads make 32 tiles of one wave of 148 SMs, whether 16 or 256 rows of them are filled.
    cost, fit = cost_of(B200, LLAMA_8B), B200.fit
    rate = 2250e12 / 148 * fit.attention_efficiency
    tile_ns = 4 * 128 * 256 * (65_536 + 8 + 128) / rate * 1e9 + fit.attention_tile_ns
    suffix = attention_ns(cost, chunks=[(16, 65_536)])
    assert suffix == pytest.approx(32 * (tile_ns + fit.attention_launch_ns), rel=0.01)
    assert attention_ns(cost, chunks=[(256, 65_536)]) == pytest.approx(suffix, rel=0.01)
    # Four such suffixes fill one wave, five need two.
    assert attention_ns(cost, chunks=[(16, 65_536)] * 4) == pytest.approx(suffix, rel=0.02)
    assert attention_ns(cost, chunks=[(16, 65_536)] * 5) == pytest.approx(2 * suffix, rel=0.02)


def test_a_short_suffix_costs_about_a_read_of_its_keys_where_they_are_split():
    cost, fit = cost_of(H100, LLAMA_8B), H100.fit
    suffix = attention_ns(cost, chunks=[(16, 65_536)])
    read_ns = 32 * 65_552 * 4096 / (3.35e12 * fit.memory_efficiency) * 1e9
    launch_ns = 32 * (fit.attention_launch_ns + fit.attention_combine_ns)
    assert read_ns + launch_ns < suffix < 1.05 * read_ns + launch_ns
    assert suffix < 5e6
    # The same keys read by one decode cost the same.
    decode = attention_ns(cost, contexts=[65_552])
    assert decode == pytest.approx(suffix, rel=0.05)


def test_a_long_decode_beside_a_chunk_that_fills_the_gpu_is_one_tile():
    # 512 tokens of 8 KV heads are 128 of 132 tiles: nothing is cut, whatever else is there.
    cost, fit = cost_of(H100, LLAMA_8B), H100.fit
    rate = 989e12 / 132 * fit.attention_efficiency
    tile_ns = 4 * 128 * 128 * 32_768 / rate * 1e9 + fit.attention_tile_ns
    beside = attention_ns(cost, chunks=[(512, 0)], contexts=[32_768])
    assert beside == pytest.approx(32 * (tile_ns + fit.attention_launch_ns), rel=0.02)
    assert beside > 4 * attention_ns(cost, contexts=[32_768])


def test_pieces_of_a_tile_fill_their_waves_and_no_more():
    # 8 tiles on 132 SMs: 15 pieces fill 91 % of one wave, 14 only 84.8 %.
    most = [columns.pieces_that_fill(float(tiles), 132.0) for tiles in (8, 32, 64, 70, 106, 1)]
    assert most == [15, 4, 2, 5, 1, 32]


def test_short_chunks_of_a_latent_are_worked_as_decodes_are():
    # 16 queries of one request read its keys once, and meet the latent itself.
    model = load_model("deepseek-v3")
    cost = cost_of(H100, model, 8)
    latent = cost.attention[0]
    assert latent[columns.ABSORBED_TOKENS] == 512
    short, long = (attention_ns(cost, chunks=[(new, 32_768)]) for new in (16, 513))
    pairs = 16 * 32_768 + 16 * 17 / 2
    assert short > pairs * latent[columns.ABSORBED_PAIR_NS]
    assert short < 1.1 * pairs * latent[columns.ABSORBED_PAIR_NS] + 61 * 30_000
    assert short / 61 / 32_768 == pytest.approx(1.35 + 25_000 / 32_768, rel=0.1)  # as measured
    assert long > 5 * short


def test_one_long_tile_does_not_wait_for_many_short_ones():
    cost = cost_of(A100, LLAMA_8B)
    long = attention_ns(cost, chunks=[(16, 65_536)])
    both = attention_ns(cost, chunks=[(16, 65_536), (16, 100), (16, 200)])
    assert both == pytest.approx(long, rel=0.02)


def test_decodes_beside_a_chunk_take_a_tile_for_each_head_with_flash_attention_2():
    # 8 decodes x 32 heads are 256 tiles on 108 SMs: three waves of 4,096 keys.
    cost = cost_of(A100, LLAMA_8B)
    beside = attention_ns(cost, chunks=[(16, 0)], contexts=[4096] * 8)
    rate = 312e12 / 108 * A100.fit.attention_efficiency
    tile_ns = 32 * (4 * 128 * 64 * 4096 / rate * 1e9 + A100.fit.attention_tile_ns)
    assert beside == pytest.approx(3 * tile_ns, rel=0.03)
    assert beside > 2 * attention_ns(cost, contexts=[4096] * 8)


def test_decodes_of_many_heads_without_sharing_are_tiles_of_their_own():
    alone = cost_of(A100, load_model("llama-2-7b"), 8)
    assert attention_ns(alone, contexts=[8192]) == pytest.approx(
        attention_ns(alone, contexts=[8192] * 8), rel=0.05
    )


def test_one_wave_of_tiles_lasts_as_long_as_its_longest():
    # 768 new tokens are 3 tiles of each of 32 heads: 96 tiles on 148 SMs, one wave. Its last
    # tile sees all 768 keys where the average one sees 512.
    fit = B200.fit
    rate = 2250e12 / 148 * fit.attention_efficiency
    tile_ns = 4 * 128 * 256 * 768 / rate * 1e9 + fit.attention_tile_ns
    longest_ns = 32 * (tile_ns + fit.attention_launch_ns)
    got = attention_ns(cost_of(B200, LLAMA_8B), chunks=[(768, 0)])
    written_ns = 32 * 768 * 2 * 4096 / (7.7e12 * fit.kv_write_efficiency) * 1e9
    assert got - written_ns == pytest.approx(longest_ns, rel=0.03)


def test_a_long_prompt_reaches_the_attention_efficiency():
    new = 2**17
    cost = cost_of(H100, LLAMA_8B, tokens=new)
    rate = 989e12 * H100.fit.attention_efficiency
    arithmetic_ns = 32 * 4 * 128 * 32 * (new * (new + 1) / 2) / rate * 1e9
    assert attention_ns(cost, chunks=[(new, 0)]) == pytest.approx(arithmetic_ns, rel=0.02)


def test_a_window_caps_what_a_suffix_costs():
    windowed, full = load_model("mistral-7b-v0.1"), load_model("mistral-7b")
    short = cost_of(H100, windowed), cost_of(H100, full)
    near = [attention_ns(cost, chunks=[(64, 2_000)]) for cost in short]
    far = [attention_ns(cost, chunks=[(64, 64_000)]) for cost in short]
    assert near[0] == pytest.approx(near[1], rel=0.01)
    assert far[0] == pytest.approx(attention_ns(short[0], chunks=[(64, 8_000)]), rel=0.01)
    assert far[1] > 5 * far[0]


def test_linear_layers_cost_the_same_at_any_context():
    hybrid = load_model("qwen3.5-27b")
    table = cost_of(H100, hybrid).attention
    state = table[-1]
    assert hybrid.attention_groups[-1].kind == "linear"
    assert state[columns.PAIR_NS] == state[columns.DECODE_KEY_NS] == 0.0
    linear = hybrid.attention_groups[-1]
    moved = 2 * linear.layers * linear.state_bytes / (3.35e12 * H100.fit.kv_read_efficiency)
    assert state[columns.DECODE_ROW_NS] == pytest.approx(moved * 1e9)


def test_sparse_attention_reads_its_top_k_and_scores_all_keys():
    sparse, dense = load_model("deepseek-v3.2"), load_model("deepseek-v3")
    bare = with_fit(H100, {"modules": {}})
    costs_ns = [
        [attention_ns(cost_of(bare, model, 8), contexts=[keys] * 32) for keys in (2_000, 64_000)]
        for model in (sparse, dense)
    ]
    assert costs_ns[0][1] < 0.3 * costs_ns[1][1]
    assert costs_ns[0][1] > costs_ns[0][0]


def test_a_kind_of_attention_adds_its_fixed_times_and_a_time_for_each_token():
    model, module = load_model("deepseek-v3.2"), H100.fit.modules["sparse_latent"]
    with_it, without = (cost_of(gpu, model, 8) for gpu in (H100, with_fit(H100, {"modules": {}})))

    def more(**step):
        return attention_ns(with_it, **step) - attention_ns(without, **step)

    one = 61 * (module.layer_ns + module.row_ns)
    assert more(contexts=[100]) == pytest.approx(one, abs=2)
    prompt = 61 * (module.layer_ns + module.prompt_layer_ns + 600 * module.row_ns)
    assert more(chunks=[(600, 0)]) > prompt  # and the index reaches less
    assert more(chunks=[(600, 0)]) < 1.02 * prompt


def test_the_cpu_bounds_a_step_and_adds_to_it():
    cost = cost_of(H100, LLAMA_8B)
    host = np.zeros(kernel.HOSTS)
    host[kernel.HOST_STEP_NS], host[kernel.HOST_REQUEST_NS] = 1e6, 3e5
    host[kernel.HOST_PROMPT_NS], host[kernel.HOST_AFTER_NS] = 5e6, 7e5
    slow = costs.dataclasses.replace(cost, host=host)
    few, many = [100] * 3, [100] * 30
    assert step_ns(slow, contexts=few) == step_ns(cost, contexts=few) + 700_000
    assert step_ns(slow, contexts=many) == 1_000_000 + 30 * 300_000 + 700_000
    beside = step_ns(slow, chunks=[(16, 0)], contexts=[100] * 9)
    assert beside == 1_000_000 + 10 * 300_000 + 5_000_000 + 700_000
    assert step_ns(slow) == 0


def test_experts_compute_rows_that_fill_their_tiles_and_pass_rows_on():
    model, fit = load_model("qwen3-30b-a3b"), H100.fit
    one, none = (
        experts_ns(Replica(with_fit(H100, change), model), np.array([512.0]))[0]
        for change in ({"moe_padded_rows": 1e3}, {"moe_padded_rows": 0.0})
    )
    padded = 2 * 1e3 * 128 * 3 * 2048 * 768 / (989e12 * fit.moe_efficiency) * 1e9
    assert one / 48 == pytest.approx(padded, rel=0.2)
    assert none < 0.5 * one


def test_a_large_all_reduce_is_left_to_nccl_and_a_small_one_the_engines_own():
    small, large = 4.0, 16_384.0
    model = load_model("llama-3.1-70b")
    graph, eager = (
        all_reduces_ns(Replica(H100, model, 8, all_reduce=kind), np.array([small, large]))
        for kind in ("graph", "nccl")
    )
    assert graph[0] < 0.3 * eager[0]
    assert graph[1] == eager[1]


def test_a_latent_is_read_whole_by_every_gpu():
    model = load_model("deepseek-v3")
    one, eight = (cost_of(H100, model, gpus).attention[0] for gpus in (1, 8))
    assert one[columns.DECODE_KEY_NS] == eight[columns.DECODE_KEY_NS]
    assert one[columns.DECODE_PAIR_NS] == pytest.approx(8 * eight[columns.DECODE_PAIR_NS])
    assert one[columns.EXPAND_NS] > 0


def test_a_few_tokens_touch_few_experts_and_many_touch_all():
    replica = Replica(H100, load_model("qwen3-30b-a3b"))
    touched = touched_experts(replica, np.array([0.0, 1.0, 2.0, 1e6]))
    assert touched == pytest.approx([0, 8, 16 - 0.5, 128])


def test_fp8_weights_halve_the_bytes_of_a_decode():
    kept = [cost_of(H100, LLAMA_8B, weight_dtype=dtype).linear_ns[1] for dtype in ("bf16", "fp8")]
    fixed = 32 * H100.fit.layer_ns
    assert (kept[1] - fixed) / (kept[0] - fixed) == pytest.approx(0.5, abs=0.01)


def test_fp8_weights_without_fp8_arithmetic_save_bytes_only():
    kept = [
        cost_of(A100, LLAMA_8B, weight_dtype=dtype).linear_ns[[1, 2048]]
        for dtype in ("bf16", "fp8")
    ]
    assert kept[1][0] < 0.8 * kept[0][0]
    assert kept[1][1] == pytest.approx(kept[0][1], rel=0.02)


# --- several GPUs ---------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_each_layer_waits_for_two_all_reduces(gpus):
    slower = with_fit(H100, {"all_reduce_ns": H100.fit.all_reduce_ns + 1000.0})
    more = cost_of(slower, LLAMA_8B, gpus).linear_ns - cost_of(H100, LLAMA_8B, gpus).linear_ns
    assert more[1:100] == pytest.approx(32 * 2 * 1000.0)
    assert more[0] == 0.0


def test_one_gpu_needs_no_all_reduce():
    slower = with_fit(H100, {"all_reduce_ns": 1e6})
    assert (cost_of(slower, LLAMA_8B).linear_ns == cost_of(H100, LLAMA_8B).linear_ns).all()


def test_an_eager_all_reduce_waits_longer():
    graph, eager = (
        cost_of(H100, LLAMA_8B, 4, all_reduce=kind).linear_ns[1] for kind in ("graph", "nccl")
    )
    wait = H100.fit.nccl_all_reduce_ns - H100.fit.all_reduce_ns
    assert eager - graph == pytest.approx(64 * wait, rel=0.01)


def test_all_reduce_moves_the_ring_share_of_the_hidden_states():
    own = with_fit(H100, {"nccl_efficiency": None})  # the engine's own kernel at every size
    halved = own.model_copy(update={"link_bytes_per_s": H100.link_bytes_per_s // 2})
    more = cost_of(halved, LLAMA_8B, 4).linear_ns - cost_of(own, LLAMA_8B, 4).linear_ns
    moved_bytes = 2 * 3 / 4 * 2000 * 4096 * 2
    link_s = moved_bytes / (450e9 * H100.fit.all_reduce_efficiency)
    assert more[2000] == pytest.approx(32 * 2 * link_s * 1e9, rel=1e-6)


def test_stages_add_what_passes_between_them_and_nothing_else():
    one, four = (
        linear_parts(Replica(H100, LLAMA_8B, 1, stages), np.array([0.0, 512.0]))
        for stages in (1, 4)
    )
    between = "between stages"
    sent_s = 512 * 4096 * 2 / (450e9 * H100.fit.all_reduce_efficiency)
    assert one[between][1] == four[between][0] == 0.0
    assert four[between][1] == pytest.approx(3 * (H100.fit.all_reduce_ns + sent_s * 1e9))
    assert all((one[name] == four[name]).all() for name in one if name != between)


def test_eight_gpus_prefill_faster_than_one_and_not_eight_times():
    one = cost_of(H100, LLAMA_8B).linear_ns[2048]
    eight = cost_of(H100, LLAMA_8B, 8).linear_ns[2048]
    assert one / 8 < eight < one / 2


def test_heads_or_layers_that_do_not_split_are_refused():
    with pytest.raises(InputError, match="cannot be split over 3 GPUs"):
        cost_of(H100, LLAMA_8B, 3)
    with pytest.raises(InputError, match="32 layers: it cannot be cut into 33 stages"):
        cost_of(H100, LLAMA_8B, 1, pipeline_parallel=33)


def test_the_naive_twin_is_above_the_floor_of_field_measurements():
    # One 4,000-token prompt: 2 x 6.98e9 x n + 2 x 32 x 4096 x n^2 FLOP at 989 TFLOP/s.
    floor_s = (2 * 6.98e9 * 4000 + 2 * 32 * 4096 * 4000**2) / 989e12
    floor = naive_cost.floor_ns(H100, LLAMA_8B, 1, chunks=[(4000, 0)])
    assert floor == pytest.approx(floor_s * 1e9, rel=1e-3)
    assert math.isclose(floor_s, 0.0607, rel_tol=0.01)
