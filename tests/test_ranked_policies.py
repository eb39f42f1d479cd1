"""Ranked eviction policies: kernels against a block-by-block twin, and what they claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from replay.cache.blocks import block_paths
from replay.cache.hints import Hints, RecomputeCost, hints_of, recompute_cost
from replay.cache.ranked_policies import (
    BY_LEAVES,
    BY_NATURE,
    RANKED_POLICIES,
    lru_by_rank,
    optimum_hit_blocks,
    replay_ranked,
)
from replay.cache.references import references
from replay.errors import InputError, UnknownNameError
from replay.gpu.spec import load_gpu, load_model
from replay.kernels.policies.references import References
from replay.trace.tree import build_tree
from tests.libcachesim_oracle import sessions
from tests.naive import ranked as naive_ranked
from tests.random_traces import mixed, rows, trace_of, unit_rows, unit_trace_of

CAPACITIES = st.integers(1, 12) | st.integers(1, 60)
COSTS = st.sampled_from([RecomputeCost(7, 900), RecomputeCost(3, 0), RecomputeCost(1, 40_000)])


@st.composite
def cases(draw: st.DrawFn) -> tuple[References, Hints]:
    """Draw references of a random trace, and hints."""
    if draw(st.booleans()):
        trace = trace_of(draw(mixed(rows())))
        partial = draw(st.booleans())
    else:
        trace = unit_trace_of(draw(mixed(unit_rows())))
        partial = False
    paths = block_paths(
        build_tree(trace),
        trace.column("output_tokens"),
        block_size=draw(st.integers(1, 8)),
        partial_blocks=partial,
        responses=not partial and draw(st.booleans()),
    )
    numbers = st.lists(st.integers(0, 3), min_size=trace.requests, max_size=trace.requests)
    arrival_ns = trace.column("arrival_ns")
    if draw(st.booleans()):
        arrival_ns = arrival_ns // 1_000
    hints = Hints(
        arrival_ns=arrival_ns,
        block_tokens=draw(st.integers(1, 64)),
        cost=draw(COSTS),
        priority=np.asarray(draw(numbers), np.int64),
        category=np.asarray(draw(numbers), np.int32),
        ttl_ns=draw(st.integers(0, 3_000)),
        seed=draw(st.integers(0, 5)),
    )
    return references(paths), hints


def replayed(refs: References, name: str, capacity: int, hints: Hints):
    if name == "lru":
        return lru_by_rank(refs, capacity, hints)
    return replay_ranked(refs, name, capacity, hints)


@pytest.mark.slow
@pytest.mark.parametrize("name", naive_ranked.NAMES)
@settings(max_examples=30)
@given(case=cases(), capacity=CAPACITIES)
def test_policy_equals_its_block_by_block_twin(name, case, capacity):
    refs, hints = case
    got = replayed(refs, name, capacity, hints)
    expected = naive_ranked.Cache(refs, name, capacity, hints).run()
    assert got.hit_blocks.tolist() == expected.hit_blocks
    assert got.found_blocks == expected.found
    assert got.stranded_blocks == expected.stranded
    assert got.evicted_blocks == expected.evicted


@pytest.mark.slow
@pytest.mark.parametrize("name", ["length_aware", "gdsf", "pgdsf", "lfu", "workload_aware"])
@pytest.mark.parametrize("capacity", [60, 250])
def test_policy_equals_its_twin_on_conversations(name, capacity):
    refs = sessions(requests=220, open_at_once=12)
    requests = len(refs.limit)
    hints = Hints(
        arrival_ns=np.arange(requests, dtype=np.int64) // 3 * 50,
        block_tokens=16,
        cost=RecomputeCost(700, 30),
        category=(np.arange(requests) * 7 % 5).astype(np.int32),
    )
    got = replay_ranked(refs, name, capacity, hints)
    expected = naive_ranked.Cache(refs, name, capacity, hints).run()
    assert got.hit_blocks.tolist() == expected.hit_blocks
    assert got.stranded_blocks == expected.stranded
    assert got.evicted_blocks == expected.evicted > 1_000


def documents(requests: int, seed: int = 3) -> References:
    """Return requests for one of ten long documents, sometimes with one of its questions."""
    rng = np.random.default_rng(seed)
    blocks = np.concatenate([rng.integers(8, 25, 10), rng.integers(1, 41, 30)])
    parent = np.concatenate([np.full(10, -1), np.arange(30) % 10]).astype(np.int32)
    roots = rng.zipf(1.5, requests) % 10
    paths = [[r, 10 + r + 10 * rng.integers(3)] if rng.random() < 0.5 else [r] for r in roots]
    return References(
        first=np.where(parent < 0, 0, blocks[parent]),
        blocks=blocks,
        parent=parent,
        offsets=np.cumsum([0, *map(len, paths)]),
        edges=np.asarray([edge for path in paths for edge in path], np.int32),
        limit=np.asarray([blocks[path].sum() for path in paths]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [*naive_ranked.CLOSED_BY_NATURE, *naive_ranked.LEAVES_ONLY])
def test_policy_equals_its_twin_on_documents_cut_again_and_again(name):
    refs = documents(250)
    requests = len(refs.limit)
    hints = Hints(
        arrival_ns=np.arange(requests, dtype=np.int64),
        block_tokens=16,
        cost=RecomputeCost(50, 3_000),
        priority=(np.arange(requests) * 11 % 7).astype(np.int64),
        ttl_ns=12,
    )
    for capacity in (45, 80, 160):
        got = replayed(refs, name, capacity, hints)
        expected = naive_ranked.Cache(refs, name, capacity, hints).run()
        assert got.hit_blocks.tolist() == expected.hit_blocks
        assert got.evicted_blocks == expected.evicted > 500


@settings(max_examples=25)
@given(case=cases(), capacity=CAPACITIES)
def test_what_is_called_closed_is_closed_after_every_request(case, capacity):
    refs, hints = case
    for policy in RANKED_POLICIES:
        if policy.closure in (BY_NATURE, BY_LEAVES):
            twin = naive_ranked.Cache(refs, policy.name, capacity, hints)
            assert twin.leaves == (policy.closure == BY_LEAVES)
            assert twin.run().open_prefixes == 0, policy.name


def flat(paths: list[list[int]]) -> References:
    """Return requests over edges of one block each; a block's depth is its place on its path."""
    edges = max(max(path) for path in paths) + 1
    first, parent = np.zeros(edges, np.int64), np.full(edges, -1, np.int32)
    for path in paths:
        for depth, edge in enumerate(path):
            first[edge], parent[edge] = depth, path[depth - 1] if depth else -1
    lengths = [len(path) for path in paths]
    return References(
        first=first,
        blocks=np.ones(edges, np.int64),
        parent=parent,
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        edges=np.asarray([edge for path in paths for edge in path], np.int32),
        limit=np.asarray(lengths, np.int64),
    )


