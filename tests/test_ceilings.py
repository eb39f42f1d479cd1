"""One number, whatever the command: content ceiling, block ceiling, and whose hits they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cache.hints import RecomputeCost, hints_of
from replay.cache.replacement import replacement
from replay.cache.replays import replay_all
from replay.cache.view import block_view
from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.run import execute, prepare_trace
from replay.engine.simulate import simulate_untimed
from replay.kernels import layout
from replay.trace.ceilings import (
    block_hit_tokens,
    ceilings,
    content_hit_tokens,
    global_prefix_tokens,
    session_hit_tokens,
)
from replay.trace.check_content import content_facts
from replay.trace.describe import describe
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import build_tree
from tests import random_traces
from tests.trace_samples import SHARED

POLICIES = ("lru", "fifo", "arc", "s3fifo", "lfu", "gdsf", "min")


def tokens_of(row):
    """The tokens of a prompt and of what its response leaves, each named by segment and place."""
    prompt = [
        (segment, at)
        for segment, count in zip(row["segments"], row["segment_tokens"], strict=True)
        for at in range(count)
    ]
    if row["response_segment"] is None:
        return prompt, prompt
    return prompt, prompt + [
        (row["response_segment"], at) for at in range(row["output_tokens"] - 1)
    ]


def naive_hits(drawn):
    """Of each prompt, token by token: how much was seen, and who had it first at each place."""
    first, hits = {}, []
    for number, row in enumerate(drawn):
        prompt, whole = tokens_of(row)
        found = [first.get(tuple(prompt[: at + 1])) for at in range(len(prompt))]
        hits.append([by for by in found if by is not None])
        for at in range(len(whole)):
            first.setdefault(tuple(whole[: at + 1]), number)
    return hits


def untimed(trace, tree, block_size):
    """What an untimed run with an unlimited cache makes of each request."""
    scenario = Scenario.model_validate({"engine": {"mode": "untimed"}})
    plan = make_plan(trace, tree, scenario, block_size=block_size, capacity_blocks=None)
    return simulate_untimed(plan).outcome


def asked_alone(trace, tree, block_size, policies=POLICIES):
    """Hit tokens of the curve, and of each policy at a capacity for everything."""
    outputs = trace.column("output_tokens")
    view = block_view(tree, outputs, block_size=block_size)
    hints = hints_of(
        trace, block_size, cost=RecomputeCost(linear_ns=1, context_ns=0), ttl_ns=None, seed=0
    )
    capacity = max(view.unique_blocks, 1)
    chosen = [replacement(name) for name in policies]
    replays = replay_all(view, chosen, [capacity], hints, threads=1)
    return view.curve.ceiling_tokens, {
        one.policy.name: int(one.hit_tokens.sum()) for one in replays
    }


@settings(deadline=None, max_examples=200)
@given(random_traces.unit_rows())
def test_the_content_ceiling_is_that_of_a_token_by_token_search(drawn):
    tree = build_tree(random_traces.unit_trace_of(drawn))
    assert content_hit_tokens(tree).tolist() == [len(hits) for hits in naive_hits(drawn)]


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows())
def test_describe_and_check_give_one_content_ceiling(drawn):
    trace = random_traces.unit_trace_of(drawn)
    tree = build_tree(trace)
    facts = describe(trace, tree)
    checked = content_facts(trace, tree)
    assert facts["ceilings"]["content_ceiling_tokens"] == checked.ideal_hit_tokens.sum()
    assert facts["ideal"]["ideal_token_hit_rate"] == checked.ideal_hit_rate
    for name, value in facts["ideal"].items():
        assert value is None or 0 <= value <= 1, name


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows(), st.sampled_from([1, 2, 3, 4, 16]))
def test_curve_policies_and_run_give_one_block_ceiling(drawn, block_size):
    trace = random_traces.unit_trace_of(drawn)
    tree = build_tree(trace)
    by_request = block_hit_tokens(tree, content_hit_tokens(tree), block_size)
    outcome = untimed(trace, tree, block_size)
    assert outcome[:, layout.HIT].tolist() == by_request.tolist()
    ceiling = ceilings(tree, block_size).block_ceiling_tokens
    curve, policies = asked_alone(trace, tree, block_size)
    assert curve == ceiling
    assert policies == dict.fromkeys(POLICIES, ceiling)


@settings(deadline=None, max_examples=100)
@given(random_traces.rows())
def test_block_ids_give_one_block_ceiling_too(drawn):
    trace = random_traces.trace_of(drawn)
    tree = build_tree(trace)
    outcome = untimed(trace, tree, random_traces.BLOCK)
    ceiling = ceilings(tree, random_traces.BLOCK).block_ceiling_tokens
    assert outcome[:, layout.HIT].sum() == ceiling
    assert asked_alone(trace, tree, random_traces.BLOCK) == (
        ceiling,
        dict.fromkeys(POLICIES, ceiling),
    )


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows(), st.sampled_from([1, 2, 3, 4, 16]))
def test_causes_of_a_run_add_up_to_both_ceilings(drawn, block_size):
    trace = random_traces.unit_trace_of(drawn)
    tree = build_tree(trace)
    found = ceilings(tree, block_size)
    outcome = untimed(trace, tree, block_size)
    assert found.input_tokens - outcome[:, layout.COLD].sum() == found.content_ceiling_tokens
    assert outcome[:, layout.GRANULARITY].sum() == found.granularity_tokens


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows())
def test_sources_are_who_put_it_there_in_describe_and_in_a_run(drawn):
    trace = random_traces.unit_trace_of(drawn)
    tree = build_tree(trace)
    session = trace.frame["session_id"].fill_null(-1).to_numpy()
    hits = naive_hits(drawn)
    own = [
        [session[by] == session[request] >= 0 for by in found] for request, found in enumerate(hits)
    ]
    assert session_hit_tokens(tree, session).tolist() == [sum(found) for found in own]
    wanted = {"engine": {"mode": "untimed"}, "cache": {"block_size": 1}}
    run = execute(prepare_trace(trace, Scenario.model_validate(wanted))).tables["requests"]
    reused = run["hit_tokens"].to_list()
    assert run["session_hit_tokens"].to_list() == [
        sum(found[:stop]) for found, stop in zip(own, reused, strict=True)
    ]
    common = np.minimum(reused, global_prefix_tokens(tree)).tolist()
    assert run["global_prefix_hit_tokens"].to_list() == common


@settings(deadline=None, max_examples=100)
@given(random_traces.unit_rows())
def test_sources_add_up_to_the_content_ceiling(drawn):
    trace = random_traces.unit_trace_of(drawn)
    facts = describe(trace, build_tree(trace))
    told = facts["sources"]
    total = told["session_hit_tokens"] + told["cross_request_hit_tokens"]
    assert total == facts["ceilings"]["content_ceiling_tokens"]
    assert told["global_prefix_hit_tokens"] <= total


REAL = {
    "conversation": ("mooncake/conversation_trace.jsonl", (512,)),
    "sharegpt": ("sharegpt_tokens/sharegpt-llama-3.1-8b-300-sps10.jsonl", (1, 16, 100)),
    "weka": ("weka", (64,)),
    "lmcache": ("lmcache_agent/miniswe", (16,)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_traces_give_one_number_whatever_the_command(name):
    place, sizes = REAL[name]
    if not (SHARED / place).exists():
        pytest.skip(f"no trace at {SHARED / place}")
    trace = infer_sessions(load_trace(SHARED / place))
    tree = build_tree(trace)
    facts = describe(trace, tree)
    content = content_facts(trace, tree).ideal_hit_tokens
    assert facts["ceilings"]["content_ceiling_tokens"] == content.sum()
    for size in sizes:
        ceiling = ceilings(tree, size)
        outcome = untimed(trace, tree, size)
        assert outcome[:, layout.HIT].sum() == ceiling.block_ceiling_tokens
        curve, policies = asked_alone(trace, tree, size, ("lru", "arc"))
        assert {curve, *policies.values()} == {ceiling.block_ceiling_tokens}
    if trace.meta.block_size or 16 in sizes:
        last = facts["ceilings"]["ceiling_block_size"]
        assert (
            facts["ceilings"]["block_ceiling_tokens"] == ceilings(tree, last).block_ceiling_tokens
        )
