"""Scenarios written back load to the same scenario."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.config.dump import dump_scenario
from replay.config.load import load_scenario
from replay.config.overrides import Override, parse_setting
from replay.config.scenario import Scenario
from replay.config.section import write_duration
from replay.units import parse_duration_ns


def load_text(text, tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return load_scenario(path)


def test_the_default_scenario_survives(tmp_path):
    assert load_text(dump_scenario(Scenario()), tmp_path) == Scenario()


@pytest.mark.parametrize(
    "changes",
    [
        ["trace.sessions=off", "trace.arrival_jitter=1500ns", "engine.horizon=90m"],
        ["cache.capacity=1e3", "cache.block_size=64", "cache.enabled=false"],
        ["cache.capacity=40GiB", "trace.speedup=1e-7", "gpu.memory_utilization=0.123456789012345"],
    ],
)
def test_changes_survive(changes, tmp_path):
    scenario = load_scenario(None, [parse_setting(text) for text in changes])
    assert scenario != Scenario()
    assert load_text(dump_scenario(scenario), tmp_path) == scenario


@pytest.mark.parametrize("name", ["off", "1e3", "0o17", "null", "12:30", "a: b", "", "é\n#", "1_0"])
def test_text_that_looks_like_something_else_stays_text(name, tmp_path):
    scenario = load_scenario(None, [Override("model.name", name, "--model")])
    assert load_text(dump_scenario(scenario), tmp_path).model.name == name


def test_durations_are_written_with_their_unit():
    scenario = load_scenario(None, [parse_setting("engine.horizon=90s")])
    assert "horizon: 90s" in dump_scenario(scenario)


@settings(deadline=None)
@given(st.integers(1, 2**60))
def test_a_written_duration_is_exact(duration_ns):
    assert parse_duration_ns(write_duration(duration_ns)) == duration_ns
