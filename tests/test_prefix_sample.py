"""Sampling by prefix root: whole families of requests, scaled up without bias."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from replay.cache.curve import lru_curve
from replay.cache.sampled import sampled_curve
from replay.cache.view import BlockView, block_view
from replay.errors import InputError
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.prefix_sample import STRATA, sample_prefixes
from replay.trace.tree import build_tree

BLOCK = 16


def chats(sessions: int, seed: int) -> Trace:
    """Return sessions of growing prompts behind one block that all share."""
    draw = np.random.default_rng(seed)
    turns = draw.integers(1, 8, sessions)
    rows = []
    for session in range(sessions):
        start = draw.integers(0, 10**6)
        ids = [0]
        for turn in range(turns[session]):
            fresh = draw.integers(1, 6)
            ids = ids + [1 + 1000 * session + len(ids) + i for i in range(fresh)]
            rows.append((int(start + turn * draw.integers(1, 10**5)), list(ids)))
    rows.sort(key=lambda row: row[0])
    frame = pl.DataFrame(
        {
            "arrival_ns": [row[0] for row in rows],
            "input_tokens": [BLOCK * len(row[1]) for row in rows],
            "output_tokens": [1] * len(rows),
            "block_ids": pl.Series([row[1] for row in rows], dtype=pl.List(pl.UInt64)),
        }
    )
    meta = TraceMeta("drawn", "drawn", "", "drawn", BLOCK, "drawn")
    return canonical_trace(frame, meta)


def viewed(trace: Trace) -> BlockView:
    outputs = trace.column("output_tokens").astype(np.int64)
    return block_view(build_tree(trace), outputs, block_size=BLOCK)


def test_a_sample_holds_whole_families():
    trace = chats(400, seed=1)
    drawn = sample_prefixes(trace, 4, seed=0)
    roots = {ids[1] // 1000 for ids in drawn.trace.frame["block_ids"].to_list()}
    whole = sum(ids[1] // 1000 in roots for ids in trace.frame["block_ids"].to_list())
    assert drawn.trace.requests == whole
    assert 50 < len(roots) < 150
    assert len(drawn.stratum) == drawn.trace.requests
    assert set(drawn.stratum.tolist()) <= set(range(STRATA))


def test_one_in_one_is_the_exact_curve():
    trace = chats(300, seed=2)
    view = viewed(trace)
    drawn = sample_prefixes(trace, 1, seed=0)
    estimate = sampled_curve(viewed(drawn.trace), 1, drawn.stratum).curve
    capacities = np.arange(0, view.curve.working_set_blocks + 3, 7)
    exact = lru_curve(view.uses, BLOCK, int(view.input_tokens.sum()))
    assert estimate.hit_tokens(capacities).tolist() == exact.hit_tokens(capacities).tolist()
    assert estimate.working_set_blocks == exact.working_set_blocks


def test_estimates_center_on_the_exact_rate_and_their_errors_cover_it():
    trace = chats(3_000, seed=3)
    view = viewed(trace)
    capacities = np.array([200, 1_000, 3_000, 10_000])
    exact = view.curve.token_hit_rate(capacities)
    estimates, errors = [], []
    for seed in range(12):
        drawn = sample_prefixes(trace, 10, seed=seed)
        sampled = sampled_curve(viewed(drawn.trace), 10, drawn.stratum)
        estimates.append(sampled.curve.token_hit_rate(capacities))
        errors.append(sampled.rate_error(capacities))
    off = np.abs(np.array(estimates) - exact)
    assert (np.abs(np.mean(estimates, axis=0) - exact) < 0.02).all()
    assert (off < 3 * np.array(errors) + 0.01).mean() > 0.9
    spread = np.sqrt(np.var(estimates, axis=0, ddof=1).mean())
    told = np.sqrt(np.mean(np.square(errors)))
    assert 0.6 < told / spread < 1.6  # neither smaller nor larger than the estimates really vary


@pytest.mark.parametrize("one_in", [3, 10])
def test_a_sample_stands_for_so_many_times_its_room_and_its_hits(one_in):
    drawn = np.random.default_rng(5)
    rows = []
    for number in range(40):  # too few requests for any block to be in everybody's prompts
        ids = [1000 * (number % 4) + i for i in range(drawn.integers(1, 9))]
        rows.append((number, ids, BLOCK * (len(ids) - 1) + 1 + number % 2))
    frame = pl.DataFrame(
        {
            "arrival_ns": [row[0] for row in rows],
            "input_tokens": [row[2] for row in rows],
            "output_tokens": [1] * len(rows),
            "block_ids": pl.Series(
                [[*ids[:-1], 10**6 * (tokens % BLOCK) + ids[-1]] for _, ids, tokens in rows],
                dtype=pl.List(pl.UInt64),
            ),
        }
    )
    trace = canonical_trace(frame, TraceMeta("drawn", "drawn", "", "drawn", BLOCK, "drawn"))
    outputs = trace.column("output_tokens").astype(np.int64)
    view = block_view(build_tree(trace), outputs, block_size=BLOCK, partial_blocks=True)
    stratum = np.arange(40) % STRATA
    estimate = sampled_curve(view, one_in, stratum)
    capacities = np.arange(view.curve.working_set_blocks + 2)
    scaled = estimate.curve.hit_tokens(capacities * one_in)
    assert scaled.tolist() == (one_in * view.curve.hit_tokens(capacities)).tolist()
    every = estimate.curve.hit_tokens(np.arange(one_in * len(capacities)))
    assert (every >= np.repeat(scaled, one_in)).all()  # nothing is cut before its last block is in
    assert view.curve.cut_tokens[-1] > 0  # some prompts are there whole, but for one token
    for part, curve in enumerate(estimate.parts):
        tokens = view.input_tokens[stratum == part].sum()
        assert curve.input_tokens == tokens * one_in * STRATA


def test_what_cannot_be_sampled_is_said():
    trace = chats(20, seed=4)
    with pytest.raises(InputError, match="no request is in a sample"):
        sample_prefixes(trace, 10**6, seed=0)
    with pytest.raises(InputError, match="neither"):
        sample_prefixes(trace.changed(trace.frame.drop("block_ids")), 2, seed=0)
