"""The library's door: what `replay` exports is what it says, and costs nothing to open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import replay

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


@pytest.mark.parametrize("name", replay.__all__)
def test_every_public_name_is_there(name):
    assert getattr(replay, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        replay.no_such_thing  # noqa: B018


def test_opening_the_door_imports_nothing_heavy():
    code = "import replay, sys; print({'polars', 'numba', 'duckdb', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_run_can_be_made_and_asked_without_the_command_line(tmp_path):
    scenario = replay.load_scenario()
    result = replay.execute(replay.prepare(SAMPLE, scenario))
    replay.write_run(tmp_path / "run", result.tables, result.manifest, "")
    with replay.RunDatabase(tmp_path / "run") as database:
        rows = database.query("SELECT sum(hit_tokens) FROM requests").table().rows
    assert rows[0][0] == result.tables["requests"]["hit_tokens"].sum()