def hints_for(refs: References, **given) -> Hints:
    requests = len(refs.limit)
    plain = Hints(
        arrival_ns=np.arange(requests, dtype=np.int64),
        block_tokens=16,
        cost=RecomputeCost(10, 100),
        category=np.zeros(requests, np.int32),
        priority=np.zeros(requests, np.int64),
        ttl_ns=5,
    )
    return replace(plain, **given)


@pytest.mark.parametrize("name", ["fifo_leaf", "gdsf", "pgdsf", "random"])
def test_restriction_to_leaves_is_what_closes(name):
    refs = flat([[0], [0, 1, 2, 9, 10], [3], [4, 5], [0, 1, 2], [6], [7], [0, 1, 2], [8]])
    steep = hints_for(refs, cost=RecomputeCost(1, 1_000_000))
    for capacity in range(1, 9):
        assert naive_ranked.Cache(refs, name, capacity, steep).run().open_prefixes == 0
    opened = sum(
        naive_ranked.Cache(refs, name, capacity, replace(steep, seed=seed), leaves=False)
        .run()
        .open_prefixes
        for capacity in range(3, 7)
        for seed in range(5)
    )
    assert opened > 0


def test_workload_aware_strands_what_follows_a_block_of_a_category_that_returns_soon():
    refs = flat([[2], [2], [3], [3], [0, 1], [0], [4], [0, 1]])
    hints = hints_for(
        refs,
        arrival_ns=np.asarray([0, 1, 2, 102, 103, 104, 150, 151]),
        category=np.asarray([0, 0, 1, 1, 1, 0, 1, 1], np.int32),
    )
    outcome = replay_ranked(refs, "workload_aware", 3, hints)
    assert outcome.hit_blocks.tolist() == [0, 1, 0, 1, 0, 1, 0, 0]
    assert outcome.stranded_blocks == 1  # block 0, last used by category 0, was thought done with
    assert outcome.found_blocks == 4


