"""The keys of the scheduler: what a scenario says of them is what the kernels are told."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from replay.config.load import check_values
from replay.config.scenario import Scenario
from replay.config.schedulers import SCHEDULERS, order_code, order_names, scheduler_code
from replay.engine.plan import Plan, make_plan
from replay.engine.prepare import FORMER_NAME, NO_PRIORITIES, prepare_trace, run_notes
from replay.errors import ConfigError
from replay.kernels import layout
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.tree import build_tree

THREE = {
    "arrival_ns": [0, 1, 2],
    "input_tokens": [4, 4, 4],
    "output_tokens": [1, 1, 1],
    "block_ids": [[1], [2], [3]],
}


def three(**columns: list) -> Trace:
    """Return three requests of one block each."""
    meta = TraceMeta(
        path="three.jsonl", name="three", sha256="0" * 64, format="mooncake", block_size=4,
        content="blocks", sessions="none",
    )  # fmt: skip
    return canonical_trace(pl.DataFrame(THREE | columns), meta)


def plan_of(
    engine: dict, *, cache: dict | None = None, blocks: int | None = 999, **columns: list
) -> Plan:
    """Return the plan of these requests."""
    trace = three(**columns)
    scenario = Scenario.model_validate({"engine": engine, "cache": cache or {}})
    return make_plan(trace, build_tree(trace), scenario, block_size=4, capacity_blocks=blocks)


def rule_of(engine: dict, rule: int, *, cache: dict | None = None, blocks: int | None = 999) -> int:
    return int(plan_of(engine, cache=cache, blocks=blocks).rules[rule])


def test_the_kernels_names_are_the_places_of_the_tables():
    orders = (
        layout.FCFS, layout.PRIORITY, layout.LPM, layout.DFS_WEIGHT, layout.LOF, layout.SPF,
        layout.HRRN,
    )  # fmt: skip
    names = ("fcfs", "priority", "lpm", "dfs-weight", "lof", "spf", "hrrn")
    assert order_names() == names
    assert tuple(map(order_code, names)) == orders
    assert (scheduler_code("vllm"), scheduler_code("sglang")) == (layout.VLLM, layout.SGLANG)


def test_each_key_reaches_its_rule():
    keys = {
        "order": ("priority", layout.ORDER, layout.PRIORITY),
        "async_scheduling": (True, layout.ASYNC, 1),
        "max_active_sequences": (7, layout.MAX_ACTIVE, 7),
        "long_prefill_token_threshold": (50, layout.LONG_PREFILL, 50),
        "prefill_chunk_tokens": (60, layout.LONG_PREFILL, 60),
        "prefill_schedule_interval": (4, layout.PREFILL_INTERVAL, 4),
        "reserve_full_prompt": (False, layout.RESERVE_FULL, 0),
        "steps": (True, layout.KEEP_STEPS, 1),
    }
    for key, (value, rule, told) in keys.items():
        assert rule_of({}, rule) != told
        assert rule_of({key: value}, rule) == told


def test_each_key_of_sglang_reaches_its_rule():
    keys = {
        "max_prefill_tokens": (4096, layout.MAX_PREFILL_TOKENS, 4096),
        "schedule_conservativeness": (0.33, layout.CONSERVATIVENESS_PPM, 330_000),
        "prefill_decode_interval": (3, layout.PREFILL_DECODE_INTERVAL, 3),
        "prefill_max_requests": (4, layout.PREFILL_MAX_REQUESTS, 4),
        "ignore_eos": (True, layout.IGNORE_EOS, 1),
        "scheduler": ("sglang", layout.SCHEDULER, layout.SGLANG),
    }
    for key, (value, rule, told) in keys.items():
        asked = {"scheduler": "sglang", key: value}
        assert rule_of({}, rule) != told
        assert rule_of(asked, rule, cache=RADIX) == told
    asked = {"scheduler": "sglang", "order": "priority", "priority_preemption_threshold": 0}
    assert rule_of({}, layout.PREEMPTION_THRESHOLD) == 10
    assert rule_of(asked, layout.PREEMPTION_THRESHOLD, cache=RADIX) == 0


def test_whoever_does_not_say_has_as_many_active_as_running_at_once():
    assert rule_of({"max_sequences": 9}, layout.MAX_ACTIVE) == 9


def test_the_watermark_counts_vllms_null_block_too():
    assert rule_of({"watermark": 0.01}, layout.WATERMARK_BLOCKS, blocks=999) == 10
    assert rule_of({"watermark": 0.01}, layout.WATERMARK_BLOCKS, blocks=998) == 9
    assert rule_of({"watermark": 0.5}, layout.WATERMARK_BLOCKS, blocks=None) == 0


def test_priorities_are_read_where_the_order_asks_for_them():
    for order, told in (("fcfs", [0, 0, 0]), ("priority", [3, 0, -1])):
        plan = plan_of({"order": order}, priority=[3, None, -1])
        assert plan.table[:, layout.PRIORITY_OF].tolist() == told


def test_no_steps_are_kept_of_the_run_beside_it():
    assert plan_of({"steps": True}).without_cache().rules[layout.KEEP_STEPS] == 0


VLLM_ALONE = {
    "max_active_sequences": 8,
    "long_prefill_token_threshold": 64,
    "prefill_chunk_tokens": 64,
    "prefill_schedule_interval": 2,
    "reserve_full_prompt": False,
    "watermark": 0.1,
}
SGLANG_ALONE = {
    "max_prefill_tokens": 4096,
    "schedule_conservativeness": 0.5,
    "prefill_decode_interval": 3,
    "prefill_max_requests": 4,
    "ignore_eos": True,
}
RADIX = {"kind": "radix"}


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"engine": {"scheduler": "orca"}}, "engine.scheduler: must be 'vllm' or 'sglang'"),
        (
            {"engine": {"order": "lpm"}},
            "scheduler vllm knows the orders fcfs, priority (got 'lpm')",
        ),
        (
            {"engine": {"order": "sjf"}},
            "engine.order: must be 'fcfs', 'priority', 'lpm', 'dfs-weight', 'lof', 'spf' or "
            "'hrrn' (got 'sjf')",
        ),
        ({"engine": {"mixed_steps": False}}, "engine.scheduler sglang with cache.kind radix"),
        (
            {"engine": {"scheduler": "sglang"}},
            "engine.scheduler sglang works over cache.kind radix, not block",
        ),
        *(
            (
                {"engine": {"scheduler": "sglang", key: value}, "cache": RADIX},
                f"{key} has no effect when scheduler is sglang: it is a key of vllm",
            )
            for key, value in VLLM_ALONE.items()
        ),
        *(
            (
                {"engine": {key: value}},
                f"{key} has no effect when scheduler is vllm: it is a key of sglang",
            )
            for key, value in SGLANG_ALONE.items()
        ),
        (
            {
                "engine": {"scheduler": "sglang", "priority_preemption_threshold": 5},
                "cache": RADIX,
            },
            "priority_preemption_threshold has no effect without order priority",
        ),
        (
            {"engine": {"scheduler": "sglang"}, "cache": {**RADIX, "block_size": 100}},
            "engine.max_batched_tokens (8192) must be a multiple of cache.block_size (100)",
        ),
        (
            {
                "engine": {"scheduler": "sglang", "order": "spf"},
                "cache": {**RADIX, "enabled": False},
            },
            "engine.order spf needs cache.enabled",
        ),
        (
            {"engine": {"prefill_chunk_tokens": 64, "long_prefill_token_threshold": 32}},
            "prefill_chunk_tokens is the former name of long_prefill_token_threshold: give one",
        ),
        (
            {"engine": {"long_prefill_adaptive": True}},
            "long_prefill_adaptive has no effect without long_prefill_token_threshold",
        ),
        (
            {"engine": {"max_active_sequences": 300}},
            "max_active_sequences (300) has no effect above max_sequences (256)",
        ),
        (
            {"engine": {"max_batched_tokens": 64}},
            "max_batched_tokens (64) must be at least max_sequences (256)",
        ),
        ({"engine": {"watermark": 1.0}}, "engine.watermark: must be less than 1 (got 1.0)"),
        ({"engine": {"long_prefill_token_threshold": -1}}, "greater than or equal to 0 (got -1)"),
        ({"engine": {"prefill_schedule_interval": 0}}, "must be greater than 0 (got 0)"),
        ({"engine": {"async_scheduling": 7}}, "engine.async_scheduling: must be true or false"),
        *(
            (
                {"engine": {"mode": "untimed", key: value}},
                f"engine.{key} has no effect when engine.mode is untimed",
            )
            for key, value in (
                *VLLM_ALONE.items(),
                ("order", "priority"),
                ("scheduler", "sglang"),
                ("steps", True),
            )
        ),
    ],
)
def test_what_a_scheduler_does_not_know_is_refused(sections, told):
    with pytest.raises(ConfigError) as refused:
        check_values(sections, Scenario, "scenario")
    assert told in str(refused.value)


def test_keys_of_the_scheduler_that_is_asked_for_are_taken():
    for engine, cache in (
        ({"scheduler": "sglang", "order": "lpm", "mixed_steps": True}, RADIX),
        ({"scheduler": "sglang", "max_batched_tokens": 8, "max_sequences": 32}, RADIX),
        ({"order": "priority", "mixed_steps": True, "watermark": 0.01}, {}),
        ({"long_prefill_token_threshold": 8, "long_prefill_adaptive": True}, {}),
    ):
        Scenario.model_validate({"engine": engine, "cache": cache})


def test_an_order_may_be_called_as_its_engine_calls_it():
    told = {"scheduler": "sglang", "order": "shortest-prefill-first"}
    assert Scenario(engine=told, cache=RADIX).engine.order == "spf"


def test_a_step_is_mixed_as_its_scheduler_does():
    assert Scenario().engine.mixes
    told = {"scheduler": "sglang"}
    assert not Scenario(engine=told, cache=RADIX).engine.mixes
    assert Scenario(engine={**told, "mixed_steps": True}, cache=RADIX).engine.mixes


@pytest.mark.parametrize(
    ("engine", "columns", "told"),
    [
        ({}, {}, []),
        ({"order": "priority"}, {}, [NO_PRIORITIES]),
        ({"order": "priority"}, {"priority": [1, 2, 3]}, []),
        ({"prefill_chunk_tokens": 512}, {}, [FORMER_NAME]),
        ({"long_prefill_token_threshold": 512}, {}, []),
    ],
)
def test_notes_tell_of_keys_that_mean_less_than_they_seem(engine, columns, told):
    prepared = prepare_trace(three(**columns), Scenario.model_validate({"engine": engine}))
    assert [note for note in run_notes(prepared) if note in (FORMER_NAME, NO_PRIORITIES)] == told


def test_the_page_on_scheduling_names_every_scheduler_order_and_key_of_one():
    page = (Path(__file__).parents[1] / "docs" / "scheduling.md").read_text(encoding="utf-8")
    keys = [f"engine.{key}" for key in (*VLLM_ALONE, *SGLANG_ALONE)]
    named = [*SCHEDULERS, *order_names(), *keys, "engine.priority_preemption_threshold"]
    assert [name for name in named if f"`{name}`" not in page] == []
