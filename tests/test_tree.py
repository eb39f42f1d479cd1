"""The prefix tree against plain sets of prefixes."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError, UnknownNameError
from replay.kernels.tree.factorize import codes_of_any_ids, codes_of_small_ids
from replay.trace.frame import Trace
from replay.trace.separation import separated
from replay.trace.tree import PrefixTree, build_tree
from tests.naive.pool import make_unit_requests, tokens_of
from tests.random_traces import BLOCK, rows, trace_of, unit_rows, unit_trace_of

UNIT_ROW = {
    "arrival_ns": 0, "segments": [1], "segment_tokens": [3], "response_segment": None,
    "input_tokens": 3, "output_tokens": 1, "session_id": None,
}  # fmt: skip


def prompts_of(tree: PrefixTree) -> list[list[int]]:
    return [
        tree.path_edges[tree.path_offsets[r] : tree.path_offsets[r + 1]].tolist()
        for r in range(tree.requests)
    ]


@settings(max_examples=200)
@given(drawn=rows())
def test_edges_spell_out_every_prompt_and_share_exactly_what_is_common(drawn):
    tree = build_tree(trace_of(drawn))
    prompts = [tokens_of(row["block_ids"], row["input_tokens"], BLOCK) for row in drawn]
    of_edge: dict[int, tuple] = {}
    for path, prompt in zip(prompts_of(tree), prompts, strict=True):
        depth, parent = 0, -1
        for edge in path:
            assert tree.edge_parent[edge] == parent
            assert tree.edge_start[edge] == depth
            depth, parent = int(tree.edge_stop[edge]), edge
            assert of_edge.setdefault(edge, prompt[:depth]) == prompt[:depth]
        assert depth == len(prompt)
    assert len(set(of_edge.values())) == tree.edges


@settings(max_examples=200)
@given(drawn=unit_rows())
def test_segments_spell_out_prompt_and_response_to_the_token(drawn):
    tree = build_tree(unit_trace_of(drawn))
    requests = make_unit_requests(drawn)
    of_edge: dict[int, tuple] = {}
    for r, (path, request) in enumerate(zip(prompts_of(tree), requests, strict=True)):
        known = drawn[r]["response_segment"] is not None
        spelt = request.tokens if known else request.prompt
        depth, parent = 0, -1
        for place, edge in enumerate(path, int(tree.path_offsets[r])):
            if place == tree.prompt_stops[r]:
                assert depth == len(request.prompt)
            assert tree.edge_parent[edge] == parent
            assert tree.edge_start[edge] == depth
            depth, parent = int(tree.edge_stop[edge]), edge
            assert of_edge.setdefault(edge, spelt[:depth]) == spelt[:depth]
            assert int(tree.edge_last_id[edge]) == spelt[depth - 1][0]
        assert depth == len(spelt)
    assert len(set(of_edge.values())) == tree.edges


@given(drawn=unit_rows())
def test_token_ids_give_the_same_tree_as_segments(drawn):
    by_segment = build_tree(unit_trace_of(drawn))
    codes: dict[tuple, int] = {}

    def ids(tokens):
        return [codes.setdefault(one, len(codes)) for one in tokens]

    trace = unit_trace_of(drawn)
    requests = make_unit_requests(drawn)
    frame = trace.frame.drop("segments", "segment_tokens", "response_segment").with_columns(
        tokens=pl.Series([ids(r.prompt) for r in requests], dtype=pl.List(pl.UInt32)),
        response_tokens=pl.Series(
            [
                None if row["response_segment"] is None else [*ids(r.response), 0]
                for r, row in zip(requests, drawn, strict=True)
            ],
            dtype=pl.List(pl.UInt32),
        ),
    )
    by_token = build_tree(Trace(frame, trace.meta))
    for name in ("edge_parent", "edge_start", "edge_stop", "path_offsets", "path_edges"):
        assert np.array_equal(getattr(by_segment, name), getattr(by_token, name)), name
    assert np.array_equal(by_segment.prompt_stops, by_token.prompt_stops)


@given(drawn=unit_rows())
def test_requests_that_differ_in_a_separating_column_share_nothing(drawn):
    trace = unit_trace_of(drawn)
    tree = build_tree(separated(trace, ("session_id",)))
    of_edge: dict[int, object] = {}
    for path, row in zip(prompts_of(tree), drawn, strict=True):
        for edge in path:
            assert of_edge.setdefault(edge, row["session_id"]) == row["session_id"]


@given(drawn=rows())
def test_separated_blocks_share_nothing_and_keep_their_lengths(drawn):
    trace = trace_of(drawn)
    tree = build_tree(separated(trace, ("session_id",)))
    of_edge: dict[int, object] = {}
    for r, (path, row) in enumerate(zip(prompts_of(tree), drawn, strict=True)):
        assert tree.edge_stop[path[-1]] == row["input_tokens"], r
        for edge in path:
            assert of_edge.setdefault(edge, row["session_id"]) == row["session_id"]


def test_segments_that_do_not_add_up_name_the_request():
    with pytest.raises(TraceError, match=r"request 0: input_tokens is 4 \(got 3 segment_tokens"):
        build_tree(unit_trace_of([{**UNIT_ROW, "input_tokens": 4}]))


def test_an_unknown_separating_column_lists_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        separated(unit_trace_of([UNIT_ROW]), ("tennant",))
    assert "input_tokens" in str(caught.value.hint)


@settings(max_examples=200)
@given(drawn=rows())
def test_no_edge_could_be_joined_with_its_only_child(drawn):
    tree = build_tree(trace_of(drawn))
    ends = {path[-1] for path in prompts_of(tree)}
    children = np.bincount(tree.edge_parent[tree.edge_parent >= 0], minlength=tree.edges)
    for edge in np.flatnonzero(children == 1):
        assert edge in ends


@given(drawn=rows(), salt=st.integers(1, 2**62))
def test_sparse_ids_give_the_same_tree_as_small_ones(drawn, salt):
    small = build_tree(trace_of(drawn))
    scrambled = [
        {**row, "block_ids": [(one * 0x9E3779B97F4A7C15 + salt) % 2**64 for one in ids]}
        for row in drawn
        for ids in [row["block_ids"]]
    ]
    sparse = build_tree(trace_of(scrambled))
    for name in ("edge_parent", "edge_start", "edge_stop", "path_offsets", "path_edges"):
        assert np.array_equal(getattr(small, name), getattr(sparse, name)), name


@given(ids=st.lists(st.integers(0, 2**64 - 1), max_size=200), few=st.integers(1, 50))
def test_codes_count_first_appearances(ids, few):
    ids = [one % few if few > 25 else one for one in ids]
    codes, distinct = codes_of_any_ids(np.array(ids, np.uint64), 2)
    seen: dict[int, int] = {}
    assert codes.tolist() == [seen.setdefault(one, len(seen)) for one in ids]
    assert distinct == len(seen)
    if ids and max(ids) < 1000:
        small, count = codes_of_small_ids(np.array(ids, np.int64), max(ids))
        assert small.tolist() == codes.tolist()
        assert count == distinct


def test_a_trace_of_lengths_only_shares_nothing():
    drawn = [{"arrival_ns": 0, "input_tokens": n, "output_tokens": 1} for n in (5, 5, 9)]
    with_ids = trace_of([{**row, "block_ids": [0, 1, 2]} for row in drawn])
    tree = build_tree(Trace(with_ids.frame.drop("block_ids"), with_ids.meta))
    assert tree.edges == 3
    assert tree.edge_stop.tolist() == [5, 5, 9]


@pytest.mark.parametrize(
    ("ids", "tokens", "what"),
    [([[0, 1], [2, 1]], [8, 8], "follows two different ids"), ([[0], [0]], [4, 3], "two lengths")],
)
def test_ids_that_are_not_prefix_chained_are_refused(ids, tokens, what):
    frame = pl.DataFrame(
        {"arrival_ns": [0, 0], "input_tokens": tokens, "output_tokens": [1, 1], "block_ids": ids},
        schema_overrides={"block_ids": pl.List(pl.UInt64)},
    )
    chained = trace_of([{"arrival_ns": 0, "block_ids": [0], "input_tokens": 4, "output_tokens": 1}])
    with pytest.raises(TraceError, match=what):
        build_tree(Trace(frame, dataclasses.replace(chained.meta, block_size=4)))
