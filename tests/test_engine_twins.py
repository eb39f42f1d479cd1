"""The kernels against their naive twins, request by request, on random traces."""

from __future__ import annotations

import math
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine import simulate
from replay.engine.generating import count_generating
from replay.engine.plan import make_plan
from replay.engine.simulate import simulate_timed, simulate_untimed
from replay.engine.tables import make_tables
from replay.gpu.cost import StepCost
from replay.kernels import attention as attention_kernel
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests.naive import attention as naive_attention
from tests.naive import pool as naive
from tests.naive.scheduler import Scheduler
from tests.random_traces import (
    BLOCK,
    mixed,
    queueing_rows,
    rows,
    trace_of,
    unit_rows,
    unit_trace_of,
)

STATUSES = {
    "completed": layout.COMPLETED,
    "rejected": layout.REJECTED,
    "unfinished": layout.UNFINISHED,
}
KINDS = {  # of attention, in the words of tests/naive/attention.py
    "pair": 0.9, "tile_key": 0.7, "tile_start": 1.5, "tile_rows": 4, "heads": 2, "sms": 3,
    "key": 1.3, "row": 0.4, "expand": 0.2, "decode_pair": 0.8, "decode_key": 1.1,
    "decode_row": 0.3, "group": 2, "l2_keys": 9.0, "window": 11.0, "decodes": "apart",
    "kv_heads": 1, "launch": 0.6, "combine": 0.35, "absorbed": 0, "write": 0.15,
}  # fmt: skip
COLUMNS = {
    "pair": attention_kernel.PAIR_NS,
    "tile_key": attention_kernel.TILE_KEY_NS,
    "tile_start": attention_kernel.TILE_START_KEYS,
    "tile_rows": attention_kernel.TILE_ROWS,
    "heads": attention_kernel.HEADS,
    "sms": attention_kernel.SMS,
    "key": attention_kernel.KEY_NS,
    "row": attention_kernel.ROW_NS,
    "expand": attention_kernel.EXPAND_NS,
    "decode_pair": attention_kernel.DECODE_PAIR_NS,
    "decode_key": attention_kernel.DECODE_KEY_NS,
    "decode_row": attention_kernel.DECODE_ROW_NS,
    "group": attention_kernel.GROUP,
    "l2_keys": attention_kernel.L2_KEYS,
    "window": attention_kernel.WINDOW,
    "launch": attention_kernel.CHUNK_LAUNCH_NS,
    "combine": attention_kernel.COMBINE_NS,
    "absorbed": attention_kernel.ABSORBED_TOKENS,
    "write": attention_kernel.WRITE_NS,
}
DECODES = ("apart", "tiles beside chunks", "always tiles", "packed")
COUNTED = {
    "hit": layout.HIT,
    "session_hit": layout.SESSION_HIT,
    "hit_blocks": layout.HIT_BLOCKS,
    "evicted": layout.EVICTED_BLOCKS,
    "scheduled_ns": layout.SCHEDULED_NS,
    "first_token_ns": layout.FIRST_TOKEN_NS,
    "done_ns": layout.DONE_NS,
    "itl_max_ns": layout.ITL_MAX_NS,
    "preemptions": layout.PREEMPTIONS,
    "recomputed": layout.RECOMPUTED,
}
UNTIMED = {
    **{name: COUNTED[name] for name in ("hit", "session_hit", "hit_blocks", "evicted")},
    "evicted_later": layout.EVICTED_LATER,
    "attempts": layout.ATTEMPTS,
    "admitted_ns": layout.ADMITTED_NS,
    "found": layout.FOUND,
    "free_after": layout.FREE_AFTER,
}
RESPONSES = {
    "none": layout.RESPONSE_NONE,
    "cached": layout.RESPONSE_CACHED,
    "skipped": layout.RESPONSE_SKIPPED,
}
MISSED = {
    "cold": layout.COLD,
    "capacity": layout.CAPACITY_MISS,
    "in_flight": layout.IN_FLIGHT,
    "granularity": layout.GRANULARITY,
    "disabled": layout.DISABLED,
}

