"""SGLang's scheduler against its slow twin, request by request and step by step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.policies import policy_names
from replay.config.scenario import Scenario
from replay.engine import sglang_tables, simulate
from replay.engine.costing import make_costing
from replay.engine.plan import Plan, make_plan
from replay.kernels import layout
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.tree import build_tree
from tests.naive.sglang_scheduler import Request, replay
from tests.sglang_recordings import naive_rules, scenario
from tests.sglang_tables import request_columns, step_columns

MS = 10**6
COUNTED = (
    layout.HIT, layout.COLD, layout.CAPACITY_MISS, layout.IN_FLIGHT, layout.GRANULARITY,
    layout.DISABLED,
)  # fmt: skip


def token_rows(seed: int, *, requests: int, longest: int, pause_ms: int) -> list[dict]:
    """Return requests in bursts that repeat, cut, go on from and branch off one another."""
    draw = np.random.default_rng(seed)
    said: list[list[int]] = [[]]
    rows, at_ms = [], 0
    for _ in range(requests):
        base = said[int(draw.integers(len(said)))]
        if draw.random() < 0.4:
            base = base[: int(draw.integers(len(base) + 1))]
        prompt = base + draw.integers(3, size=draw.integers(0, longest)).tolist()
        prompt = prompt[: 3 * longest] or [0]
        response = draw.integers(3, size=draw.integers(1, longest)).tolist()
        said += [prompt, prompt + response]
        rows.append(
            {
                "arrival_ns": at_ms * MS,
                "tokens": prompt,
                "response_tokens": response,
                "priority": 100 * int(draw.integers(3)),
            }
        )
        at_ms += int(draw.integers(pause_ms)) if draw.random() < 0.6 else 0
    return rows


def trace_of(rows: list[dict]) -> Trace:
    frame = pl.DataFrame(
        rows,
        schema={
            "arrival_ns": pl.Int64,
            "tokens": pl.List(pl.UInt32),
            "response_tokens": pl.List(pl.UInt32),
            "priority": pl.Int64,
        },
    ).with_columns(
        input_tokens=pl.col("tokens").list.len(),
        output_tokens=pl.col("response_tokens").list.len(),
    )
    meta = TraceMeta(
        path="random", name="random", sha256="", format="random", block_size=None, content="tokens"
    )
    return canonical_trace(frame, meta)


def requests_of(rows: list[dict]) -> list[Request]:
    return [
        Request(
            index,
            row["arrival_ns"],
            tuple(row["tokens"]),
            tuple(row["response_tokens"]),
            row["priority"],
        )
        for index, row in enumerate(rows)
    ]


ORDERS = ("fcfs", "lpm", "dfs", "spf", "hrrn", "lof", "prio")


@st.composite
def recorded(draw: st.DrawFn) -> dict[str, int | bool | str]:
    """Draw settings as those of a recording."""
    page = draw(st.sampled_from([1, 1, 2, 4, 16]))
    order = draw(st.sampled_from(ORDERS))
    cached = draw(st.sampled_from([True, True, True, False])) or order == "spf"
    return {
        "pg": page,
        "cap": page * draw(st.integers(1, 400)),
        "chunk": page * draw(st.sampled_from([0, 1, 2, 3, 8, 64])),
        "rows": draw(st.integers(1, 12)),
        "maxp": draw(st.sampled_from([8, 40, 16384])),
        "cons": draw(st.sampled_from([1, 10, 30, 100, 100, 200])),
        "thr": draw(st.sampled_from([0, 10, 150])) if order == "prio" else 10,
        "pdi": draw(st.sampled_from([0, 0, 0, 1, 4])),
        "pmr": draw(st.sampled_from([0, 0, 0, 1, 2])),
        "mixed": draw(st.booleans()),
        "nocache": not cached,
        "eos": draw(st.booleans()),
        "overlap": draw(st.booleans()),
        **{one: one == order for one in ORDERS},
    }


traces = st.builds(
    token_rows,
    st.integers(0, 2**32),
    requests=st.sampled_from([5, 20, 60, 200]),
    longest=st.sampled_from([6, 20, 45]),
    pause_ms=st.sampled_from([2, 30, 200]),
)


def plan_of(rows: list[dict], settings: dict) -> Plan:
    trace, page = trace_of(rows), settings["pg"]
    blocks = settings["cap"] // page
    given = scenario(settings)
    return make_plan(trace, build_tree(trace), given, block_size=page, capacity_blocks=blocks)


def replayed(rows: list[dict], settings: dict) -> tuple[Plan, simulate.Simulation]:
    plan = plan_of(rows, settings)
    return plan, simulate.simulate_timed(plan, make_costing(scenario(settings), None).cost)


def compare(rows: list[dict], settings: dict) -> None:
    plan, simulation = replayed(rows, settings)
    requests = requests_of(rows)
    steps = replay(naive_rules(settings), requests)
    for column, values in step_columns(simulation.steps[:], settings["pg"]).items():
        assert values.tolist() == [step[column] for step in steps], column
    for column, values in request_columns(plan, simulation).items():
        seen = [getattr(one, column) for one in requests]
        if column.endswith("_ns") and column != "arrival_ns":
            seen = [seen[one.idx] if one.status == "ok" else -1 for one in requests]
        assert values.tolist() == seen, column
    gaps_ns = simulation.outcome[:, layout.ITL_MAX_NS]
    for one in requests:
        assert one.status != "ok" or gaps_ns[one.idx] == one.longest_gap_ns


@settings(max_examples=300)
@given(rows=traces, settings=recorded())
def test_kernel_equals_its_slow_twin(rows, settings):
    compare(rows, settings)


BUSY = {
    "pg": 4, "cap": 400, "chunk": 32, "rows": 12, "maxp": 16384, "cons": 30, "thr": 10, "pdi": 0,
    "pmr": 0, "mixed": False, "nocache": False, "eos": False, "overlap": True,
    **dict.fromkeys(ORDERS, False),
}  # fmt: skip
CROWD = {"requests": 300, "longest": 30, "pause_ms": 20}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("overlap", [False, True])
def test_many_that_wait_are_ordered_as_in_the_twin(order, overlap):
    compare(token_rows(1, **CROWD), BUSY | {order: True, "overlap": overlap})


def test_where_the_kernel_pauses_changes_nothing(monkeypatch):
    rows = token_rows(2, **CROWD)
    _, whole = replayed(rows, BUSY | {"dfs": True})
    monkeypatch.setattr(simulate, "STEPS_A_CALL", 1)
    _, paused = replayed(rows, BUSY | {"dfs": True})
    assert np.array_equal(whole.outcome, paused.outcome)
    assert np.array_equal(whole.steps[:], paused.steps[:])
    assert np.array_equal(whole.bins, paused.bins)


def test_passes_that_come_to_nothing_are_over_at_once(monkeypatch):
    """However long prompts may have to wait, with nothing to decode it takes no time."""
    rows, calls = token_rows(7, requests=20, longest=20, pause_ms=20), []
    _, long = replayed(rows, BUSY | {"pdi": 1000})
    plan = plan_of(rows, BUSY | {"pdi": 2**20})
    monkeypatch.setattr(simulate, "STEPS_A_CALL", 100)
    longest = simulate.simulate_timed(
        plan, make_costing(scenario(BUSY), None).cost, progress=lambda *at: calls.append(at)
    )
    assert np.array_equal(long.outcome, longest.outcome)
    assert np.array_equal(long.steps[:], longest.steps[:])
    assert len(calls) < 20


def test_tables_that_grow_change_nothing(monkeypatch):
    rows = token_rows(3, **CROWD)
    _, whole = replayed(rows, BUSY)
    monkeypatch.setattr(simulate, "make_tables", partial(small_tables, simulate.make_tables))
    monkeypatch.setattr(sglang_tables, "FIRST_PEAKS", 1)
    _, grown = replayed(rows, BUSY)
    assert np.array_equal(whole.outcome, grown.outcome)
    assert np.array_equal(whole.steps[:], grown.steps[:])


def small_tables(make, plan, *, rows, harvest):
    return make(plan, rows=1, harvest=harvest)


def test_rows_taken_out_of_the_tables_are_the_same():
    plan, whole = replayed(token_rows(4, **CROWD), BUSY | {"prio": True})
    cost = make_costing(scenario(BUSY), None).cost
    compact = simulate.simulate_timed(plan, cost, compact=True)
    for field in range(layout.OUTCOME_FIELDS):
        assert np.array_equal(whole.outcome[:, field], compact.outcome[:, field])


def test_the_clock_stops_at_the_horizon():
    rows = token_rows(5, **CROWD)
    plan, whole = replayed(rows, BUSY)
    rules = plan.rules.copy()
    rules[layout.HORIZON_NS] = whole.end_ns // 2
    cost = make_costing(scenario(BUSY), None).cost
    half = simulate.simulate_timed(replace(plan, rules=rules), cost)
    starts = half.steps[:][:, layout.STEP_START_NS]
    assert np.array_equal(half.steps[:], whole.steps[: len(starts)])
    done, status = half.outcome[:, layout.DONE_NS], half.outcome[:, layout.STATUS]
    assert (status == layout.UNFINISHED).any()
    assert np.array_equal(
        done[status == layout.COMPLETED], whole.outcome[status == layout.COMPLETED, layout.DONE_NS]
    )
    tokens = half.outcome[:, layout.HIT : layout.DISABLED + 1].sum(axis=1)
    assert (tokens > 0).all()


def test_every_prompt_token_is_in_one_column():
    plan, simulation = replayed(token_rows(6, **CROWD), BUSY | {"lpm": True})
    tokens = simulation.outcome[:, COUNTED].sum(axis=1)
    assert np.array_equal(tokens, plan.table[:, layout.INPUT_TOKENS])


def test_places_in_the_order_of_admissions_are_those_of_the_clock():
    """Who is never admitted has the place that comes next when it is turned away."""
    rows = [*token_rows(7, **CROWD), {**token_rows(7, **CROWD)[-1], "tokens": [0] * 500}]
    _, simulation = replayed(rows, BUSY | {"spf": True})
    place, admitted_ns = simulation.outcome[:, [layout.ADMISSION, layout.SCHEDULED_NS]].T
    admitted = place > 0
    order = np.argsort(place[admitted])
    assert np.array_equal(np.sort(place[admitted]), np.arange(1, admitted.sum() + 1))
    assert (np.diff(admitted_ns[admitted][order]) >= 0).all()
    assert place[-1] < 0
    assert not admitted[-1]


def test_the_longest_gap_between_tokens_spans_the_prompts_computed_meanwhile():
    """Request 0 decodes while 1 is computed: its third token waits for that whole prompt."""
    rows = [
        {"arrival_ns": 0, "tokens": [0], "response_tokens": [1] * 6, "priority": 0},
        {"arrival_ns": 8 * MS, "tokens": [2] * 200, "response_tokens": [1], "priority": 0},
    ]
    _, simulation = replayed(rows, BUSY | {"cap": 4000, "chunk": 400, "overlap": False})
    duration = simulation.steps[:][:, layout.STEP_DURATION_NS].tolist()
    prompt = simulation.steps[:][:, layout.STEP_PREFILL_TOKENS].tolist().index(200)
    assert simulation.outcome[0, layout.ITL_MAX_NS] == duration[prompt] + duration[prompt + 1]


@settings(max_examples=60)
@given(
    rows=traces,
    settings=recorded(),
    policy=st.sampled_from(policy_names("radix")),
    ttl=st.sampled_from([None, "20ms", "200ms"]),
    responses=st.booleans(),
    pins=st.lists(st.floats(0, 0.99), max_size=2),
)
def test_everything_taken_is_given_back_in_any_cache(rows, settings, policy, ttl, responses, pins):
    trace, page = trace_of(rows), settings["pg"]
    tree = build_tree(trace)
    pinned = sorted({int(share * tree.edges) for share in pins})
    told = scenario(settings).model_dump(exclude_unset=True)
    told["cache"] |= {"policy": policy, "responses": responses, "ttl": ttl}
    if pinned and not settings["nocache"]:
        told["cache"]["pinned_prefixes"] = pinned
    given_scenario = Scenario(**told)
    blocks = settings["cap"] // page
    plan = make_plan(trace, tree, given_scenario, block_size=page, capacity_blocks=blocks)
    t, e = simulate.timed_tables(plan, make_costing(given_scenario, None).cost)
    free = t.counters[[layout.UNKEYED, layout.IDLE, layout.PINNED_IDLE]].sum()
    assert free == t.counters[layout.CAPACITY]
    idle = (layout.RUNNING, layout.DECODING_COUNT, layout.CONTEXT_TOKENS, layout.FINISHING_COUNT)
    assert not e.now[list(idle)].any()
    assert not e.phases.any()
    assert (t.outcome[:, layout.STATUS] != layout.UNFINISHED).all()
    assert np.array_equal(t.outcome[:, COUNTED].sum(axis=1), plan.table[:, layout.INPUT_TOKENS])
