"""`replay run` as its user meets it: good runs, and every kind of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from replay.cli import main

ROW = {"timestamp": 0, "input_length": 1000, "output_length": 10, "hash_ids": [0, 1]}


def replay(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "replay", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def invoke(arguments: list) -> None:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output


def write_trace(folder: Path, *rows: dict | str) -> Path:
    path = folder / "trace.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def summary(folder: Path) -> dict:
    done = replay("report", folder, "summary", "--format", "json")
    (row,) = json.loads(done.stdout)
    return row


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Six prompts of 1,000 tokens: every second one repeats the first."""
    rows = [{**ROW, "timestamp": 900 * i, "hash_ids": [0, 1] if i % 2 == 0 else [2 * i, 2 * i + 1]}
            for i in range(6)]  # fmt: skip
    return write_trace(tmp_path, *rows)


def test_untimed_run_counts_hits_and_leaves_latencies_empty(trace, tmp_path):
    done = replay("run", trace, "--untimed", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    row = summary(tmp_path / "run")
    assert (row["requests"], row["completed"], row["hit_tokens"]) == (6, 6, 2 * 512)
    assert row["ttft_mean_ms"] is None
    assert row["capacity_blocks"] is None
    assert row["overloaded"] is False


def test_timed_run_pairs_each_request_with_itself_without_cache(trace, tmp_path):
    done = replay("run", trace, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    requests = pl.read_parquet(tmp_path / "run" / "requests.parquet")
    hits = requests["hit_tokens"] > 0
    saved = requests["no_cache_ttft_ns"] - requests["ttft_ns"]
    assert hits.to_list() == [False, False, True, False, True, False]
    assert (saved.filter(hits) > 0).all()
    assert (saved.filter(~hits) == 0).all()
    assert (requests["ttft_ns"] == requests["queue_ns"] + requests["prefill_ns"]).all()


def test_no_cache_reuses_nothing_and_says_why(trace, tmp_path):
    replay("run", trace, "--no-cache", "-o", tmp_path / "run")
    row = summary(tmp_path / "run")
    assert (row["hit_tokens"], row["disabled_tokens"]) == (0, 2000)


def test_the_same_command_gives_the_same_digest_with_any_number_of_threads(trace, tmp_path):
    digests = set()
    for threads in (1, 2, 1):
        folder = tmp_path / "run"
        environment = {**os.environ, "POLARS_MAX_THREADS": str(threads)}
        done = replay("run", trace, "-o", folder, "--force", "--threads", threads, env=environment)
        assert done.returncode == 0, done.stderr
        digests.add(json.loads((folder / "manifest.json").read_text())["result_digest"])
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("options", "capacity"),
    [
        (["--untimed", "--capacity", "1GiB"], "1GiB"),
        (["--untimed"], "auto"),
        (["--untimed", "--gpu", "h100-sxm"], "auto"),
        (["--untimed", "--model", "llama-3.1-70b", "--tp", "4", "--block-size", "256"], "auto"),
        (["--gpu", "a100-sxm-80gb"], "auto"),
        (["--capacity", "40blocks"], "40blocks"),
        (["--untimed", "--capacity", "inf"], "inf"),
    ],
)
def test_a_run_can_be_repeated_from_its_own_scenario_which_says_what_was_asked(
    options, capacity, trace, tmp_path
):
    """`auto` stays `auto`; what it came to is in the manifest, and the same again."""
    invoke(["run", trace, *options, "-o", tmp_path / "a"])
    written = yaml.safe_load((tmp_path / "a" / "scenario.yaml").read_text())
    assert written["cache"]["capacity"] == capacity
    assert written["cache"]["block_size"] == (256 if "256" in options else None)
    invoke(["run", trace, "-c", tmp_path / "a" / "scenario.yaml", "-o", tmp_path / "b"])
    first, again = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a", "b")
    )
    for name in ("cache", "gpu", "result_digest", "scenario"):
        assert first[name] == again[name], name
    if capacity == "auto" and ("--gpu" in options or "--model" in options):
        assert first["cache"]["capacity_source"] == "the GPU's memory"
        assert first["cache"]["capacity_blocks"] > 0


