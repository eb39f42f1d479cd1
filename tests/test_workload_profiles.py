"""The profiles that ship: each is sound, and does what its description says."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from replay.errors import UnknownNameError
from replay.resources import data_folder
from replay.trace.tree import build_tree
from replay.workload.generate import generate
from replay.workload.profiles import load_profile, profile_names
from replay.workload.summary import seen_share

NAMES = profile_names()


def trace_of(name, requests=3_000):
    return generate(load_profile(name).changed(requests=requests))


def test_the_profiles_are_those_of_the_folder():
    assert {"api", "context_overflow", "conversational", "diverse", "few_shot_pool"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_makes_a_trace(name):
    trace = trace_of(name, requests=300)
    assert trace.requests == 300
    assert (trace.frame["segment_tokens"].list.sum() == trace.frame["input_tokens"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_in_one_sentence_what_it_is(name):
    description = load_profile(name).profile.description
    assert 20 < len(description) < 140
    assert not description.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_where_its_values_come_from(name):
    comments = re.findall(r"#", (data_folder("traces") / f"{name}.yaml").read_text())
    assert len(comments) > 5


def test_an_unknown_profile_names_the_near_ones():
    with pytest.raises(UnknownNameError, match="unknown profile") as caught:
        load_profile("conversation")
    assert "did you mean conversational" in caught.value.hint


def test_three_in_four_turns_of_conversational_are_followed():
    frame = trace_of("conversational", requests=20_000).frame
    early = frame.filter((pl.col("session_id") < 4_000) & (pl.col("turn") < 9))
    followed = early["request_id"].is_in(frame["parent_request_id"].drop_nulls().implode())
    assert followed.mean() == pytest.approx(0.75, abs=0.02)
    assert frame["turn"].max() == 9


def test_a_good_cache_saves_few_shot_prompts_a_third_to_two_thirds():
    trace = trace_of("few_shot_pool", requests=10_000)
    assert 0.3 < seen_share(build_tree(trace)) < 0.7
    with_examples = (trace.frame["segments"].list.len() == 2).mean()
    assert 0.5 < with_examples < 0.8


def test_repetitive_tasks_repeat_nearly_all_of_their_prompts():
    assert seen_share(build_tree(trace_of("repetitive_tasks"))) > 0.8


def test_diverse_requests_share_little():
    assert seen_share(build_tree(trace_of("diverse"))) < 0.4


def test_most_requests_of_context_overflow_have_forgotten_something():
    frame = trace_of("context_overflow").frame
    assert (frame["forgotten_tokens"] > 0).mean() > 0.4
    assert (frame["segments"].list.first() == 0).all()
    assert (frame["input_tokens"] + frame["output_tokens"]).max() <= 16_384


def test_calls_of_the_api_come_in_bursts():
    arrivals = trace_of("api", requests=10_000).column("arrival_ns")
    gaps = np.diff(arrivals)
    assert gaps.std() / gaps.mean() > 8
