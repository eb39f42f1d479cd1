"""Reuse over edges against the same over blocks, one at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.kernels.tree.reuse import reuse_distances
from replay.trace.content import block_ids_of
from replay.trace.reuse import (
    edge_uses,
    hit_sources,
    ideal_hit_rates,
    top_prefix,
    weighted_quantiles,
)
from replay.trace.tree import build_tree
from tests import random_traces
from tests.trace_samples import mooncake_text, trace_of

SIZE = random_traces.BLOCK


def naive_distances(references):
    """Distinct blocks since the last use of each block of a sequence, -1 at a first use."""
    found = []
    for at, block in enumerate(references):
        before = [i for i in range(at) if references[i] == block]
        found.append(len(set(references[before[-1] + 1 : at])) if before else -1)
    return found


def block_lists(trace):
    """The blocks of each prompt, those of another model being others."""
    model = trace.frame.get_column("model", default=None)
    lists = trace.frame["block_ids"].to_list()
    models = [None] * trace.requests if model is None else model
    return [[(own, one) for one in ids] for own, ids in zip(models, lists, strict=True)]


def skipped(trace):
    skips = trace.frame.get_column("skips_lookup", default=None)
    return [False] * trace.requests if skips is None else skips.fill_null(False).to_list()


def uses_of(*prompts):
    trace = trace_of(mooncake_text(prompts, SIZE), SIZE)
    return edge_uses(build_tree(trace), SIZE)


def test_the_kernels_worked_example():
    before, blocks = reuse_distances(
        np.array([0, 1, 0, 2, 1], np.int32), np.array([2, 3, 1], np.int64)
    )
    assert before.tolist() == [-1, -1, 0, -1, 1]
    assert blocks.tolist() == [-1, -1, 4, -1, 5]


@settings(deadline=None, max_examples=150)
@given(random_traces.mixed(random_traces.rows()))
def test_distances_over_edges_equal_those_over_blocks(drawn):
    trace = random_traces.trace_of(drawn)
    uses = edge_uses(build_tree(trace), SIZE)
    of_blocks = naive_distances([block for ids in block_lists(trace) for block in ids])
    of_edges = np.repeat(uses.distance_blocks, uses.blocks[uses.edge])
    assert of_edges.tolist() == of_blocks


@settings(deadline=None, max_examples=100)
@given(random_traces.mixed(random_traces.rows()))
def test_hit_rates_over_edges_equal_those_over_blocks(drawn):
    trace = random_traces.trace_of(drawn)
    uses = edge_uses(build_tree(trace), SIZE)
    seen, hits = set(), []
    lengths = trace.column("input_tokens")
    for ids, length, skips in zip(block_lists(trace), lengths, skipped(trace), strict=True):
        count = 0 if skips else sum(block in seen for block in ids)
        full = length // SIZE
        hits.append((min(count * SIZE, length), count, min(count, full), length, len(ids), full))
        seen.update(ids)
    tokens, blocks, full_blocks, length, of_blocks, of_full = np.array(hits).T
    rates = ideal_hit_rates(uses, SIZE)
    assert rates["ideal_token_hit_rate"] == pytest.approx(tokens.sum() / length.sum())
    assert rates["ideal_block_hit_rate"] == pytest.approx(blocks.sum() / of_blocks.sum())
    assert rates["ideal_mean_request_token_hit_rate"] == pytest.approx((tokens / length).mean())
    assert rates["ideal_mean_request_block_hit_rate"] == pytest.approx((blocks / of_blocks).mean())
    assert rates["ideal_request_hit_rate"] == pytest.approx((tokens > 0).mean())
    some = of_full > 0
    if some.any():
        expected = full_blocks.sum() / of_full.sum()
        assert rates["ideal_full_block_hit_rate"] == pytest.approx(expected)
        expected = (full_blocks[some] / of_full[some]).mean()
        assert rates["ideal_mean_request_full_block_hit_rate"] == pytest.approx(expected)
    else:
        assert rates["ideal_full_block_hit_rate"] is None
        assert rates["ideal_mean_request_full_block_hit_rate"] is None


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows(), st.sampled_from([1, 3, 4, 16]))
def test_blocks_of_exact_content_are_those_of_ids_made_of_it(drawn, size):
    """A block that two edges share is one block: no hit rate is above one."""
    exact = random_traces.unit_trace_of(drawn)
    uses = edge_uses(build_tree(exact), size)
    ids = block_ids_of(exact, size).frame["block_ids"].to_list()
    seen, hits, full_hits = set(), [], []
    for row, length in zip(ids, exact.column("input_tokens"), strict=True):
        count = sum(block in seen for block in row)
        hits.append(count)
        full_hits.append(min(count, length // size))
        seen.update(row)
    assert uses.hits_by_request(uses.blocks).tolist() == hits
    assert uses.hits_by_request(uses.full_blocks).tolist() == full_hits
    assert uses.blocks.sum() == len(seen)
    distances = np.repeat(uses.distance_blocks, uses.blocks[uses.edge])
    assert distances.tolist() == naive_distances([block for row in ids for block in row])


def naive_sources(trace, session):
    """Hit tokens of each source, block by block: who had the block first."""
    rows = list(zip(block_lists(trace), trace.column("input_tokens"), session, strict=True))
    everywhere = {
        block
        for ids, _, _ in rows
        for block in ids
        if sum(block in other for other, _, _ in rows) > len(rows) / 2
    }
    found, first = {"global_prefix": 0, "session": 0, "cross_request": 0}, {}
    for (ids, length, own), skips in zip(rows, skipped(trace), strict=True):
        for place, block in enumerate([] if skips else ids):
            tokens = min(SIZE, length - place * SIZE)
            if block in first:
                found["session" if own == first[block] else "cross_request"] += tokens
                found["global_prefix"] += tokens if block in everywhere else 0
        for block in ids:
            first.setdefault(block, own)
    return found


@settings(deadline=None, max_examples=100)
@given(random_traces.mixed(random_traces.rows()), st.data())
def test_sources_of_hits_equal_those_found_block_by_block(drawn, data):
    trace = random_traces.trace_of(drawn)
    session = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=len(drawn), max_size=len(drawn)))
    )
    told = hit_sources(build_tree(trace), session)
    found = naive_sources(trace, session.tolist())
    total = found["session"] + found["cross_request"]
    for kind, tokens in found.items():
        assert told[f"{kind}_hit_tokens"] == tokens
        expected = tokens / total if total else None
        assert told[f"{kind}_hit_token_share"] == pytest.approx(expected)


def test_without_sessions_only_the_global_prefix_is_told_apart():
    told = hit_sources(uses_of((1, 2), (1, 2), (1, 2), (3,), (4,)).tree, None)
    assert told == {
        "session_hit_tokens": None,
        "cross_request_hit_tokens": None,
        "global_prefix_hit_tokens": 4,
        "session_hit_token_share": None,
        "cross_request_hit_token_share": None,
        "global_prefix_hit_token_share": 1.0,
    }


def test_the_top_prefix_is_the_one_that_saves_most_tokens():
    short = (1, 1, 1, 1)
    long = (*short, *(2,) * 16)
    uses = uses_of((*short, 9), (*short, 8), (*short, 7), (*long, 6), (*long, 5))
    assert top_prefix(uses)["top_prefix_tokens"] == 20
    assert top_prefix(uses)["top_prefix_requests"] == 2
    assert top_prefix(uses)["top_prefix_request_id"] == 3
    assert top_prefix(uses)["top_prefix_block_id"] == 7


def test_without_reuse_there_is_no_top_prefix():
    assert set(top_prefix(uses_of((1,), (2,))).values()) == {None}


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=12),
    st.lists(st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 0.99, 1]), min_size=1),
)
def test_weighted_quantiles_equal_those_of_the_values_written_out(pairs, shares):
    values = np.array([value for value, _ in pairs], np.int64)
    weights = np.array([weight for _, weight in pairs], np.int64)
    found = weighted_quantiles(values, weights, tuple(shares))
    if weights.sum() == 0:
        assert found == [None] * len(shares)
    else:
        assert found == pytest.approx(np.quantile(np.repeat(values, weights), shares).tolist())