# --- the optimum ----------------------------------------------------------------------------


@st.composite
def tiny_cases(draw: st.DrawFn) -> References:
    """Draw references of a handful of requests over few blocks."""
    if draw(st.booleans()):
        trace = trace_of(draw(mixed(rows(most=7))))
        partial = draw(st.booleans())
        size = draw(st.sampled_from([4, 4, 8]))
    else:
        trace, partial = unit_trace_of(draw(mixed(unit_rows(most=7)))), False
        size = draw(st.sampled_from([3, 5, 7]))
    paths = block_paths(
        build_tree(trace),
        trace.column("output_tokens"),
        block_size=size,
        partial_blocks=partial,
        responses=not partial and draw(st.booleans()),
    )
    return references(paths)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(refs=tiny_cases(), capacity=st.integers(1, 6))
def test_optimum_equals_exhaustive_search(refs, capacity):
    assume(refs.blocks.sum() <= 14)
    hints = hints_for(refs)
    pinned = replay_ranked(refs, "min", capacity, hints)
    free = replay_ranked(refs, "min_bypass", capacity, hints)
    assert pinned.hit_blocks.sum() == naive_ranked.best_hits(refs, capacity, bypass=False)
    assert free.hit_blocks.sum() == naive_ranked.best_hits(refs, capacity, bypass=True)
    assert pinned.stranded_blocks == free.stranded_blocks == 0
    assert optimum_hit_blocks(refs, capacity).tolist() == pinned.hit_blocks.tolist()


def test_optimum_needs_the_deepest_first_among_equals():
    refs = flat([[0, 1], [2, 3], [0, 1]])
    hints = hints_for(refs)
    assert naive_ranked.Cache(refs, "min", 3, hints).run().hit_blocks == [0, 0, 1]
    shallow = naive_ranked.Cache(refs, "min", 3, hints, ties=1).run()
    assert shallow.hit_blocks == [0, 0, 0]
    assert shallow.stranded == 1
    assert naive_ranked.best_hits(refs, 3, bypass=False) == 1


def test_optimum_spends_nothing_on_blocks_beyond_the_next_limit():
    refs = flat([[0, 1], [2], [3], [0, 1], [2]])
    refs = refs._replace(limit=np.asarray([1, 1, 1, 1, 1]))
    hits = optimum_hit_blocks(refs, 3)
    assert hits.tolist() == [0, 0, 0, 1, 1]  # 1 is computed again by request 3: it went first
    assert hits.sum() == naive_ranked.best_hits(refs, 3, bypass=False)


@settings(max_examples=40)
@given(case=cases(), capacity=CAPACITIES)
def test_nothing_beats_the_optimum(case, capacity):
    refs, hints = case
    bound = replay_ranked(refs, "min_bypass", capacity, hints).hit_blocks.sum()
    best = optimum_hit_blocks(refs, capacity).sum()
    assert best <= bound
    for policy in RANKED_POLICIES:
        if policy.name != "min_bypass":
            hit = replay_ranked(refs, policy.name, capacity, hints).hit_blocks.sum()
            assert hit <= best, policy.name


