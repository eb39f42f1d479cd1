"""The sample trace that ships: made by its script, and what its README says it is."""

import runpy
from pathlib import Path

import pytest

from replay.trace.describe import describe
from replay.trace.readers import load_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import build_tree

FOLDER = Path(__file__).parents[1] / "traces"
SAMPLE = FOLDER / "chat-small.jsonl"


@pytest.fixture(scope="module")
def facts():
    trace = infer_sessions(load_trace(SAMPLE))
    groups = describe(trace, build_tree(trace))
    return {name: value for group in groups.values() for name, value in group.items()}


def test_its_script_makes_the_same_bytes():
    made = runpy.run_path(str(FOLDER / "make_chat_small.py"))["make_lines"]()
    assert "".join(f"{line}\n" for line in made).encode() == SAMPLE.read_bytes()


def test_it_is_small():
    assert SAMPLE.stat().st_size < 400_000


def test_it_loads_one_gpu_without_overloading_it(facts):
    assert 0.4 < facts["input_tokens_total"] / facts["duration_s"] / 40_000 < 0.5


def test_half_of_it_repeats_within_and_across_sessions(facts):
    assert 0.45 < facts["ideal_token_hit_rate"] < 0.60
    assert facts["session_hit_token_share"] > 0.5
    assert facts["cross_request_hit_token_share"] > 0.2


def test_the_readme_states_its_numbers(facts):
    text = (FOLDER / "README.md").read_text()
    for stated in (
        f"{facts['requests']:,} requests",
        f"{facts['input_tokens_mean']:,.0f} tokens",
        f"{facts['ideal_token_hit_rate']:.1%}",
        f"{facts['sessions']:,} sessions",
    ):
        assert stated in text
