"""The prefix tree of a trace and of a run: its rows, which are shown, what they add up to."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import replay
from replay.answers.looking import described
from replay.answers.shared_tree import tree_of_run, tree_of_trace
from replay.answers.tree_rows import MEASURES, Choice, account, spans, tree_rows
from replay.cli.icicle_lines import icicle_lines
from replay.errors import InputError, UnknownNameError
from tests import random_traces
from tests.naive import pool as naive
from tests.naive.tree import prefixes
from tests.trace_samples import mooncake_text, trace_of

UNITS = random_traces.mixed(random_traces.unit_rows())
BLOCKS = random_traces.mixed(random_traces.rows())
CHOICES = st.builds(
    Choice,
    by=st.sampled_from([*MEASURES]),
    depth=st.one_of(st.none(), st.integers(1, 4)),
    limit=st.integers(1, 12),
    min_requests=st.integers(2, 4),
)


def check_equals_twin(tree, twin, drawn):
    sessions = any(row["session_id"] is not None for row in drawn)
    shared = {tokens: one for tokens, one in twin.items() if len(one.users) > 1}
    names = {(one.users[0], len(tokens)): tokens for tokens, one in shared.items()}
    rows = {(row["first_request_id"], row["stop_tokens"]): row for row in tree.prefixes.to_dicts()}
    assert rows.keys() == names.keys()
    of_id = {row["prefix_id"]: names[name] for name, row in rows.items()}
    for name, tokens in names.items():
        row, one = rows[name], shared[tokens]
        assert of_id.get(row["parent_prefix_id"], ()) == one.above
        assert row["start_tokens"] == len(one.above)
        assert row["requests"] == len(one.users)
        assert row["sessions"] == (len(one.sessions) if sessions else None)
        assert row["hit_tokens"] == one.hit_tokens
        below = [shared[other] for other in one.below if other in shared]
        assert row["ways"] == len(below)
        assert row["alone_requests"] == len(one.users) - sum(len(other.users) for other in below)
        subtree = [other for at, other in shared.items() if at[: len(tokens)] == tokens]
        assert row["subtree_hit_tokens"] == sum(other.hit_tokens for other in subtree)
        assert row["level"] == sum(tokens[: len(at)] == at for at in shared)
    assert tree.hit_tokens == sum(one.hit_tokens for one in twin.values())


@settings(deadline=None, max_examples=150)
@given(UNITS)
def test_the_tree_of_segments_is_that_of_a_token_by_token_search(drawn):
    trace = random_traces.unit_trace_of(drawn)
    known = [row["response_segment"] is not None for row in drawn]
    twin = prefixes(naive.make_unit_requests(drawn), known)
    check_equals_twin(tree_of_trace(trace), twin, drawn)


@settings(deadline=None, max_examples=100)
@given(BLOCKS)
def test_the_tree_of_block_ids_is_that_of_a_token_by_token_search(drawn):
    requests = naive.make_requests(drawn, random_traces.BLOCK)
    twin = prefixes(requests, [False] * len(drawn))
    check_equals_twin(tree_of_trace(random_traces.trace_of(drawn)), twin, drawn)


@settings(deadline=None, max_examples=100)
@given(UNITS, CHOICES)
def test_hit_tokens_add_up_to_the_content_ceiling_of_describe(drawn, choice):
    trace = random_traces.unit_trace_of(drawn)
    tree = tree_of_trace(trace)
    parts = account(tree, tree_rows(tree, choice)).rows
    *some, (name, _, whole, *_) = parts
    ceiling = described(trace).facts["ceilings"]["content_ceiling_tokens"]
    assert (name, whole) == ("all", ceiling)
    assert sum(tokens for _, _, tokens, *_ in some) == ceiling


@settings(deadline=None, max_examples=150)
@given(UNITS, CHOICES)
def test_the_rows_are_the_most_of_what_is_asked_and_hang_together(drawn, choice):
    tree = tree_of_trace(random_traces.unit_trace_of(drawn))
    rows = tree_rows(tree, choice)
    allowed = tree.prefixes.filter(pl.col("requests") >= choice.min_requests)
    if choice.depth is not None:
        allowed = allowed.filter(pl.col("level") <= choice.depth)
    most = allowed[choice.column].sort(descending=True).head(choice.limit)
    assert sorted(rows[choice.column]) == sorted(most)
    before: set[int | None] = {None}
    for row in rows.to_dicts():
        assert row["parent_prefix_id"] in before
        before.add(row["prefix_id"])


@settings(deadline=None, max_examples=100)
@given(UNITS, CHOICES)
def test_boxes_lie_within_the_one_above_and_beside_one_another(drawn, choice):
    tree = tree_of_trace(random_traces.unit_trace_of(drawn))
    rows = tree_rows(tree, choice)
    start, stop = spans(rows, rows[choice.column])
    place = {one: at for at, one in enumerate(rows["prefix_id"])}
    beside: dict[int | None, int] = {}
    for at, parent in enumerate(rows["parent_prefix_id"]):
        assert start[at] == beside.get(parent, 0 if parent is None else start[place[parent]])
        assert stop[at] - start[at] == rows[choice.column][at]
        assert parent is None or stop[at] <= stop[place[parent]]
        beside[parent] = stop[at]
    assert all(width <= 80 for width in map(len, icicle_lines(tree, rows, choice, 80)))


@pytest.mark.parametrize("kind", ["block", "radix", "session_store"])
def test_the_tree_of_a_run_adds_up_to_what_it_hit(kind):
    trace = replay.generate("conversational", requests=300, seed=1)
    size = {} if kind == "session_store" else {"block_size": 16}
    run = replay.run(trace, untimed=True, capacity="40000tokens", set={"cache.kind": kind}, **size)
    found = replay.tree(run, limit=7)
    parts = found.frame("account")
    hit = run.frame()["hit_tokens"].sum()
    assert hit > 0
    assert parts.filter(pl.col("where") == "all")["hit_tokens"].to_list() == [hit]
    assert parts["hit_tokens"][:-1].sum() == hit
    assert (parts["hit_tokens"] >= 0).all()
    assert found.frame().height == 7


def requests_of(hit, preemptions=0):
    return pl.DataFrame(
        {
            "hit_tokens": hit,
            "input_tokens": [100] * len(hit),
            "session_id": pl.Series([None] * len(hit), dtype=pl.Int64),
            "preemptions": [preemptions] * len(hit),
        }
    )


def prefixes_of(*rows):
    names = ("prefix_id", "parent_prefix_id", "start_tokens", "stop_tokens", "requests",
             "hit_tokens")  # fmt: skip
    frame = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    return frame.with_columns(sessions=None, first_request_id=0)


def test_hits_after_preemptions_are_told_apart():
    """A request that resumes hits again: the prefixes count that, the hit rate does not."""
    table = prefixes_of((0, None, 0, 50, 3, 200))
    tree = tree_of_run({}, requests_of([0, 50, 50], preemptions=1), table)
    parts = account(tree, tree_rows(tree, Choice())).rows
    assert ("alone, or again after preemption", None, -100, -1.0, -100 / 300) in parts
    assert parts[-1][:3] == ("all", 1, 100)


def test_a_run_of_unknown_content_has_no_tree():
    table = prefixes_of((0, None, 0, 50, 3, 200))
    with pytest.raises(InputError, match="no content"):
        tree_of_run({"content_known": False}, requests_of([0, 50, 50]), table)


def test_a_prefix_below_nothing_is_refused():
    table = prefixes_of((0, None, 0, 50, 3, 100), (4, 2, 50, 60, 2, 10))
    with pytest.raises(InputError, match="not there"):
        tree_of_run({}, requests_of([0, 50, 60]), table)


def test_what_cannot_be_chosen_is_refused():
    with pytest.raises(UnknownNameError, match="unknown measure"):
        Choice(by="hits")
    for name, value in (("depth", 0), ("limit", 0), ("min_requests", 1)):
        with pytest.raises(InputError, match=f"{name} must be at least"):
            Choice(**{name: value})


def test_a_deep_tree_keeps_to_the_width():
    prompts = [tuple(range(length)) for length in range(4, 400, 4)]
    tree = tree_of_trace(trace_of(mooncake_text(prompts + prompts)))
    choice = Choice(limit=90)
    rows = tree_rows(tree, choice)
    assert rows["level"].max() == 90
    lines = icicle_lines(tree, rows, choice, 80)
    assert max(map(len, lines)) <= 80
    assert any(" …" in line for line in lines)


def test_of_equals_the_one_above_is_chosen_first():
    """A response ends between two stretches that the same two prompts contain."""
    start = {"arrival_ns": 0, "session_id": None, "output_tokens": 5}
    first = {**start, "segments": [1], "segment_tokens": [4], "response_segment": 2}
    next_ones = {"segments": [1, 2, 3], "segment_tokens": [4, 4, 3], "response_segment": None}
    drawn = [first, {**start, **next_ones}, {**start, **next_ones}]
    drawn = [{**one, "input_tokens": sum(one["segment_tokens"])} for one in drawn]
    tree = tree_of_trace(random_traces.unit_trace_of(drawn))
    assert tree.prefixes["requests"].to_list() == [3, 2, 2]
    rows = tree_rows(tree, Choice(by="requests", limit=2))
    assert rows.select("start_tokens", "stop_tokens").rows() == [(0, 4), (4, 8)]
    assert tree.prefixes["hit_tokens"].to_list() == [8, 8, 3]