@settings(max_examples=40)
@given(case=cases(), capacity=CAPACITIES)
def test_optimum_keeps_prefixes_whole_where_all_of_a_path_can_hit(case, capacity):
    refs, hints = case
    lengths = [len(path) for path in naive_ranked.paths_of(refs)]
    refs = refs._replace(limit=np.asarray(lengths, np.int64))
    for name in naive_ranked.OPTIMUM:
        twin = naive_ranked.Cache(refs, name, capacity, hints).run()
        assert twin.open_prefixes == 0
        assert replay_ranked(refs, name, capacity, hints).hit_blocks.tolist() == twin.hit_blocks


# --- limits and errors ----------------------------------------------------------------------


@settings(max_examples=20)
@given(case=cases())
def test_with_room_for_everything_all_policies_are_alike(case):
    refs, hints = case
    hints = replace(hints, ttl_ns=10**9)
    blocks = int(refs.blocks.sum())
    expected = lru_by_rank(refs, max(blocks, 1), hints).hit_blocks.tolist()
    for policy in RANKED_POLICIES:
        outcome = replay_ranked(refs, policy.name, max(blocks, 1), hints)
        assert outcome.hit_blocks.tolist() == expected
        assert outcome.evicted_blocks == 0


def test_time_to_live_drops_what_was_idle_for_longer():
    refs = flat([[0], [0], [0], [1]])
    hints = hints_for(refs, arrival_ns=np.asarray([0, 10, 21, 40]), ttl_ns=10)
    outcome = replay_ranked(refs, "ttl", 8, hints)
    assert outcome.hit_blocks.tolist() == [0, 1, 0, 0]
    assert outcome.evicted_blocks == 2


def test_draws_differ_by_seed_and_repeat():
    paths = [[number % 7] for number in range(0, 200, 3)] + [[n * n % 11] for n in range(100)]
    refs = flat(paths)
    hits = [
        replay_ranked(refs, "random", 4, hints_for(refs, seed=seed)).hit_blocks.tolist()
        for seed in (1, 2, 1)
    ]
    assert hits[0] == hits[2] != hits[1]


def test_unknown_policy_is_named_with_those_known():
    refs = flat([[0]])
    with pytest.raises(UnknownNameError, match="lfuu") as raised:
        replay_ranked(refs, "lfuu", 1, hints_for(refs))
    assert "lfu" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("ttl", "ttl_ns"), ("priority", "priority"), ("workload_aware", "category")],
)
def test_policy_says_what_it_lacks(name, missing):
    refs = flat([[0]])
    with pytest.raises(InputError, match=f"{name} needs"):
        replay_ranked(refs, name, 1, hints_for(refs, **{missing: None}))


def test_hints_come_from_the_columns_of_a_trace():
    base = trace_of([
        {"arrival_ns": 5 * n, "block_ids": [n], "input_tokens": 4, "output_tokens": 1,
         "session_id": 0}
        for n in range(6)
    ])  # fmt: skip
    bare = hints_of(base, 16, seed=3)
    assert bare.category is None
    assert bare.priority is None
    assert (bare.block_tokens, bare.seed, bare.ttl_ns) == (16, 3, None)
    assert bare.arrival_ns.tolist() == [0, 5, 10, 15, 20, 25]
    frame = base.frame.with_columns(
        pl.Series("turn", [0, 1, 2, 3, 4, 9], pl.Int32),
        pl.Series("kind", ["b", "a", "a", "a", "a", "a"]),
        pl.Series("priority", [1, None, 3, 0, 0, 7]),
    )
    full = hints_of(base.changed(frame), 16)
    assert full.priority.tolist() == [1, 0, 3, 0, 0, 7]
    assert full.category.tolist() == [3, 0, 1, 2, 2, 2]


def test_recompute_cost_is_a_line_through_the_step_cost_model():
    cost = recompute_cost(load_gpu("h100-sxm"), load_model("llama-3.1-8b"))
    assert (cost.linear_ns, cost.context_ns) == (24_096, 759)


def test_a_cache_holds_at_least_one_block():
    refs = flat([[0]])
    with pytest.raises(InputError, match="at least one block"):
        replay_ranked(refs, "lfu", 0, hints_for(refs))
