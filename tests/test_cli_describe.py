"""`replay describe`: tables for people, one row for everything else, errors without tracebacks."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.trace.frame import TraceMeta, canonical_trace
from replay.trace.parquet import write_trace
from tests.trace_samples import CONVERSATION, needs_conversation, row

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def describe(*arguments):
    return CliRunner().invoke(main, ["describe", *map(str, arguments)])


def flat(*arguments):
    result = describe(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    (facts,) = json.loads(result.stdout)
    return facts


def test_json_is_one_row_with_definitions_and_units_in_its_names():
    facts = flat(SAMPLE)
    assert facts["requests"] == 2132
    assert facts["block_size_tokens"] == 512
    assert 0.45 < facts["ideal_token_hit_rate"] < 0.60
    assert "under-counted" in facts["notes"]


@needs_conversation
def test_json_of_the_conversation_trace_has_the_published_rates():
    facts = flat(CONVERSATION)
    assert round(facts["ideal_token_hit_rate"], 4) == 0.3736
    assert round(facts["ideal_block_hit_rate"], 4) == 0.3664
    assert facts["sessions"] == 7_373 + 683 + 212


def test_the_table_groups_facts_and_ends_with_notes():
    text = describe(SAMPLE).stdout
    titles = ["Trace\n", "Arrivals\n", "Lengths\n", "Sessions\n", "Content\n", "Hit rates of an"]
    places = [text.index(title) for title in [*titles, "Notes\n"]]
    assert places == sorted(places)
    assert "ideal token hit rate" in text


def test_the_table_fits_a_hundred_columns():
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, ["describe", str(SAMPLE)])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json", "jsonl"])
def test_the_suffix_of_the_output_tells_the_format(tmp_path, suffix):
    path = tmp_path / f"facts.{suffix}"
    assert describe(SAMPLE, "-o", path).exit_code == 0
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "json": pl.read_json}
    frame = read.get(suffix, pl.read_ndjson)(path)
    assert frame["requests"].to_list() == [2132]


def test_markdown_holds_every_group():
    text = describe(SAMPLE, "--format", "md").stdout
    assert "| ideal_token_hit_rate" in text
    assert "turns are under-counted" in text


def test_without_sessions_none_are_looked_for():
    facts = flat(SAMPLE, "--no-sessions")
    assert facts["sessions"] is None
    assert facts["sessions_obtained"] == "none"
    assert facts["session_hit_token_share"] is None


def test_block_size_is_that_of_the_trace(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_text(row(0, 40, 1, [0, 1, 2]) + "\n")
    assert flat(path, "--trace-block-size", 16)["blocks"] == 3
    assert flat(path)["blocks"] == 3  # no other size has three blocks in forty tokens
    result = describe(path, "--trace-block-size", 32)
    assert result.exit_code == 2
    assert "Hint: every row fits a block size of 16" in result.stderr


def test_block_ids_past_signed_integers_are_written(tmp_path):
    path = tmp_path / "trace.parquet"
    frame = pl.DataFrame(
        {
            "arrival_ns": [0, 1],
            "input_tokens": [16, 16],
            "output_tokens": [1, 1],
            "block_ids": pl.Series([[2**64 - 1]] * 2, dtype=pl.List(pl.UInt64)),
        }
    )
    meta = TraceMeta("t", "t", "0" * 64, "test", 16, "test")
    write_trace(canonical_trace(frame, meta), path)
    assert flat(path)["top_prefix_block_id"] == 2**64 - 1
    assert flat(path)["top_prefix_request_id"] == 0


def test_a_token_is_no_block_id(tmp_path):
    frame = pl.DataFrame(
        {
            "arrival_ns": [0, 1, 2],
            "input_tokens": [20, 20, 20],
            "output_tokens": [1, 1, 1],
            "tokens": pl.Series([[9] * 20, [7] * 20, [7] * 20], dtype=pl.List(pl.UInt32)),
        }
    )
    meta = TraceMeta("t", "t", "0" * 64, "test", None, "test")
    write_trace(canonical_trace(frame, meta), tmp_path / "trace.parquet")
    found = flat(tmp_path / "trace.parquet")
    assert found["top_prefix_tokens"] == 20
    assert found["top_prefix_block_id"] is None
    assert found["top_prefix_request_id"] == 1


def test_a_missing_trace_ends_with_two_and_no_traceback():
    result = describe("absent.jsonl")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no such trace file")


@pytest.mark.parametrize("size", ["0", "-4", "x", "1048577"])
def test_a_block_size_that_makes_no_sense_is_refused(size):
    assert describe(SAMPLE, "--trace-block-size", size).exit_code == 2


def test_the_module_imports_nothing_heavy():
    heavy = "{'numpy', 'polars', 'numba', 'duckdb', 'rich', 'pydantic', 'yaml'}"
    code = f"import sys, replay.cli.describe; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
