"""`replay gain`: four lines, each what a run with those caches says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.trace.parquet import write_trace
from tests.random_traces import unit_trace_of
from tests.test_session_store import conversation, row


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    others = [row(20 + i, (70, 300), (80 + i, 20), session=5 + i) for i in range(3)]
    return write_trace(unit_trace_of([*conversation(), *others]), tmp_path / "trace.parquet")


def lines(*arguments: object) -> list[dict]:
    result = CliRunner().invoke(main, ["gain", *map(str, arguments), "--format", "json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_cache_alone_hits_what_is_its_own_and_both_hit_all(trace):
    found = {line["caches"]: line for line in lines(trace, "--untimed")}
    assert [*found] == ["none", "session", "cross-request", "both"]
    tokens = found["none"]["tokens_prefilled"]
    assert tokens == 100 + 170 + 3 * 320
    assert found["session"]["tokens_prefilled"] == tokens - 139
    assert found["cross-request"]["tokens_prefilled"] == tokens - 100 - 2 * 300
    assert found["both"]["tokens_prefilled"] == tokens - 139 - 2 * 300
    assert found["both"]["request_hit_rate"] == 3 / 5


def test_savings_are_paired_with_no_cache_at_all(trace):
    found = {line["caches"]: line for line in lines(trace)}
    none, both = found["none"], found["both"]
    expected = 1 - both["ttft_mean_ms"] / none["ttft_mean_ms"]
    assert none["ttft_saving"] == 0
    assert both["ttft_saving"] == pytest.approx(expected)
    assert both["hit_ttft_saving"] > both["ttft_saving"] > 0


def test_an_untimed_table_has_no_times(trace):
    assert not [name for name in lines(trace, "--untimed")[0] if "ttft" in name]


def test_a_block_scenario_contradicts_the_command(trace):
    result = CliRunner().invoke(main, ["gain", str(trace), "--set", "cache.kind=block"])
    assert result.exit_code == 2
    assert "cache.kind" in result.output


def test_an_engine_over_another_cache_is_replayed_by_rules_that_know_the_store(trace):
    def asked(*more):
        return CliRunner().invoke(main, ["gain", str(trace), "--engine", "sglang", *more])

    done = asked()
    assert done.exit_code == 0, done.output
    assert "the session store is replayed with engine.scheduler vllm: that of sglang" in done.stderr
    refused = asked("--set", "engine.ignore_eos=on")
    assert refused.exit_code == 2
    assert "engine.ignore_eos has no effect when scheduler is vllm" in refused.stderr
    assert "session store" not in asked("--set", "engine.scheduler=vllm").stderr
