"""The facts of a trace, beside the published ones of the Mooncake conversation trace."""

from dataclasses import replace

import pytest

from replay.trace.describe import CONTENT_FACTS, describe, notes
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import build_tree
from tests.trace_samples import CONVERSATION, mooncake_text, needs_conversation, row, trace_of


@pytest.fixture(scope="module")
def conversation():
    return infer_sessions(load_trace(CONVERSATION))


@pytest.fixture(scope="module")
def facts(conversation):
    groups = describe(conversation, build_tree(conversation))
    return {name: value for group in groups.values() for name, value in group.items()}


PUBLISHED = {
    "requests": 12_031, "duration_s": 3_537, "requests_per_s": 3.40,
    "interarrival_cv": 3.03, "interarrival_cv_dequantised": 1.009,
    "input_tokens_mean": 12_035, "input_tokens_p5": 901, "input_tokens_p25": 2_307,
    "input_tokens_p50": 6_909, "input_tokens_p75": 15_368, "input_tokens_p95": 39_552,
    "input_tokens_p99": 85_401, "output_tokens_mean": 343, "output_tokens_p5": 10,
    "output_tokens_p50": 350, "output_tokens_p95": 698, "output_tokens_p99": 1_120,
    "blocks": 288_500, "unique_blocks": 182_790, "blocks_used_once_share": 0.758,
    "ideal_block_hit_rate": 0.3664, "ideal_full_block_hit_rate": 0.3819,
    "ideal_token_hit_rate": 0.3736, "ideal_mean_request_block_hit_rate": 0.3843,
    "ideal_mean_request_token_hit_rate": 0.4094,
    "ideal_mean_request_full_block_hit_rate": 0.4794, "ideal_request_hit_rate": 0.9999,
    "nonhot_reuse_distance_blocks_p10": 3_504, "nonhot_reuse_distance_blocks_p50": 9_667,
    "nonhot_reuse_distance_blocks_p90": 32_694, "nonhot_reuse_distance_blocks_p99": 91_516,
    "nonhot_reuse_time_s_p10": 45, "nonhot_reuse_time_s_p25": 72, "nonhot_reuse_time_s_p50": 135,
    "nonhot_reuse_time_s_p75": 291, "nonhot_reuse_time_s_p90": 531,
    "nonhot_reuse_time_s_p99": 1_710,
    "global_prefix_hit_token_share": 0.114,
    "top_prefix_tokens": 512, "top_prefix_requests": 12_031, "top_prefix_block_id": 0,
}  # fmt: skip


@needs_conversation
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_fact_of_the_conversation_trace_is_the_published_one(facts, name):
    published = PUBLISHED[name]
    decimals = len(str(published).partition(".")[2])
    slack = 2 if name.startswith(("input_tokens", "output_tokens")) else 0.5 * 10**-decimals
    assert facts[name] == pytest.approx(published, abs=slack * 1.001)


@needs_conversation
def test_sources_are_told_by_who_put_it_there(facts):
    """Published: 78.7 % is what a conversation had before, less what all start with.

    By who was first it is less: what two conversations share, the second one did not put there.
    """
    assert facts["session_hit_token_share"] == pytest.approx(0.7141, abs=5e-5)
    assert facts["cross_request_hit_token_share"] == pytest.approx(0.2859, abs=5e-5)


@needs_conversation
def test_the_coarse_clock_of_the_conversation_trace_is_noted(conversation):
    assert any("ticks of about 3 s (distinct arrivals 9.8%" in text for text in notes(conversation))


SMALL = mooncake_text([tuple(range(8)), tuple(range(12)), (9, 9)], 4, times=[0, 500, 2000])


def small():
    trace = infer_sessions(trace_of(SMALL, 4))
    return describe(trace, build_tree(trace))


def test_no_fact_is_in_two_groups():
    names = [name for group in small().values() for name in group]
    assert len(names) == len(set(names))


def test_facts_of_a_small_trace():
    facts = small()
    assert facts["arrivals"]["requests_per_s"] == 1.5
    assert facts["lengths"]["input_tokens_total"] == 22
    assert facts["sessions"]["sessions"] == 2
    assert facts["sessions"]["single_turn_share"] == 0.5
    assert facts["content"]["unique_tokens"] == 14
    assert facts["ideal"]["ideal_token_hit_rate"] == 8 / 22
    assert facts["sources"]["session_hit_token_share"] == 1.0
    assert facts["sources"]["global_prefix_hit_token_share"] == 1.0
    assert facts["reuse"]["reuse_time_s_p50"] == 0.5
    assert facts["reuse"]["reuse_distance_blocks_p50"] == 1.0


def test_a_trace_of_lengths_alone_has_the_same_facts_unknown():
    trace = trace_of(SMALL, 4)
    bare = Trace(trace.frame.drop("block_ids"), replace(trace.meta, block_size=None))
    groups = describe(bare)
    for group, known in small().items():
        assert tuple(groups[group]) == tuple(known)
    for group, names in CONTENT_FACTS.items():
        assert groups[group] == dict.fromkeys(names)
    assert groups["lengths"] == small()["lengths"]
    assert notes(bare) == ["no content: reuse unknown (the trace has lengths only)"]


def test_one_request_has_no_rate():
    trace = trace_of(row(), 512)
    facts = describe(trace, build_tree(trace))
    assert facts["arrivals"]["requests_per_s"] is None
    assert facts["ideal"]["ideal_token_hit_rate"] == 0.0
    assert facts["reuse"]["reuse_time_s_p50"] is None


def test_a_request_without_a_session_counts_as_one_of_its_own():
    trace = trace_of("\n".join(row(session_id=name) for name in "aab"), 512)
    some = trace.frame.with_columns(session_id=trace.frame["session_id"].replace(1, None))
    facts = describe(Trace(some, trace.meta))
    assert facts["sessions"]["sessions"] == 2
    assert facts["sessions"]["turns_max"] == 2
