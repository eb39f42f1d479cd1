"""Hits and capacity of models with windows, states or compressed entries say they are bounds."""

import pytest
from click.testing import CliRunner
from hypothesis import given, settings

from replay.cli import main
from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.gpu.hybrid import upper_bound
from replay.gpu.spec import load_model, model_names
from replay.report.notices import warnings
from tests import random_traces
from tests.random_models import models

EXACT = {
    "llama-3.1-8b", "deepseek-v3", "deepseek-v3.2", "glm-5", "kimi-k2", "minimax-m3",
    "mixtral-8x7b",
}  # fmt: skip
WORDS = {
    "gemma-3-27b": "52 layers that keep KV of the last 1,024 tokens only (sliding window)",
    "llama-4-scout": "36 layers that keep KV of the current 8,192 tokens only (chunked-local)",
    "qwen3.5-27b": "48 layers that keep a state, stored at few places (linear attention)",
    "deepseek-v4-flash": "21 layers that keep one entry for 4 tokens (compressed)",
    "mistral-7b-v0.1": "UPPER BOUND up to prompts of 4,096 tokens",
}
TRACE = "".join(
    f'{{"timestamp": {at}, "input_length": 40, "output_length": 2, "hash_ids": [{at % 2}]}}\n'
    for at in range(4)
)


@settings(deadline=None, max_examples=200)
@given(models())
def test_a_bound_follows_from_the_list_of_layers(model):
    keeps_all = {group.kind for group in model.attention_groups} <= {"full", "mla"}
    assert (upper_bound(model) is None) == keeps_all


def test_shipped_models_are_bounds_by_their_layers():
    assert {name for name in EXACT if upper_bound(load_model(name))} == set()
    for name, words in WORDS.items():
        assert words in upper_bound(load_model(name))
    assert {name for name in model_names() if upper_bound(load_model(name))} >= set(WORDS)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(TRACE)
    return path


def printed(*arguments) -> str:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("model", ["gemma-3-27b", "llama-3.1-8b"])
def test_every_command_that_names_the_model_says_so_once(model, trace, tmp_path):
    small = ("--capacity", "10GiB", "--model", model)
    run = tmp_path / "run"
    outputs = [
        printed("run", trace, "--untimed", *small, "-o", run),
        printed("report", run, "summary"),
        printed("curve", trace, *small),
        printed("policies", trace, "--policy", "lru", *small),
        printed("gain", trace, "--untimed", *small),
    ]
    wanted = 1 if model == "gemma-3-27b" else 0
    assert [text.count("UPPER BOUND") for text in outputs] == [wanted] * 5


def test_a_run_that_needs_no_hardware_says_nothing(trace):
    assert "UPPER BOUND" not in printed("curve", trace)


@settings(deadline=None, max_examples=5)
@given(random_traces.rows())
def test_the_manifest_has_the_sentence(drawn):
    wanted = {"engine": {"mode": "untimed"}, "model": {"name": "gpt-oss-20b"}}
    prepared = prepare_trace(random_traces.trace_of(drawn), Scenario.model_validate(wanted))
    manifest = execute(prepared).manifest
    assert (
        warnings(manifest)[0] == manifest["upper_bound"] == upper_bound(load_model("gpt-oss-20b"))
    )