sizes = st.sampled_from([1, 2, 3, 4, 5, 8])
cache_rules = st.fixed_dictionaries(
    {
        "enabled": st.sampled_from([True, True, True, False]),
        "responses": st.booleans(),
        "partial_blocks": st.booleans(),
        "commit": st.sampled_from(["on_schedule", "incremental", "on_completion"]),
    }
)


def kinds_of(decodes: str) -> list[dict]:
    """Return two kinds of layers, one of them with a window."""
    full = {**KINDS, "decodes": decodes, "window": 2.0**53, "expand": 0.0}
    return [full, {**KINDS, "decodes": decodes}]


def cost_of(most_tokens: int, most_sequences: int, decodes: str = "apart") -> StepCost:
    linear = 3.0 + 1.5 * np.arange(most_tokens + 1)
    head = 0.25 * np.arange(most_sequences + 1)
    linear[0] = head[0] = 0.0
    attention = np.zeros((2, attention_kernel.COEFFICIENTS))
    for row, kind in zip(attention, kinds_of(decodes), strict=True):
        for name, column in COLUMNS.items():
            row[column] = kind[name]
        row[attention_kernel.UNSPLIT] = DECODES.index(decodes)
        row[attention_kernel.DECODE_LAUNCH_NS] = kind["launch"]
        if decodes == "packed":
            row[attention_kernel.TILE_ROWS] /= kind["group"]
            row[attention_kernel.HEADS] = kind["kv_heads"]
            row[attention_kernel.DECODE_PIECES] = attention_kernel.pieces_that_fill(
                float(kind["kv_heads"]), float(kind["sms"])
            )
        else:
            row[attention_kernel.DECODE_LAUNCH_NS] += kind["combine"]
    return StepCost(linear_ns=linear, head_ns=head, attention=attention)


def naive_step_ns(cost: StepCost):
    kinds = kinds_of(DECODES[int(cost.attention[0, attention_kernel.UNSPLIT])])

    def step_ns(prompts, contexts, sampled) -> int:
        tokens = len(contexts) + sum(chunk for chunk, _ in prompts)
        attention = naive_attention.attention(kinds, prompts, contexts)
        total = cost.linear_ns[tokens] + cost.head_ns[sampled] + attention
        # Both sides add the same few terms in another order: a unit in the last place is no
        # difference, but it must not tip the rounding up.
        return math.ceil(round(total, 6))

    return step_ns


def compare(
    requests: list[naive.Request],
    outcome: np.ndarray,
    columns: dict[str, int],
    causes: dict[str, int] = MISSED,
) -> None:
    """Assert that every request came out as its twin did, each token hit or missed once."""
    for request in requests:
        row = outcome[request.index]
        got = {name: int(row[at]) for name, at in columns.items()}
        assert got == {name: getattr(request, name) for name in columns}, request.index
        missed = {name: int(row[at]) for name, at in causes.items()}
        assert missed == request.misses, request.index
        assert row[layout.STATUS] == STATUSES[request.status]
        assert request.hit + sum(request.misses.values()) == len(request.prompt)
        assert row[layout.SESSION_HIT] + row[layout.CROSS_REQUEST_HIT] == row[layout.HIT]


def counted(plan, simulation) -> np.ndarray:
    """Return the outcome with what was still being generated counted as in flight."""
    return count_generating(plan, simulation.outcome, simulation.left_queue).outcome


def compare_evictors(requests: list[naive.Request], outcome: np.ndarray) -> None:
    """Assert that what the first missing block was lost to is named as its twin names it."""
    for request in requests:
        by, when = outcome[request.index, [layout.EVICTED_BY, layout.EVICTED_AT_NS]]
        named = (None if by < 1 else by - 1, None if by == 0 else when)
        assert named == (request.evicted_by, request.evicted_ns), request.index


# What a cache keeps: a time to live in nanoseconds, and pinned prefixes as places among all edges.
kept_rules = st.fixed_dictionaries(
    {
        "ttl": st.sampled_from([None, None, 1, 60, 500, 2_000]),
        "pins": st.sampled_from([(), ()]) | st.lists(st.floats(0, 0.999), max_size=3),
    }
)


