"""The tables of a run against what its twins counted: every column, on traces that queue.

Whatever stands between a kernel and a number that is printed is here: casting, null rules, the
pair with caching off, overhead, the intervals of the timeline, and which edge a block belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cache.hints import RecomputeCost, hints_of
from replay.cache.references import references
from replay.config.hardware.server import ServerTimes
from replay.config.scenario import Scenario
from replay.engine import costing as costs
from replay.engine import generating, outcome, run, simulate, sizing, tables
from replay.engine import prefix_rows as prefix_rows_module
from replay.engine.costing import Costing
from replay.engine.plan import make_plan
from replay.engine.run import RunResult, execute, prepare_trace
from replay.runs import rows as runs_rows
from replay.schema import REQUESTS, TIMELINE, column_names
from replay.trace import shared_edges
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree, build_tree
from tests import test_radix_twins as radix
from tests import test_session_store as store
from tests.naive import pool as naive
from tests.naive import ranked as naive_ranked
from tests.naive import stack as naive_stack
from tests.naive.frames import (
    Clock,
    causality,
    global_hits,
    prefix_rows,
    request_row,
    timeline_rows,
)
from tests.naive.radix import RadixCache, RadixRules
from tests.naive.radix import replay_untimed as replay_radix
from tests.naive.scheduler import Scheduler
from tests.naive.store import Store, StoreRules
from tests.random_traces import BLOCK, queueing_rows, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import (
    cache_rules,
    cost_of,
    engine_rules,
    holds,
    kept_rules,
    naive_step_ns,
    pinned_keys,
    sizes,
)

WIDTH_NS, INTERVALS = 40, 8  # of the timeline, so that it has to widen
OVERHEAD_NS = (7, 3, 2)  # a request, a prompt token, an answer beside its first token


@pytest.fixture(autouse=True)
def long_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every run one that is taken apart: tables in stretches, rows taken out when done.

    What is given back is overwritten: who still reads it, or relies on it, gets it wrong.
    """
    for module, name in (
        (outcome, "_ROWS_AT_ONCE"), (run, "ROWS_AT_ONCE"), (runs_rows, "ROWS_AT_ONCE"),
        (shared_edges, "_REQUESTS_AT_ONCE"), (shared_edges, "_PLACES_AT_ONCE"),
        (shared_edges, "_EDGES_AT_ONCE"), (prefix_rows_module, "_EDGES_AT_ONCE"),
        (generating, "_REQUESTS_AT_ONCE"), (simulate, "_REQUESTS_A_CALL"),
        (tables, "STEPS_A_CALL"), (simulate, "STEPS_A_CALL"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 2)

    def overwrite(rows: outcome.LazyRows, start: int, stop: int) -> None:
        rows.table[start:stop] = -(10**12)

    monkeypatch.setattr(outcome.LazyRows, "release", overwrite)


DIAGNOSED = ("sufficient_capacity_blocks", "optimum_hit_tokens", "avoidable_miss_tokens")


@dataclass
class Case:
    """A trace, what is done with it, and its twin's rules."""

    drawn: list[dict]
    trace: Trace
    tree: PrefixTree
    scenario: Scenario
    rules: naive.Rules
    off: naive.Rules
    engine: dict

    @property
    def kind(self) -> str:
        return self.scenario.cache.kind

    @property
    def timed(self) -> bool:
        return self.scenario.engine.mode == "timed"

    def requests(self) -> list[naive.Request]:
        if "segments" in self.drawn[0]:
            made = naive.make_unit_requests(self.drawn)
        else:
            made = naive.make_requests(self.drawn, BLOCK)
        for one in made if self.kind == "radix" else ():
            one.priority = self.rules.priority(one)
        return made

    def names(self) -> dict[tuple, int]:
        """Return the source's id of the block that the last token of each prefix lies in."""
        if "segments" in self.drawn[0]:
            return {}
        return {
            one.prompt[:depth]: one.prompt[depth - 1] // BLOCK
            for one in self.requests() for depth in range(1, len(one.prompt) + 1)
        }  # fmt: skip


def make_case(kind, drawn, size, capacity, rules, kept, engine) -> Case:
    """Return a case; `engine` holds the rules of a timed engine, or how long to hold a request."""
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    trace = unit_trace_of(drawn) if "segments" in drawn[0] else trace_of(drawn)
    tree = build_tree(trace)
    case = Case(drawn, trace, tree, Scenario(), naive.Rules(1, 1), naive.Rules(1, 1), engine)
    timed = "hold" not in engine
    written, twin = engine, dict(engine)
    if not timed:
        hold = engine["hold"]
        written = {"mode": "untimed", "hold": f"{hold}ns" if hold else None}
        twin = {"hold_ns": hold}
        rules = {name: value for name, value in rules.items() if name != "commit"}
    elif engine.get("horizon"):
        written = {**engine, "horizon": f"{engine['horizon']}ns"}
    if "horizon" in twin:
        twin["horizon_ns"] = twin.pop("horizon")
    pinned = [int(share * tree.edges) for share in kept["pins"]]
    shared = {"block_size": size, "capacity": capacity, **twin}
    if kind != "session_store":
        partial_blocks = rules.get("partial_blocks", False)
        keys = pinned_keys(tree, case.requests(), pinned, size, partial_blocks=partial_blocks)
        shared |= {"ttl_ns": kept["ttl"], "pinned": keys}
    if kind == "block":
        ttl = None if kept["ttl"] is None else f"{kept['ttl']}ns"
        cache = {**rules, "ttl": ttl, "pinned_prefixes": pinned}
        case.scenario = Scenario(cache=cache, engine=written)
        make = naive.Rules
    elif kind == "radix":
        case.scenario = radix.scenario_of(rules, kept, pinned, written)
        make = RadixRules
    else:
        case.scenario = store.scenario_of({"commit": "on_schedule", **rules}, written)
        make, size = StoreRules, None
        shared["block_size"] = 1
    case.rules, case.off = make(**shared, **rules), make(**shared, **{**rules, "enabled": False})
    if kind == "radix":
        ranks = [case.rules.priority(one) for one in case.requests()]
        column = pl.Series("priority", ranks, dtype=pl.Int64)
        case.trace = trace.changed(trace.frame.with_columns(column))
    sized = {"capacity": f"{capacity}blocks", "block_size": size}
    cache = case.scenario.cache.model_copy(update=sized)
    case.scenario = case.scenario.model_copy(update={"cache": cache})
    return case


HARDWARE = sizing.find_hardware(Scenario())  # of every run here, read once


def tables_of(case: Case, *, threads: int = 1) -> RunResult:
    """Return the run whose steps cost what the twin's do, its timeline in small intervals."""
    limits = case.scenario.engine
    few = min(limits.max_sequences, 64)
    costing = Costing(cost_of(limits.max_batched_tokens, few), ServerTimes(*OVERHEAD_NS), ())
    with (
        patch.object(costs, "make_costing", lambda *_: costing),
        patch.object(sizing, "find_hardware", lambda _: HARDWARE),
        patch.object(simulate, "NS_PER_S", WIDTH_NS),
        patch.object(tables, "BINS", INTERVALS),
    ):
        return execute(prepare_trace(case.trace, case.scenario), threads=threads)


def twin_of(case: Case, rules: naive.Rules):
    """Return (requests, cache, steps, end) of the twin's replay."""
    requests = case.requests()
    if not case.timed:
        replay = replay_radix if case.kind == "radix" else naive.replay_untimed
        kind = () if case.kind == "radix" else (KINDS[case.kind],)
        return requests, replay(requests, rules, *kind), [], 0
    cost = cost_of(rules.max_batched_tokens, rules.max_sequences)
    engine = Scheduler(requests, rules, naive_step_ns(cost), KINDS[case.kind])
    engine.run()
    return requests, engine.cache, engine.steps, engine.clock


KINDS = {"block": naive.Cache, "radix": RadixCache, "session_store": Store}


def diagnosis(case: Case, requests: list[naive.Request]) -> dict[str, list]:
    """Return what more cache and the optimum would have hit, from the twins of both."""
    if case.kind == "session_store" or not case.rules.enabled:
        return {name: [None] * len(requests) for name in DIAGNOSED}
    size, capacity = case.rules.block_size, case.rules.capacity
    plan = make_plan(
        case.trace, case.tree, case.scenario, block_size=size, capacity_blocks=capacity
    )
    refs = references(plan.paths)
    hints = hints_of(case.trace, size, cost=RecomputeCost(1, 0))
    enough = max(int(refs.blocks.sum()), 1)
    best = naive_ranked.Cache(refs, "min", min(capacity, enough), hints).run().hit_blocks
    optimum = [
        min(hit * size, len(one.prompt) - 1) for hit, one in zip(best, requests, strict=True)
    ]
    return {
        "sufficient_capacity_blocks": naive_stack.needed(
            naive_stack.paths_of(case.requests(), case.rules)
        ),
        "optimum_hit_tokens": optimum,
        "avoidable_miss_tokens": [
            min(max(ideal - one.hit, 0), one.misses["capacity"])
            for ideal, one in zip(optimum, requests, strict=True)
        ],
    }


def compare(case: Case, *, threads: int = 1) -> dict[str, pl.DataFrame]:
    """Assert that all tables of the run are the twin's, and return them."""
    got = tables_of(case, threads=threads).tables
    requests, twin, steps, end_ns = twin_of(case, case.rules)
    paired = case.timed and case.rules.enabled
    off = twin_of(case, case.off)[0] if paired else [None] * len(requests)
    clock = Clock(
        timed=case.timed,
        hold_ns=case.engine.get("hold", 0),
        overhead_ns=OVERHEAD_NS,
        replays=(requests, off),
    )
    size = case.rules.block_size
    expected = [
        request_row(row, one, other, size, clock)
        for row, one, other in zip(case.drawn, requests, off, strict=True)
    ]
    columns = {name: [row.get(name) for row in expected] for name in column_names(REQUESTS)}
    columns |= diagnosis(case, requests)
    columns |= causality(case.drawn, requests, clock, end_ns)
    columns["global_prefix_hit_tokens"] = global_hits(requests)
    _forget_unknown_evictors(case.kind, columns, got["requests"])
    for name, values in columns.items():
        assert got["requests"][name].to_list() == values, name
    assert ("timeline" in got) == case.timed
    if case.timed:
        intervals = timeline_rows(steps, end_ns, width_ns=WIDTH_NS, most=INTERVALS)
        assert got["timeline"].columns == column_names(TIMELINE)
        for name in got["timeline"].columns:
            assert got["timeline"][name].to_list() == [row[name] for row in intervals], name
    prefixes = prefix_rows(case.drawn, requests, twin, case.names())
    assert _with_names(got["prefixes"]) == prefixes
    return got


def _forget_unknown_evictors(kind: str, columns: dict[str, list], got: pl.DataFrame) -> None:
    """Leave out evictors that only the twin knows: a radix cache's edges remember their last loss,
    and a session store names nobody.
    """
    if kind == "block":
        return
    known = got["evicted_ns"].is_not_null().to_list()
    assert kind == "radix" or not any(known)
    for name in ("evicted_by_request_id", "evicted_ns"):
        kept = zip(columns[name], known, strict=True)
        columns[name] = [value if seen else None for value, seen in kept]


def _with_names(prefixes: pl.DataFrame) -> list[dict]:
    """Return the rows with ids replaced by what names an edge in the twin, in its order."""
    found = prefixes.to_dicts()
    assert prefixes["prefix_id"].is_sorted()
    names: dict = {row["prefix_id"]: (row["first_request_id"], row["stop_tokens"]) for row in found}
    names[None] = None
    for row in found:
        row["prefix"], row["parent"] = (
            names[row.pop("prefix_id")],
            names[row.pop("parent_prefix_id")],
        )
    return sorted(found, key=lambda row: row["prefix"])


any_rows = st.one_of(
    unit_rows(most=14, last_arrival_ns=400), rows(most=16, last_arrival_ns=400), rows()
)
rules_of = {
    "block": cache_rules,
    "radix": radix.cache_rules,
    "session_store": store.store_rules,
}
timed_rules = st.builds(
    lambda engine, horizon: {**engine, "horizon": horizon},
    engine_rules,
    st.sampled_from([None, None, None, 500]),
)
untimed_rules = st.builds(lambda hold: {"hold": hold}, holds)


@pytest.mark.parametrize("kind", rules_of)
@settings(max_examples=60)
@given(data=st.data(), drawn=any_rows, size=sizes, room=st.integers(-3, 15), kept=kept_rules)
def test_tables_of_an_untimed_run_are_its_twins(kind, data, drawn, size, room, kept):
    compare(case_of(kind, data, drawn, size, room, kept, untimed_rules))


@pytest.mark.slow
@pytest.mark.parametrize("kind", rules_of)
@settings(max_examples=60)
@given(data=st.data(), drawn=any_rows, size=sizes, room=st.integers(-3, 15), kept=kept_rules)
def test_tables_of_a_timed_run_are_its_twins(kind, data, drawn, size, room, kept):
    compare(case_of(kind, data, drawn, size, room, kept, timed_rules))


def case_of(kind, data, drawn, size, room, kept, engines) -> Case:
    """Return a case with a little more or less memory than the longest request needs."""
    tokens = 1 if kind == "session_store" else size
    longest = max(-(-(row["input_tokens"] + row["output_tokens"] - 1) // tokens) for row in drawn)
    rules = data.draw(rules_of[kind])
    kept = {"ttl": None, "pins": ()} if kind == "session_store" else kept
    return make_case(kind, drawn, size, max(longest + room, 1), rules, kept, data.draw(engines))


FIXED = {
    "block": {"enabled": True, "responses": True, "partial_blocks": False, "commit": "on_schedule"},
    "radix": {
        "policy": "slru", "classic": False, "protected_hits": 2, "enabled": True,
        "responses": True, "priorities": (),
    },
    "session_store": {
        "enabled": True, "responses": True, "commit": "incremental", "session_cache": True,
        "prefix_store": True, "min_prefix": 2, "max_entries": 5, "policy": "lru",
        "lengths": (4, 8, 16), "whole_prompts": False, "ttl_ns": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", FIXED)
def test_tables_of_a_run_that_queues_are_its_twins(kind, seed):
    engine = {"max_batched_tokens": 24, "max_sequences": 4, "horizon": None}
    capacity = 56 if kind == "session_store" else 19
    drawn = queueing_rows(seed, 60)
    kept = {"ttl": 900 if kind != "session_store" and seed % 2 else None, "pins": ()}
    case = make_case(kind, drawn, 4, capacity, FIXED[kind], kept, engine)
    got = compare(case, threads=1 + seed % 2)
    requests, timeline = got["requests"], got["timeline"]
    for name in ("queue_ns", "no_cache_queue_ns", "hit_tokens", "capacity_miss_tokens"):
        assert (requests[name] > 0).sum() > 5, name  # it is a trace that queues, hits and misses
    assert len(timeline) > INTERVALS // 2
    for name in ("evicted_blocks", "waiting_request_ns", "cached_block_ns", "prefill_tokens"):
        assert (timeline[name] > 0).sum() > 1, name
    assert timeline["preemptions"].sum() == requests["preemptions"].sum() > 0


def test_the_time_of_a_request_is_counted_from_its_arrival():
    """Two prompts, one sequence at a time: the second waits for the whole of the first."""
    drawn = [
        {"arrival_ns": at, "block_ids": [number], "input_tokens": BLOCK, "output_tokens": 2,
         "session_id": None}
        for number, at in enumerate((0, 1))
    ]  # fmt: skip
    engine = {"max_batched_tokens": 8, "max_sequences": 1, "horizon": None}
    kept = {"ttl": None, "pins": ()}
    case = make_case("block", drawn, BLOCK, 9, {**FIXED["block"]}, kept, engine)
    requests = tables_of(case).tables["requests"]
    first, second = requests.to_dicts()
    overhead = OVERHEAD_NS[0] + OVERHEAD_NS[1] * BLOCK + OVERHEAD_NS[2]  # nobody beside it
    served = first["e2e_ns"] - overhead
    assert second["queue_ns"] == served - 1
    assert second["ttft_ns"] == served - 1 + overhead + second["prefill_ns"]
    assert second["e2e_ns"] == 2 * served - 1 + overhead
    for name in ("queue_ns", "prefill_ns", "ttft_ns", "e2e_ns"):
        assert requests[f"no_cache_{name}"].to_list() == requests[name].to_list()