def test_dry_run_writes_nothing(trace, tmp_path):
    done = replay("run", trace, "--dry-run", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "max_batched_tokens: 8192" in done.stdout
    assert not (tmp_path / "run").exists()


def test_seeded_jitter_spreads_a_tick_and_depends_on_the_seed(tmp_path):
    rows = [{**ROW, "timestamp": 3000 * (i // 4)} for i in range(8)]
    trace = write_trace(tmp_path, *rows)
    arrivals = []
    for seed in (1, 1, 2):
        folder = tmp_path / "run"
        jitter = ("--set", "trace.arrival_jitter=3s", "--seed", seed)
        replay("run", trace, "--untimed", *jitter, "-o", folder, "--force")
        arrivals.append(pl.read_parquet(folder / "requests.parquet")["arrival_ns"].to_list())
    assert arrivals[0] == arrivals[1] != arrivals[2]
    assert arrivals[0] == sorted(set(arrivals[0]))


def test_a_prompt_longer_than_the_pool_is_rejected_and_the_run_goes_on(tmp_path):
    long = {**ROW, "input_length": 5120, "hash_ids": list(range(10, 20))}
    trace = write_trace(tmp_path, ROW, long, ROW)
    for mode in ((), ("--untimed",)):
        done = replay("run", trace, *mode, "--capacity", "4blocks", "-o", tmp_path / "r", "--force")
        assert done.returncode == 0, done.stderr
        row = summary(tmp_path / "r")
        assert (row["completed"], row["rejected"]) == (2, 1)
        requests = pl.read_parquet(tmp_path / "r" / "requests.parquet")
        assert requests["status"].to_list() == ["completed", "rejected", "completed"]


def test_a_run_stopped_by_its_horizon_reports_what_it_left(tmp_path):
    trace = write_trace(tmp_path, ROW, {**ROW, "timestamp": 60_000})
    replay("run", trace, "--set", "engine.horizon=10s", "-o", tmp_path / "r")
    row = summary(tmp_path / "r")
    assert (row["completed"], row["unfinished"]) == (1, 1)


BAD_ROWS = {
    "truncated JSON": ('{"timestamp": 0, "input_le', ":2"),
    "wrong type": ({**ROW, "input_length": "many"}, ":2"),
    "negative length": ({**ROW, "input_length": -5}, ":2"),
    "zero length": ({**ROW, "output_length": 0}, ":2"),
    "id count contradicts length": ({**ROW, "hash_ids": [0, 1, 2, 3]}, ":2"),
    "unchained ids": ({**ROW, "hash_ids": [1, 0]}, ":2"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_placed_and_nothing_is_written(what, tmp_path):
    row, place = BAD_ROWS[what]
    trace = write_trace(tmp_path, ROW, row)
    done = replay("run", trace, "--untimed", "-o", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert f"trace.jsonl{place}" in done.stderr
    assert "Hint: " in done.stderr or "got" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_unsorted_times_are_placed(tmp_path):
    trace = write_trace(tmp_path, {**ROW, "timestamp": 5000}, {**ROW, "timestamp": 100})
    done = replay("run", trace, "--untimed", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "trace.jsonl:2" in done.stderr
    assert "Hint: " in done.stderr


def test_missing_and_empty_files_are_named(tmp_path):
    missing = replay("run", tmp_path / "none.jsonl", "--untimed", "-o", tmp_path / "run")
    assert missing.returncode == 2
    assert "none.jsonl" in missing.stderr
    (tmp_path / "empty.jsonl").write_text("")
    empty = replay("run", tmp_path / "empty.jsonl", "--untimed", "-o", tmp_path / "run")
    assert empty.returncode == 2
    assert "empty" in empty.stderr


def test_a_key_given_twice_in_a_scenario_names_both_lines(trace, tmp_path):
    scenario = tmp_path / "twice.yaml"
    scenario.write_text("seed: 1\nengine:\n  mode: untimed\nseed: 2\n")
    done = replay("run", trace, "-c", scenario, "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "twice.yaml:4:1: key 'seed' given twice (first on line 1)" in done.stderr


def test_an_unknown_gpu_lists_the_near_ones(trace, tmp_path):
    done = replay("run", trace, "--gpu", "h100", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "unknown GPU" in done.stderr
    assert "h100-sxm" in done.stderr


def test_a_model_too_large_says_by_how_much(trace, tmp_path):
    done = replay("run", trace, "--model", "llama-3.1-70b", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "GiB more than" in done.stderr
    assert "tensor_parallel" in done.stderr


def test_an_existing_output_is_kept_unless_forced(trace, tmp_path):
    folder = tmp_path / "run"
    replay("run", trace, "--untimed", "-o", folder)
    before = (folder / "manifest.json").read_bytes()
    refused = replay("run", trace, "--untimed", "-o", folder)
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (folder / "manifest.json").read_bytes() == before
    assert replay("run", trace, "--untimed", "-o", folder, "--force").returncode == 0


def test_a_full_disk_is_said_and_leaves_nothing(trace, tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "sys.argv = ['replay', *sys.argv[1:]]; from replay.cli import main; main()"
    )
    arguments = ["run", str(trace), "--untimed", "-o", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.jsonl"]


@pytest.mark.parametrize(
    "where",
    [
        "replay.engine.prepare.load_trace",
        "replay.engine.growing.build_tree",
        "replay.engine.run.simulate_timed",
        "replay.engine.run.prefix_rows",
        "replay.runs.write.ResultDigest",
        "replay.runs.write._parquet",
    ],
)
def test_ctrl_c_anywhere_leaves_nothing_half_written(where, trace, tmp_path, monkeypatch):
    def pressed(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, pressed)
    done = CliRunner().invoke(main, ["run", str(trace), "-o", str(tmp_path / "run")])
    assert done.exit_code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.jsonl"]


@pytest.mark.slow
def test_a_signal_stops_a_long_run(tmp_path):
    rows = [{**ROW, "timestamp": i, "output_length": 100_000, "hash_ids": [2 * i, 2 * i + 1]}
            for i in range(2_000)]  # fmt: skip
    trace = write_trace(tmp_path, *rows)
    code = (
        "import os, signal, sys, replay.engine.simulate as simulate; from replay.cli import main\n"
        "pressed = []\n"
        "def forever(*arguments):\n"
        "    pressed or pressed.append(os.kill(os.getpid(), signal.SIGINT))\n"
        "    return 2\n"
        "simulate.replay_timed = forever\n"
        "sys.argv = ['replay', *sys.argv[1:]]; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(trace), "-o", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace.jsonl"]


@pytest.mark.parametrize("gpu", ["h100-sxm", "a100-sxm-80gb", "h200-sxm"])
def test_no_first_token_comes_sooner_than_the_gpu_can_compute_it(gpu, tmp_path):
    lengths = [100, 1_000, 4_000, 12_000, 60_000, 120_000]
    rows, ids = [], 0
    for i, tokens in enumerate(lengths * 2):
        blocks = -(-tokens // 512)
        rows.append({"timestamp": 1000 * i, "input_length": tokens, "output_length": 5,
                     "hash_ids": list(range(ids, ids + blocks))})  # fmt: skip
        ids = 0 if i == len(lengths) - 1 else ids + blocks
    trace = write_trace(tmp_path, *rows)
    done = replay("run", trace, "--gpu", gpu, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    peak = {"h100-sxm": 989e12, "a100-sxm-80gb": 312e12, "h200-sxm": 989e12}[gpu]
    for row in pl.read_parquet(tmp_path / "run" / "requests.parquet").iter_rows(named=True):
        new = row["input_tokens"] - row["hit_tokens"]
        cached = row["hit_tokens"]
        flop = 2 * 6.98e9 * new + 4 * 32 * 4096 * new * (cached + new / 2)
        assert row["ttft_ns"] / 1e9 >= flop / peak


def test_steps_and_a_setting_that_contradicts_it_are_named_as_given(trace, tmp_path):
    done = CliRunner().invoke(
        main,
        ["run", str(trace), "--steps", "--set", "engine.steps=maybe", "-o", str(tmp_path / "run")],
    )
    assert done.exit_code == 2
    assert "given twice, as --set engine.steps=maybe and as --steps" in done.stderr