def pinned_keys(tree, requests, pinned: list[int], size: int, *, partial_blocks: bool) -> frozenset:
    """Return the twin's keys of all blocks up to the ends of some edges."""
    keys: set[tuple] = set()
    for edge in pinned:
        owner = next(
            request
            for request in requests
            if edge in tree.path_edges[slice(*tree.path_offsets[request.index :][:2])]
        )
        tokens = owner.tokens[: tree.edge_stop[edge]]
        keys |= {tokens[: (i + 1) * size] for i in range(len(tokens) // size)}
        if partial_blocks and len(tokens) % size:
            keys.add(("ends here", *tokens))
    return frozenset(keys)


def both(trace, requests, *, size, capacity, cache, kept, engine, twin):
    """Return the plan of a replay and the rules of its twin."""
    tree = build_tree(trace)
    pinned = [int(share * tree.edges) for share in kept["pins"]]
    ttl = kept["ttl"]
    written = {**cache, "ttl": None if ttl is None else f"{ttl}ns", "pinned_prefixes": pinned}
    scenario = Scenario(cache=written, engine=engine)
    plan = make_plan(trace, tree, scenario, block_size=size, capacity_blocks=capacity)
    keys = pinned_keys(tree, requests, pinned, size, partial_blocks=cache["partial_blocks"])
    rules = naive.Rules(
        block_size=size, capacity=capacity, **cache, ttl_ns=ttl, pinned=keys, **twin
    )
    return plan, rules


def stopping_often(plan) -> np.ndarray:
    """Return the outcome of a replay whose kernel stops at every request and outgrows its rows."""
    small = partial(make_tables, rows=2)
    with (
        patch.object(simulate, "make_tables", small),
        patch.object(simulate, "_REQUESTS_A_CALL", 1),
    ):
        return simulate.simulate_untimed(plan).outcome


def compare_untimed(trace, requests, *, size, capacity, cache, kept, hold) -> None:
    engine = {"mode": "untimed", "hold": f"{hold}ns" if hold else None}
    cache = {name: value for name, value in cache.items() if name != "commit"}
    plan, rules = both(
        trace, requests, size=size, capacity=capacity, cache=cache, kept=kept, engine=engine,
        twin={"hold_ns": hold},
    )  # fmt: skip
    simulation = simulate_untimed(plan)
    outcome = simulation.outcome
    naive.replay_untimed(requests, rules)
    compare(requests, counted(plan, simulation), UNTIMED)
    compare_evictors(requests, outcome)
    assert np.array_equal(stopping_often(plan), outcome)
    for request in requests:
        assert outcome[request.index, layout.RESPONSE] == RESPONSES[request.response_came_to]


holds = st.sampled_from([0, 0, 1, 150, 900, 5_000])


@settings(max_examples=300)
@given(
    drawn=mixed(rows()),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    kept=kept_rules,
    hold=holds,
)
def test_untimed_replay_equals_block_by_block_pool(drawn, size, capacity, cache, kept, hold):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    compare_untimed(
        trace_of(drawn), naive.make_requests(drawn, BLOCK), size=size, capacity=capacity,
        cache=cache, kept=kept, hold=hold,
    )  # fmt: skip


@settings(max_examples=300)
@given(
    drawn=mixed(unit_rows()),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    kept=kept_rules,
    hold=holds,
)
def test_untimed_replay_of_known_responses_equals_block_by_block_pool(
    drawn, size, capacity, cache, kept, hold
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    compare_untimed(
        unit_trace_of(drawn), naive.make_unit_requests(drawn), size=size, capacity=capacity,
        cache=cache, kept=kept, hold=hold,
    )  # fmt: skip


# Of vLLM's scheduler: half of the time as it is by default, else with a few of its options.
engine_rules = st.fixed_dictionaries(
    {
        "max_batched_tokens": st.integers(4, 40),
        "max_sequences": st.integers(1, 4),
        "async_scheduling": st.booleans(),
    },
    optional={
        "order": st.sampled_from(["fcfs", "priority"]),
        "chunked_prefill": st.just(value=False),
        "long_prefill_token_threshold": st.sampled_from([2, 3, 8]),
        "reserve_full_prompt": st.just(value=False),
        "watermark": st.sampled_from([0.05, 0.2]),
        "prefill_schedule_interval": st.sampled_from([2, 4]),
        "max_active_sequences": st.just(1),
    },
).flatmap(
    lambda rules: st.booleans().map(
        lambda adapts: (
            {**rules, "long_prefill_adaptive": adapts}
            if "long_prefill_token_threshold" in rules
            else rules
        )
    )
)


def compare_timed(
    trace, requests, *, size, capacity, cache, kept, engine, horizon=None, decodes="apart"
) -> None:
    duration = None if horizon is None else f"{horizon}ns"
    plan, rules = both(
        trace, requests, size=size, capacity=capacity, cache=cache, kept=kept,
        engine={**engine, "horizon": duration}, twin={**engine, "horizon_ns": horizon},
    )  # fmt: skip
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"], decodes)
    simulation = simulate_timed(plan, cost)
    outcome = simulation.outcome
    Scheduler(requests, rules, naive_step_ns(cost)).run()
    columns = COUNTED
    if horizon is not None:  # a request cut short has a longest gap only in the twin
        columns = {name: at for name, at in COUNTED.items() if name != "itl_max_ns"}
    compare(requests, counted(plan, simulation), columns)
    compare_evictors(requests, outcome)


@pytest.mark.slow
@settings(max_examples=250)
@given(
    drawn=mixed(rows()),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    kept=kept_rules,
    engine=engine_rules,
    horizon=st.sampled_from([None, None, None, 500]),
    decodes=st.sampled_from(DECODES),
)
def test_timed_engine_equals_request_by_request_engine(
    drawn, size, capacity, cache, kept, engine, horizon, decodes
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    compare_timed(
        trace_of(drawn), naive.make_requests(drawn, BLOCK), size=size, capacity=capacity,
        cache=cache, kept=kept, engine=engine, horizon=horizon, decodes=decodes,
    )  # fmt: skip


def test_a_waiting_prompt_fits_once_an_older_copy_of_a_pinned_block_has_expired():
    columns = ("arrival_ns", "block_ids", "input_tokens", "output_tokens", "session_id")
    rows = [
        (0, [10, 11, 12, 16], 13, 12, 2),
        (57, [0, 2, 3, 4, 5], 20, 6, 2),
        (79, [0], 4, 1, 2),
        (80, [0, 1], 5, 4, 0),
        (80, [0, 8, 9], 9, 1, None),
        (83, [10, 11, 12, 13, 15], 17, 1, None),
        (250, [10, 11, 12, 13, 14], 20, 12, 2),
    ]
    drawn = [dict(zip(columns, row, strict=True)) for row in rows]
    compare_timed(
        trace_of(drawn), naive.make_requests(drawn, BLOCK), size=1, capacity=25,
        cache={
            "enabled": True, "responses": False, "partial_blocks": False, "commit": "incremental"
        },
        kept={"ttl": 60, "pins": [0.75]},
        engine={
            "max_batched_tokens": 5, "max_sequences": 2, "chunked_prefill": True,
        },
        horizon=None, decodes="apart",
    )  # fmt: skip


PLAIN = {"enabled": True, "responses": False, "partial_blocks": False, "commit": "incremental"}


def replayed(texts: list[tuple], *, capacity: int, engine: dict) -> np.ndarray:
    """Return the outcome of requests (arrival in ns, ids of one-token blocks, output tokens)."""
    columns = ("arrival_ns", "segments", "output_tokens")
    drawn = [
        {
            **dict(zip(columns, text, strict=True)),
            "segment_tokens": [1] * len(text[1]),
            "input_tokens": len(text[1]),
            "response_segment": None,
            "session_id": None,
        }
        for text in texts
    ]
    kept = {"ttl": None, "pins": []}
    limits = {"chunked_prefill": True, **engine}
    requests = naive.make_unit_requests(drawn)
    plan, rules = both(
        unit_trace_of(drawn), requests, size=1, capacity=capacity, cache=PLAIN, kept=kept,
        engine=limits, twin=limits,
    )  # fmt: skip
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    outcome = simulate_timed(plan, cost).outcome
    Scheduler(requests, rules, naive_step_ns(cost)).run()
    compare(requests, outcome, COUNTED)
    compare_evictors(requests, outcome)
    return outcome


def test_a_prompt_that_did_not_fit_is_looked_up_again_once_more_of_it_is_there():
    shared = [*range(6)]
    engine = {"max_batched_tokens": 16, "max_sequences": 4, "long_prefill_token_threshold": 2}
    outcome = replayed([(0, shared, 2), (1, [*shared, 7], 1)], capacity=8, engine=engine)
    # Nobody gives anything back before the second is admitted.
    assert outcome[1, layout.SCHEDULED_NS] < outcome[0, layout.DONE_NS]
    assert outcome[1, layout.HIT] == 6


def test_who_evicted_what_is_computed_again_at_the_moment_is_not_named():
    text = [*range(10)]
    engine = {"max_batched_tokens": 4, "max_sequences": 4}
    outcome = replayed(
        [
            (0, text, 1),
            (1_000, [20, 21, 22, 23, 24, 25], 1),  # takes the end of it
            (2_000, [*range(30, 42)], 1),  # and the rest
            (3_000, text[:6], 1),  # computes the first half again
            (3_001, text, 1),
        ],
        capacity=12, engine=engine,
    )  # fmt: skip
    assert outcome[4, layout.IN_FLIGHT] > 0
    assert outcome[4, layout.CAPACITY_MISS] > 0
    assert outcome[4, layout.EVICTED_BY] - 1 == 1


@pytest.mark.slow
@settings(max_examples=250)
@given(
    drawn=mixed(unit_rows()),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules,
    kept=kept_rules,
    engine=engine_rules,
    decodes=st.sampled_from(DECODES),
)
def test_timed_engine_with_known_responses_equals_request_by_request_engine(
    drawn, size, capacity, cache, kept, engine, decodes
):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    compare_timed(
        unit_trace_of(drawn), naive.make_unit_requests(drawn), size=size, capacity=capacity,
        cache=cache, kept=kept, engine=engine, decodes=decodes,
    )  # fmt: skip


def queueing_options(seed: int) -> dict:
    """Return options of the scheduler, most of them off, drawn from a seed."""
    draw = np.random.default_rng(seed)

    def often(share: float, value, default):
        return value if draw.random() < share else default

    budget = int(draw.choice([8, 8, 16, 24]))
    rows = min(budget, int(draw.choice([2, 4, 8])))
    return {
        "max_batched_tokens": budget,
        "max_sequences": rows,
        "max_active_sequences": often(0.2, max(rows - 1, 1), None),
        "async_scheduling": bool(draw.random() < 0.7),
        "order": often(0.3, "priority", "fcfs"),
        "long_prefill_token_threshold": often(0.5, int(draw.choice([1, 2, 4])), 0),
        "reserve_full_prompt": often(0.8, True, False),
        "watermark": often(0.4, 0.1, 0.0),
        "prefill_schedule_interval": often(0.2, 3, 1),
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_a_long_queue_is_worked_off_as_by_the_request_by_request_engine(seed):
    """What is rare in short traces: budgets spent by prompts, heads that wait for a block."""
    drawn = queueing_rows(seed, 90)
    for row in drawn if seed % 3 else ():
        row["priority"] = row["arrival_ns"] % 3
    longest = max(row["input_tokens"] + row["output_tokens"] for row in drawn)
    compare_timed(
        trace_of(drawn), naive.make_requests(drawn, BLOCK), size=2,
        capacity=longest // 2 + seed,
        cache={
            "enabled": True, "responses": True, "partial_blocks": False, "commit": "on_schedule"
        },
        kept={"ttl": None, "pins": ()}, engine=queueing_options(seed), decodes="apart",
    )  # fmt: skip
