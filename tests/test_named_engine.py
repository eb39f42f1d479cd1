"""An engine that is named brings its own scheduler, memory and kind of cache; nobody's is told."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from replay.config.dump import dump_scenario
from replay.config.scenario import Scenario
from replay.engine.machine import find_machine
from replay.engine.named_engine import UNNAMED, with_engine
from replay.engine.run import prepare
from replay.engine.sizing import size_cache
from replay.errors import DoesNotFitError, InputError, UnknownNameError
from replay.gpu.spec import load_engine


def scenario(**sections) -> Scenario:
    return Scenario.model_validate(sections)


def test_vllm_on_an_h100_has_its_own_budget_sequences_and_share_of_memory():
    found = with_engine(scenario(engine={"name": "vllm"}))
    assert (found.engine.max_batched_tokens, found.engine.max_sequences) == (8192, 1024)
    assert (found.engine.mixed_steps, found.gpu.memory_utilization) == (True, 0.92)
    assert found.cache.kind == "block"


def test_the_gpu_decides_where_the_engine_looks_at_it():
    small = with_engine(scenario(engine={"name": "vllm"}, gpu={"name": "l4"}))
    assert (small.engine.max_batched_tokens, small.engine.max_sequences) == (2048, 256)
    large = with_engine(scenario(engine={"name": "vllm"}, gpu={"name": "b200-sxm"}))
    assert large.engine.max_batched_tokens == 16384


def test_sglang_computes_prompts_or_decodes_over_a_radix_cache_of_single_tokens():
    named = scenario(engine={"name": "sglang"})
    found = with_engine(named)
    assert (found.engine.scheduler, found.engine.mixed_steps) == ("sglang", False)
    assert found.cache.kind == "radix"
    assert size_cache(found, None).block_size == 1


def test_a_trace_without_blocks_takes_the_engines():
    assert size_cache(with_engine(scenario(engine={"name": "tensorrt-llm"})), None).block_size == 32
    assert size_cache(with_engine(scenario(engine={"name": "tensorrt-llm"})), 512).block_size == 512
    assert size_cache(scenario(), None).block_size == 16


def test_what_is_given_wins_even_where_it_is_the_default():
    given = {"name": "sglang", "max_batched_tokens": 512, "mixed_steps": True}
    found = with_engine(scenario(engine={**given, "async_scheduling": False}))
    assert found.engine.max_batched_tokens == 512
    assert found.engine.mixed_steps
    assert not found.engine.async_scheduling


def test_an_engine_may_be_replayed_by_the_rules_of_another_over_another_cache():
    given = {"name": "sglang", "scheduler": "vllm"}
    found = with_engine(scenario(engine=given, cache={"kind": "block"}))
    assert (found.engine.scheduler, found.cache.kind) == ("vllm", "block")
    assert found.engine.mixes  # and not as the engine does


def test_every_engine_plans_a_step_ahead():
    for name in ("vllm", "sglang", "tensorrt-llm"):
        assert with_engine(scenario(engine={"name": name})).engine.async_scheduling
    assert not scenario().engine.async_scheduling


def test_what_does_not_go_with_the_engine_is_refused_by_name():
    with pytest.raises(InputError, match=r"given does not go with engine sglang.*partial_blocks"):
        with_engine(scenario(engine={"name": "sglang"}, cache={"partial_blocks": True}))
    with pytest.raises(InputError, match=r"engine sglang.*over cache.kind radix, not block"):
        with_engine(scenario(engine={"name": "sglang"}, cache={"kind": "block"}))
    with pytest.raises(InputError, match="max_batched_tokens"):
        with_engine(scenario(engine={"name": "vllm", "max_batched_tokens": 300}))


def test_a_share_of_what_weights_leave_is_less_than_one_of_all_memory():
    of_left = find_machine(scenario(engine={"name": "tensorrt-llm"})).hardware.pool
    total = find_machine(scenario(engine={"max_batched_tokens": 8192, "max_sequences": 2048}))
    pool = total.hardware.pool
    weights = pool.weight_bytes + pool.activation_bytes
    memory = round((pool.pool_bytes + weights) / 0.9)
    assert of_left.pool_bytes == pytest.approx(0.9 * (memory - weights), rel=1e-9)
    assert of_left.pool_bytes > pool.pool_bytes  # weights are not taken out of the share


def test_notes_say_what_was_taken_and_that_nothing_was_where_no_engine_is_named():
    told, adds = find_machine(scenario(engine={"name": "vllm", "max_sequences": 64})).notes
    assert "of vllm 0.33.0: engine.scheduler vllm, engine.async_scheduling on, " in told
    assert "engine.max_batched_tokens 8,192, engine.chunked_prefill on" in told
    assert "engine.max_sequences" not in told
    times = load_engine("vllm").times("dense", 1, "typical")
    assert f"vllm adds to a request {times.request_ns / 1e6:g} ms and " in adds
    assert f"to a step {times.after_ns / 1e6:g} ms" in adds
    assert find_machine(scenario()).notes == (UNNAMED,)
    bare = find_machine(scenario(engine={"name": "sglang", "overhead": "none"})).notes[1]
    assert bare == "nothing of what sglang takes outside the GPU is counted"
    given = {"backend": "linear", "linear": {"step_ns": 1, "token_ns": 1, "context_ns": 0}}
    adds = find_machine(scenario(engine={"name": "vllm"}, gpu=given)).notes[1]
    assert "steps are as given" in adds
    assert find_machine(scenario(engine={"mode": "untimed"})).notes == ()


@pytest.mark.parametrize(
    ("sections", "error"),
    [
        ({"gpu": {"name": "h100"}}, UnknownNameError),
        ({"model": {"name": "meta-llama/Llama-3.1-8B-Instruct"}}, UnknownNameError),
        ({"engine": {"name": "vlm"}}, UnknownNameError),
        ({"model": {"name": "llama-3.1-405b"}}, DoesNotFitError),
    ],
)
def test_names_are_looked_up_before_the_trace_is_read(tmp_path, sections, error):
    with pytest.raises(error):
        prepare(tmp_path / "there is no such trace", scenario(**sections))


GIVEN_TO_SGLANG = [
    ("engine", {"order": "lpm"}),
    ("engine", {"ignore_eos": True}),
    ("engine", {"max_prefill_tokens": 100}),
    ("engine", {"mixed_steps": False}),
    ("engine", {"max_batched_tokens": 100}),
    ("engine", {"scheduler": "sglang"}),
    ("cache", {"policy": "lfu"}),
    ("cache", {"policy": "fifo", "radix": {"tree": "classic"}}),
]


@pytest.mark.parametrize(("section", "keys"), GIVEN_TO_SGLANG)
def test_keys_are_checked_beside_what_the_engine_brings(section, keys):
    sections = {"engine": {"name": "sglang"}, "cache": {}}
    sections[section] |= keys
    found = with_engine(scenario(**sections))
    dumped = getattr(found, section).model_dump(mode="json", exclude_defaults=True)
    assert keys.items() <= {**getattr(found, section).model_dump(), **dumped}.items()
    assert reloaded(found) == found


def reloaded(found: Scenario) -> Scenario:
    return Scenario.model_validate(yaml.safe_load(dump_scenario(found)))


def test_the_engine_says_how_many_run_at_once():
    found = with_engine(scenario(engine={"name": "vllm", "max_active_sequences": 512}))
    assert found.engine.max_active_sequences == 512
    with pytest.raises(InputError, match=r"engine\.max_active_sequences \(512\).* \(256\)"):
        with_engine(
            scenario(engine={"name": "vllm", "max_active_sequences": 512}, gpu={"name": "l4"})
        )


@pytest.mark.parametrize(
    ("section", "keys", "told"),
    [
        ("engine", {"order": "lpm"}, r"engine\.scheduler vllm knows the orders fcfs, priority"),
        ("engine", {"ignore_eos": True}, r"engine\.ignore_eos has no effect when scheduler is"),
        ("engine", {"mixed_steps": False}, r"engine\.mixed_steps off is not how"),
        ("engine", {"max_batched_tokens": 100}, r"engine\.max_batched_tokens \(100\) must be"),
        ("cache", {"policy": "lfu"}, r"cache\.policy: kind block knows lru \(got 'lfu'\)"),
        ("cache", {"radix": {"tree": "classic"}}, r"cache\.radix has no effect when kind is block"),
    ],
)
def test_what_no_engine_brings_is_refused_at_its_key(section, keys, told):
    sections = {"engine": {"name": "vllm"}, "cache": {}}
    sections[section] |= keys
    with pytest.raises(InputError, match=told) as caught:
        with_engine(scenario(**sections))
    assert "engine.async_scheduling on, " in str(caught.value.hint)
    with pytest.raises(ValidationError):  # and where none is named, at once
        scenario(**{section: keys})


def added(**sections) -> str:
    return find_machine(scenario(**sections)).notes[1]


def test_notes_say_which_steps_have_no_graph_and_only_estimates_that_count():
    without = "launched without CUDA graphs"
    assert f"in every step with prompts, {without}" in added(engine={"name": "tensorrt-llm"})
    alone = added(engine={"name": "vllm", "max_sequences": 1})
    assert f"in every step with prompts and more than 2 tokens, {without}" in alone
    assert "(estimates: launch_ns, launch_request_ns)" in alone
    given = {"backend": "linear", "linear": {"step_ns": 1, "token_ns": 1, "context_ns": 0}}
    assert added(engine={"name": "vllm"}, gpu=given).endswith("steps are as given")
    of_sglang = added(engine={"name": "sglang"}, gpu=given)
    assert of_sglang.endswith("(estimates: request_ns, prompt_token_ns, answer_ns)")
