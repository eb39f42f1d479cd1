"""The one-pass curve and LRU on edges against a stack of single blocks, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.analysis.groups import group_requests
from replay.cache.capacities import round_capacities, spaced_capacities
from replay.cache.curve import KNEES, sufficient_capacity
from replay.cache.view import BlockView, block_view
from replay.kernels.policies.lru import replay_lru
from replay.trace.tree import build_tree
from tests.naive import pool as naive
from tests.naive import stack as naive_stack
from tests.random_traces import BLOCK, mixed, rows, trace_of, unit_rows, unit_trace_of
from tests.shared_data import CONVERSATION, conversation, needs

RULES = st.sampled_from(
    [
        {"partial_blocks": False, "responses": False},
        {"partial_blocks": False, "responses": True},
        {"partial_blocks": True, "responses": False},
    ]
)


def viewed(trace, size: int, rules: dict) -> BlockView:
    outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
    return block_view(build_tree(trace), outputs, block_size=size, **rules)


def lru(view: BlockView, capacity: int) -> np.ndarray:
    refs = view.references
    return replay_lru(refs.blocks, refs.offsets, refs.edges, refs.limit, capacity)[0]


def assert_equal_to_stack(view: BlockView, requests: list, rules: dict) -> None:
    twin_rules = naive.Rules(block_size=view.block_size, capacity=0, **rules)
    paths = naive_stack.paths_of(requests, twin_rules)
    lengths = [len(request.prompt) for request in requests]
    for capacity in (1, 2, 3, 5, 8, 13, 40, 10**6):
        hits = naive_stack.hits_at(paths, capacity)
        saved = [min(h * view.block_size, n - 1) for h, n in zip(hits, lengths, strict=True)]
        assert lru(view, capacity).tolist() == hits
        assert view.saved_tokens(np.array(hits)).tolist() == saved
        assert int(view.curve.hit_blocks(np.array(capacity))) == sum(hits)
        assert int(view.curve.hit_tokens(np.array(capacity))) == sum(saved)
    needed = sufficient_capacity(view.uses, view.requests)
    assert needed.tolist() == naive_stack.needed(paths)


@settings(max_examples=200)
@given(drawn=mixed(rows()), size=st.integers(1, 9), rules=RULES)
def test_curve_and_lru_equal_a_stack_of_blocks(drawn, size, rules):
    view = viewed(trace_of(drawn), size, rules)
    assert_equal_to_stack(view, naive.make_requests(drawn, BLOCK), rules)


@settings(max_examples=200)
@given(drawn=mixed(unit_rows()), size=st.integers(1, 9), rules=RULES)
def test_curve_and_lru_with_known_responses_equal_a_stack_of_blocks(drawn, size, rules):
    view = viewed(unit_trace_of(drawn), size, rules)
    assert_equal_to_stack(view, naive.make_unit_requests(drawn), rules)


@settings(max_examples=100)
@given(drawn=mixed(rows()), size=st.integers(1, 9), rules=RULES)
def test_knees_are_the_smallest_capacities_and_breakpoints_hold_all_turns(drawn, size, rules):
    curve = viewed(trace_of(drawn), size, rules).curve
    every = curve.hit_tokens(np.arange(curve.working_set_blocks + 2))
    assert every[0] == 0
    assert (np.diff(every) >= 0).all()
    assert every[-1] == curve.ceiling_tokens
    if curve.working_set_blocks:
        last = curve.hit_blocks(np.array([curve.working_set_blocks - 1, curve.working_set_blocks]))
        assert last[0] < last[1]
    for share in KNEES:
        knee = curve.smallest_capacity(share)
        assert every[knee] >= share * curve.ceiling_tokens
        assert knee == 0 or every[knee - 1] < share * curve.ceiling_tokens
    turns = curve.breakpoints
    between = np.interp(np.arange(len(every)), turns, curve.hit_tokens(turns))
    assert np.array_equal(np.rint(between).astype(np.int64), every)


@needs(CONVERSATION)
@pytest.mark.parametrize("block_size", [16, 512, 1000])
@pytest.mark.parametrize("partial_blocks", [False, True])
def test_one_pass_equals_separate_runs_at_many_capacities(block_size, partial_blocks):
    trace, tree = conversation()
    outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
    view = block_view(tree, outputs, block_size=block_size, partial_blocks=partial_blocks)
    capacities = spaced_capacities(1, 2 * view.curve.working_set_blocks, 24)
    assert len(capacities) >= 20
    hits = view.curve.hit_tokens(np.array(capacities)).tolist()
    assert hits == [int(view.saved_tokens(lru(view, one)).sum()) for one in capacities]


def test_round_capacities_cover_the_range_in_the_unit():
    assert round_capacities(247, 155_147, 1)[:3] == [500, 1_000, 2_000]
    assert round_capacities(247, 155_147, 1)[-1] == 200_000
    assert round_capacities(1, 3, 1) == [1, 2, 5]
    gib = round_capacities(247, 155_147, 16)
    assert gib[0] == 20 * 16
    assert gib[-1] == 10_000 * 16
    assert round_capacities(1, 1, 1 / 512) == [1]


def test_windows_begin_with_the_trace():
    drawn = [{"arrival_ns": at, "block_ids": [at], "input_tokens": 4, "output_tokens": 1,
              "session_id": None} for at in (0, 99, 100, 250)]  # fmt: skip
    groups = group_requests(trace_of(drawn), "window", 100)
    assert groups.codes.tolist() == [0, 0, 1, 2]
    assert groups.names == ["0s", "100ns", "200ns"]
