"""The keys of the scheduler: what a scenario says of them is what the kernels are told."""

from __future__ import annotations

import polars as pl

from replay.config.scenario import Scenario
from replay.config.schedulers import order_code, order_names, scheduler_code
from replay.engine.plan import Plan, make_plan
from replay.kernels import layout
from replay.trace.frame import TraceMeta, canonical_trace
from replay.trace.tree import build_tree

THREE = {
    "arrival_ns": [0, 1, 2],
    "input_tokens": [4, 4, 4],
    "output_tokens": [1, 1, 1],
    "block_ids": [[1], [2], [3]],
}


def plan_of(engine: dict, *, blocks: int | None = 999, **columns: list) -> Plan:
    """Return the plan of three requests of one block each."""
    meta = TraceMeta(
        path="three.jsonl", name="three", sha256="0" * 64, format="mooncake", block_size=4,
        content="blocks", sessions="none",
    )  # fmt: skip
    trace = canonical_trace(pl.DataFrame(THREE | columns), meta)
    scenario = Scenario.model_validate({"engine": engine})
    return make_plan(trace, build_tree(trace), scenario, block_size=4, capacity_blocks=blocks)


def rule_of(engine: dict, rule: int, blocks: int | None = 999) -> int:
    return int(plan_of(engine, blocks=blocks).rules[rule])


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
