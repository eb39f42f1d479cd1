"""`replay generate` as its user meets it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from replay.cli import main
from replay.trace.readers import load_trace
from tests.profiles import chat


@pytest.fixture
def profile(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump(chat()))
    return path


def replay(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_profile_by_name_becomes_a_trace_that_can_be_read(profile):
    done = replay("generate", "conversational", "--requests", 200, "-o", "t.parquet")
    assert done.exit_code == 0, done.output
    trace = load_trace("t.parquet")
    assert (trace.requests, trace.has_segments, trace.has_sessions) == (200, True, True)
    assert trace.meta.name == "conversational"


def test_the_summary_says_size_lengths_and_what_repeats(profile):
    done = replay("generate", profile, "-o", "t.parquet")
    labels = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert labels == ["requests", "sessions", "input", "output", "seen before"]
    assert "500 in" in done.stdout
    assert "Trace written to t.parquet" in done.stderr


def test_the_options_stand_in_for_the_profile(profile):
    replay("generate", profile, "--duration", "3m", "--seed", 7, "--rate", 20, "-o", "t.parquet")
    trace = load_trace("t.parquet")
    assert 150 < trace.frame["arrival_ns"].max() / 1e9 <= 180
    assert trace.requests > 180 * 20 * 0.7
    assert any("seed 7" in note for note in trace.meta.notes)


def test_one_seed_gives_one_file_byte_for_byte(profile):
    for name in ("a.parquet", "b.parquet"):
        replay("generate", profile, "--seed", 3, "-o", name)
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()


def test_a_mooncake_file_has_the_same_requests(profile):
    assert replay("generate", profile, "-o", "t.jsonl").exit_code == 0
    assert replay("generate", profile, "-o", "t.parquet").exit_code == 0
    mooncake, own = load_trace("t.jsonl"), load_trace("t.parquet")
    assert mooncake.has_blocks
    lengths = ["input_tokens", "output_tokens"]
    assert mooncake.frame.select(lengths).equals(own.frame.select(lengths))


def test_tokens_are_written_when_asked_for(profile):
    replay("generate", profile, "--requests", 50, "--tokens", "-o", "t.parquet")
    frame = pl.read_parquet("t.parquet")
    assert (frame["tokens"].list.len() == frame["input_tokens"]).all()
    assert (frame["response_tokens"].list.len() == frame["output_tokens"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--requests", 5, "--duration", "1m"], "--requests and --duration exclude each other"),
        (["--rate", "0"], "rate must be above 0"),
        (["--rate", "nan"], "rate must be above 0"),
        (["--duration", "soon"], "not a duration (got 'soon')"),
        (["--tokens", "--format", "mooncake"], "the mooncake format holds no token ids"),
        (["-o", "t.csv"], "no trace format is known by this suffix (got 't.csv')"),
        (["-o", "nowhere/t.parquet"], "nowhere/t.parquet: cannot write: no such folder"),
        (["--requests", 0], "Invalid value for '--requests'"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(profile, arguments, message):
    done = replay("generate", profile, "-o", "t.parquet", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["mine.yaml"]


def test_a_file_that_is_there_is_kept_unless_forced(profile):
    Path("t.parquet").write_text("precious")
    done = replay("generate", profile, "-o", "t.parquet")
    assert (done.exit_code, Path("t.parquet").read_text()) == (2, "precious")
    assert "is there already" in done.stderr
    assert replay("generate", profile, "-o", "t.parquet", "--force").exit_code == 0
    assert load_trace("t.parquet").requests == 500


def test_an_unknown_profile_lists_the_near_ones(profile):
    done = replay("generate", "caht", "-o", "t.parquet")
    assert done.exit_code == 2
    assert "unknown profile (got 'caht')" in done.stderr
    assert "did you mean chat" in done.stderr


def test_a_mistake_in_a_profile_has_its_place(profile):
    profile.write_text(profile.read_text().replace("seconds: 10", "seconds: ten"))
    done = replay("generate", profile, "-o", "t.parquet")
    assert done.exit_code == 2
    assert "mine.yaml:" in done.stderr
    assert "clients[0].follow_up.think_time.seconds: must be a number" in done.stderr


def test_a_missing_profile_file_is_named(profile):
    done = replay("generate", "gone.yaml", "-o", "t.parquet")
    assert done.exit_code == 2
    assert "gone.yaml" in done.stderr


def test_profiles_can_be_listed(profile):
    done = replay("list", "profiles", "--format", "csv")
    assert done.exit_code == 0
    assert 'conversational,"Multi-turn chat' in done.stdout


def test_a_rate_that_a_short_trace_misses_is_told(tmp_path):
    paths = tmp_path / "short.parquet", tmp_path / "long.parquet"
    short = replay("generate", "conversational", "--rate", 5, "--requests", 400, "-o", paths[0])
    assert "of the 5 asked for, which hold in the long run" in " ".join(short.stderr.split())
    exact = replay("generate", "few_shot_pool", "--rate", 5, "--requests", 4000, "-o", paths[1])
    assert "asked for" not in exact.stderr


def test_a_rate_that_takes_longer_than_a_trace_may_is_told(tmp_path):
    output = tmp_path / "g.jsonl"
    words = ["generate", "conversational", "--requests", "10", "--rate", "1e-12", "-o", str(output)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "more years than a trace may span" in result.stderr
    assert not output.exists()
