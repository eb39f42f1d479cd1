"""Queue eviction policies on runs of blocks against their twins on single blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cache.blocks import block_paths
from replay.cache.queue_policies import QUEUE_POLICIES, replay_queue
from replay.cache.references import references
from replay.errors import UnknownNameError
from replay.kernels.references import References
from replay.trace.tree import build_tree
from tests import naive_queues
from tests.random_traces import rows, trace_of, unit_rows, unit_trace_of

NAMES = [one.name for one in QUEUE_POLICIES]


def referenced(trace, tree, **rules) -> References:
    outputs = trace.frame["output_tokens"].to_numpy().astype(np.int64)
    return references(block_paths(tree, outputs, **rules))


def single_blocks(refs: References) -> list[list[tuple[int, int]]]:
    """Return each request's blocks as (edge, block), root first."""
    paths = []
    for start, stop in zip(refs.offsets[:-1], refs.offsets[1:], strict=True):
        edges = refs.edges[start:stop].tolist()
        paths.append([(edge, block) for edge in edges for block in range(refs.blocks[edge])])
    return paths


def assert_equal_to_twin(refs: References, name: str, capacity: int) -> None:
    twin = naive_queues.NAIVE[name](capacity)
    hits, found, stranded = naive_queues.replay(single_blocks(refs), refs.limit.tolist(), twin)
    outcome = replay_queue(refs, name, capacity)
    assert outcome.hit_blocks.tolist() == hits
    assert outcome.found_blocks == found
    assert outcome.stranded_blocks == stranded
    assert outcome.evicted_blocks == twin.evicted


block_rules = st.fixed_dictionaries(
    {
        "block_size": st.integers(1, 8),
        "partial_blocks": st.booleans(),
        "responses": st.booleans(),
    }
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=200)
@given(drawn=rows(most=40), rules=block_rules, capacity=st.integers(1, 60))
def test_replay_on_runs_equals_block_by_block(name, drawn, rules, capacity):
    trace = trace_of(drawn)
    assert_equal_to_twin(referenced(trace, build_tree(trace), **rules), name, capacity)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(drawn=unit_rows(most=40), rules=block_rules, capacity=st.integers(1, 60))
def test_replay_of_known_responses_equals_block_by_block(name, drawn, rules, capacity):
    trace = unit_trace_of(drawn)
    assert_equal_to_twin(referenced(trace, build_tree(trace), **rules), name, capacity)


@st.composite
def long_edges(draw: st.DrawFn) -> References:
    """Draw requests over a random tree of edges of up to 30 blocks, revisited many times."""
    edges = draw(st.integers(1, 8))
    parent = [draw(st.integers(-1, edge - 1)) for edge in range(edges)]
    blocks = [draw(st.integers(1, 30)) for _ in range(edges)]
    first, paths = [], []
    for edge in range(edges):
        above = parent[edge]
        first.append(0 if above < 0 else first[above] + blocks[above])
        paths.append([*([] if above < 0 else paths[above]), edge])
    used = [paths[edge] for edge in draw(st.lists(st.integers(0, edges - 1), max_size=60))]
    lengths = [sum(blocks[edge] for edge in path) for path in used]
    return References(
        first=np.array(first, np.int64),
        blocks=np.array(blocks, np.int64),
        parent=np.array(parent, np.int32),
        offsets=np.cumsum([0, *map(len, used)]).astype(np.int64),
        edges=np.array([edge for path in used for edge in path], np.int32),
        limit=np.array([draw(st.integers(0, length)) for length in lengths], np.int64),
    )


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=400)
@given(refs=long_edges(), capacity=st.integers(1, 150))
def test_replay_of_long_edges_equals_block_by_block(name, refs, capacity):
    assert_equal_to_twin(refs, name, capacity)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    trace = trace_of(
        [
            {
                "arrival_ns": 0,
                "block_ids": [1],
                "input_tokens": 4,
                "output_tokens": 1,
                "session_id": None,
            }
        ]
    )
    rules = {"block_size": 4, "partial_blocks": False, "responses": False}
    with pytest.raises(UnknownNameError) as error:
        replay_queue(referenced(trace, build_tree(trace), **rules), "fifoo", 4)
    assert error.value.known == sorted(NAMES)
