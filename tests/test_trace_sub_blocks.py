"""Content assumed inside blocks: heads that prompts share beyond their last common block."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.run import prepare_trace
from replay.errors import InputError
from replay.trace.sub_blocks import share_within_blocks
from replay.trace.tree import build_tree
from tests.random_traces import BLOCK, rows, trace_of


def row(arrival_ns: int, ids: list[int], tokens: int) -> dict:
    return {
        "arrival_ns": arrival_ns,
        "block_ids": ids,
        "input_tokens": tokens,
        "output_tokens": 1,
        "session_id": None,
    }


def common_tokens(one: dict, other: dict, system: int, part: float) -> int:
    """Return how many tokens two prompts share under the assumption, block by block."""
    shared = 0
    for place, (a, b) in enumerate(zip(one["block_ids"], other["block_ids"], strict=False)):
        first = place * BLOCK
        lengths = [min(BLOCK, row["input_tokens"] - first) for row in (one, other)]
        if a == b:
            shared += lengths[0]
            continue
        head = max(min(max(system - first, 0), BLOCK), int(part * BLOCK))
        return shared + min(head, *lengths)
    return shared


def shared_depths(tree) -> dict[tuple[int, int], int]:
    paths = [
        tree.path_edges[tree.path_offsets[r] : tree.path_offsets[r + 1]].tolist()
        for r in range(tree.requests)
    ]
    depths = {}
    for a in range(len(paths)):
        for b in range(a):
            depth = 0
            for x, y in zip(paths[a], paths[b], strict=False):
                if x != y:
                    break
                depth = int(tree.edge_stop[x])
            depths[b, a] = depth
    return depths


@given(drawn=rows(most=10), system=st.integers(0, 12), part=st.sampled_from([0.0, 0.25, 0.5, 0.9]))
def test_every_pair_of_prompts_shares_what_is_assumed(drawn, system, part):
    trace = share_within_blocks(trace_of(drawn), system_prompt_tokens=system, shared_part=part)
    tree = build_tree(trace)
    assert tree.input_tokens.tolist() == [row["input_tokens"] for row in drawn]
    for (a, b), depth in shared_depths(tree).items():
        assert depth == common_tokens(drawn[a], drawn[b], system, part)


def test_nothing_assumed_is_the_tree_of_the_blocks():
    trace = trace_of([row(0, [0, 1], 8), row(1, [0, 2], 7)])
    assumed = share_within_blocks(trace, system_prompt_tokens=0, shared_part=0.0)
    assert build_tree(assumed).edge_stop.tolist() == build_tree(trace).edge_stop.tolist()
    assert "segments" in assumed.frame.columns


def test_the_scenario_assumes_it_and_says_so():
    drawn = [row(at, [0, at + 1], 8) for at in range(3)]
    scenario = Scenario(trace={"system_prompt_tokens": 6, "shared_block_part": 0.25})
    prepared = prepare_trace(trace_of(drawn), scenario)
    assert prepared.tree.edge_stop[0] == 6
    assert any("first 6 tokens" in note and "25%" in note for note in prepared.trace.meta.notes)


def test_a_trace_without_blocks_has_nothing_inside_them():
    trace = trace_of([row(0, [0], 3)])
    bare = trace.changed(trace.frame.drop("block_ids"))
    with pytest.raises(InputError, match="no block ids"):
        share_within_blocks(bare, system_prompt_tokens=8, shared_part=0.0)
