"""Step times of one's own: three whole numbers, exact, and neither a GPU nor a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from replay.cli import main
from replay.config.dump import dump_scenario
from replay.config.load import check_values, load_scenario
from replay.config.scenario import Scenario
from replay.engine.costing import make_costing
from replay.engine.machine import find_machine
from replay.engine.run import execute, prepare
from replay.errors import ConfigError, InputError
from replay.gpu.backends import Wanted, compile_cost
from replay.gpu.cost import floor_steps, time_steps, uniform_steps
from replay.gpu.replica import Replica
from replay.gpu.spec import load_gpu, load_model

GIVEN = {"step_ns": 5_000_000, "token_ns": 20_000, "context_ns": 30}
LINEAR = {"backend": "linear", "linear": GIVEN}


def cost_of(step_ns: int, token_ns: int, context_ns: int):
    wanted = Wanted(None, 8192, 256, linear=(step_ns, token_ns, context_ns))
    return compile_cost("linear", wanted).cost


@given(
    new=st.integers(0, 8000), cached=st.integers(0, 10**6), decodes=st.integers(0, 192),
    context=st.integers(1, 10**6), step_ns=st.integers(1, 10**12),
    token_ns=st.integers(0, 10**10), context_ns=st.integers(0, 10**6),
)  # fmt: skip
def test_a_step_takes_what_was_given_to_the_nanosecond(
    new, cached, decodes, context, step_ns, token_ns, context_ns
):
    steps = uniform_steps(new, cached, decodes, context)
    (got,) = time_steps(cost_of(step_ns, token_ns, context_ns), steps)
    tokens = new + decodes
    whole = step_ns + token_ns * tokens + context_ns * decodes * context
    assert got == (whole if tokens else 0)


def test_the_bounds_of_the_numbers_keep_the_largest_step_in_64_bits():
    largest = 10**12 + 10**10 * (2**20 + 65536) + 10**6 * 65536 * 2**25
    assert largest < 2**63


def test_nothing_can_beat_what_is_given():
    assert floor_steps(cost_of(5, 2, 1), uniform_steps(100, 0, 3, 50)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("gpu", "told"),
    [
        ({"backend": "linear"}, "needs linear.step_ns, linear.token_ns, linear.context_ns"),
        ({"backend": "linear", "linear": {"step_ns": 5}}, "backend linear needs linear.step_ns"),
        ({"linear": GIVEN}, "linear has no effect when backend is roofline"),
        ({"linear": {"token_ns": 0}}, "linear has no effect when backend is roofline"),
        ({**LINEAR, "table": "measured.csv"}, "backend table and a table go together"),
        ({"backend": "linear", "linear": {**GIVEN, "step_ns": 0}}, "must be greater than 0"),
        ({"backend": "linear", "linear": {**GIVEN, "token_ns": -1}}, "greater than or equal to 0"),
        ({"backend": "linear", "linear": {**GIVEN, "token_ns": 0.5}}, "must be a whole number"),
        ({"backend": "linear", "linear": {**GIVEN, "context_ns": 10**7}}, "less than or equal to"),
    ],
)
def test_the_numbers_and_their_backend_go_together(gpu, told):
    with pytest.raises(ConfigError) as refused:
        check_values({"gpu": gpu}, Scenario, "scenario")
    assert told in str(refused.value)


def test_untimed_runs_refuse_the_backend():
    with pytest.raises(ConfigError, match=r"gpu\.backend has no effect when engine\.mode"):
        check_values({"gpu": LINEAR, "engine": {"mode": "untimed"}}, Scenario, "scenario")


def test_other_backends_refuse_the_numbers():
    replica = Replica(load_gpu("h100-sxm"), load_model("llama-3.1-8b"))
    with pytest.raises(InputError, match=r"gpu\.linear has an effect with gpu\.backend linear"):
        compile_cost("roofline", Wanted(replica, 64, 4, linear=(5, 2, 1)))
    with pytest.raises(InputError, match=r"gpu\.linear has an effect with gpu\.backend linear"):
        compile_cost("linear", Wanted(replica, 64, 4))


def test_no_gpu_and_no_model_are_looked_up():
    machine = find_machine(Scenario.model_validate({"gpu": LINEAR}))
    assert machine.hardware is None
    assert any("5,000,000 ns a step, 20,000 ns a token, 30 ns a key" in one
               for one in machine.costing.notes)  # fmt: skip


@pytest.mark.parametrize(
    "sections",
    [
        {"gpu": {**LINEAR, "name": "h100-sxm"}},
        {"gpu": {**LINEAR, "tensor_parallel": 2}},
        {"gpu": LINEAR, "model": {"name": "llama-3.1-8b"}},
        {"gpu": LINEAR, "cache": {"capacity": "40GiB"}},
    ],
)
def test_one_that_is_named_still_sizes_the_cache(sections):
    machine = find_machine(Scenario.model_validate(sections))
    assert machine.hardware is not None
    assert machine.costing.cost.exact.tolist() == list(GIVEN.values())


def test_the_scenario_that_is_kept_makes_the_same_run_again(tmp_path):
    scenario = Scenario.model_validate({"gpu": LINEAR})
    path = tmp_path / "scenario.yaml"
    path.write_text(dump_scenario(scenario))
    again = load_scenario(path)
    assert again == scenario
    assert again.hardware_named == set()


def trace_in(folder, rows: list[tuple[int, int, int]]):
    lines = [
        {"timestamp": at, "input_length": tokens, "output_length": out, "hash_ids": [index]}
        for index, (at, tokens, out) in enumerate(rows)
    ]
    path = folder / "trace.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_a_run_takes_the_sum_of_its_steps(tmp_path):
    path = trace_in(tmp_path, [(0, 100, 3), (1000, 40, 1)])
    result = execute(prepare(path, Scenario.model_validate({"gpu": LINEAR})))
    requests = result.tables["requests"]
    prompt, short = (5_000_000 + 20_000 * tokens for tokens in (100, 40))
    decodes = [5_000_000 + 20_000 + 30 * context for context in (101, 102)]
    assert requests["ttft_ns"].to_list() == [prompt, short]
    assert requests["e2e_ns"].to_list() == [prompt + sum(decodes), short]
    assert result.manifest["gpu"] is None
    assert result.manifest["cache"]["capacity_source"] == "unlimited"
    assert result.manifest["step_times"]["backend"] == "linear"
    assert result.manifest["step_times"]["calibrated"] is None


def test_unchunked_prompts_of_sglang_are_timed_up_to_a_length(tmp_path):
    engine = {"scheduler": "sglang", "chunked_prefill": False, "max_sequences": 8}
    sections = {"engine": engine, "cache": {"kind": "radix"}}
    costing = make_costing(Scenario.model_validate(sections | {"gpu": LINEAR}), None)
    assert len(costing.cost.linear_ns) == 2**20 + 8 + 1
    path = trace_in(tmp_path, [(0, 2**20, 1)])
    with pytest.raises(InputError, match=r"1,048,577 tokens would be one step"):
        prepare(
            path,
            Scenario.model_validate(sections | {"cache": {"kind": "radix", "capacity": "inf"}}),
        )
    prepare(path, Scenario.model_validate(sections | {"gpu": LINEAR}))  # nothing is tabulated


def test_a_step_of_decodes_alone_may_be_longer_than_the_chunk_of_prompts():
    engine = {"scheduler": "sglang", "max_batched_tokens": 8, "max_sequences": 32}
    scenario = Scenario.model_validate({"engine": engine, "cache": {"kind": "radix"}})
    machine = find_machine(scenario)
    assert len(machine.costing.cost.linear_ns) == 33
    assert np.all(np.diff(machine.costing.cost.linear_ns) >= 0)


def test_a_question_about_one_step_of_a_gpu_has_no_use_for_it():
    done = CliRunner().invoke(main, ["cost", "--backend", "linear", "--new", "5"])
    assert done.exit_code == 2
    assert "gpu.linear has an effect with gpu.backend linear, and only there" in done.output
