"""The profile decides how many examples property tests draw."""

from __future__ import annotations

import gc

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.cli import main
from tests.conftest import EXAMPLES, profile, with_share


@settings(max_examples=40)
@given(st.integers())
def test_drawn(number):
    drawn.append(number)


drawn: list[int] = []


def test_as_many_examples_are_drawn_as_the_profile_says():
    drawn.clear()
    test_drawn()
    assert abs(len(drawn) - 40 * EXAMPLES[profile()]) <= 1


@pytest.mark.parametrize(
    ("asked", "share", "examples"), [(100, 0.1, 10), (100, 5, 500), (20, 0.1, 5), (3, 0.1, 3)]
)
def test_a_share_of_examples(asked, share, examples):
    assert with_share(settings(max_examples=asked), share).max_examples == examples


def test_an_unknown_profile_is_an_error(monkeypatch):
    monkeypatch.setenv("REPLAY_TEST_PROFILE", "weekly")
    with pytest.raises(pytest.UsageError, match="quick, default, nightly"):
        profile()


def test_a_command_leaves_the_collector_as_it_was_for_the_next_test():
    CliRunner().invoke(main, ["list", "gpus"])
    assert not gc.isenabled()  # until this test is over, see the next one


def test_the_collector_runs():
    assert gc.isenabled()
