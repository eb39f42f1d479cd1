"""What a server adds to requests beside the clock, and behind whom a first token goes out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from replay.config.hardware import ServerTimes
from replay.config.scenario import Scenario
from replay.engine.machine import find_machine
from replay.engine.overhead import EngineOverhead, answers_beside
from replay.gpu.cost import step_cost, time_steps, uniform_steps, with_server
from replay.gpu.spec import load_engine, load_gpu, load_model
from replay.kernels import cost as kernel


def test_overhead_is_rounded_to_the_nearest_nanosecond():
    overhead = EngineOverhead(0.4, 0.3, 0.0)
    assert overhead.of(np.array([1, 2, 4]), np.zeros(3, int)).tolist() == [1, 1, 2]
    assert EngineOverhead(1, 0, 0.5).of(np.array([9, 9]), np.array([2, 5])).tolist() == [2, 4]


def test_a_first_token_goes_out_behind_those_of_all_who_decode():
    first = np.array([10, 20, 20, 30, 0])
    done = np.array([20, 25, 0, 30, 0])  # the third never ends, the last was never admitted
    assert answers_beside(first, done).tolist() == [1, 3, 3, 2, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans()), min_size=1, max_size=30
    )
)
def test_answers_are_those_counted_one_by_one(spans):
    first = np.array([at for at, _, _ in spans])
    done = np.array([at + took if at and ends else 0 for at, took, ends in spans])
    rows = list(zip(first, done, strict=True))
    expected = [
        sum(0 < begun <= at and (not ended or ended >= at) for begun, ended in rows) if at else 0
        for at, _ in rows
    ]
    assert answers_beside(first, done).tolist() == expected


LLAMA = load_model("llama-3.1-8b")
BARE = step_cost(
    load_gpu("h100-sxm"), LLAMA, tensor_parallel=1, max_batched_tokens=2048, max_sequences=256
)


@given(
    new=st.integers(0, 1024),
    decodes=st.integers(0, 200),
    launch_ns=st.integers(0, 20_000_000),
    request_ns=st.integers(0, 100_000),
    layer_ns=st.integers(0, 500_000),
    eager_ns=st.integers(0, 500_000),
    after_ns=st.integers(0, 2_000_000),
)
def test_a_step_is_no_shorter_than_its_launch_and_what_follows_comes_on_top(
    new, decodes, launch_ns, request_ns, layer_ns, eager_ns, after_ns
):
    times = ServerTimes(0, 0, 0, launch_ns, request_ns, layer_ns, eager_ns, after_ns)
    step = uniform_steps(new, 16, decodes, 700)
    gpu_ns = int(time_steps(BARE, step)[0])
    of_layer = layer_ns * (new > 0) + eager_ns * (new > 0 and new + decodes > 512)
    launch = launch_ns + request_ns * (decodes + (new > 0)) + of_layer * 32
    expected = max(gpu_ns, launch) + after_ns if new + decodes else 0
    assert time_steps(with_server(BARE, times, LLAMA.layers, 512), step).tolist() == [expected]


def test_the_steps_of_a_named_engine_have_what_its_file_says_and_no_others():
    def host_of(**engine):
        return find_machine(Scenario(engine=engine)).costing.cost.host

    times = load_engine("vllm").times("dense", 1, "typical")
    host = host_of(name="vllm")
    assert host[kernel.HOST_STEP_NS] == times.launch_ns
    assert host[kernel.HOST_REQUEST_NS] == times.launch_request_ns
    assert host[kernel.HOST_PROMPT_NS] == times.launch_layer_ns * 32
    assert host[kernel.HOST_EAGER_NS] == times.eager_layer_ns * 32
    assert host[kernel.HOST_GRAPH_TOKENS] == 512
    assert host_of(name="vllm", max_sequences=100)[kernel.HOST_GRAPH_TOKENS] == 200
    assert host_of(name="sglang", max_sequences=100)[kernel.HOST_GRAPH_TOKENS] == 4096
    assert host[kernel.HOST_AFTER_NS] == times.after_ns
    assert not host_of().any()
    assert not host_of(name="vllm", overhead="none").any()
