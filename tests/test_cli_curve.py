"""`replay curve` and `replay policies`: what they print, in which unit, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cache.replacement import REPLACEMENTS
from replay.cli import main

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def invoke(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def rows(command: str, *arguments: object) -> list[dict]:
    result = invoke(command, SAMPLE, *arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_curve_equals_untimed_runs_of_a_cache_of_ids(tmp_path):
    found = rows("curve", "--partial-blocks", "--capacity", "1000blocks,4000blocks")
    assert [row["capacity_blocks"] for row in found] == [1_000, 4_000]
    for row in found:
        capacity = f"{row['capacity_blocks']}blocks"
        run = tmp_path / capacity
        done = invoke(
            "run", SAMPLE, "--untimed", "--partial-blocks", "--capacity", capacity, "-o", run
        )
        assert done.exit_code == 0, done.output
        query = invoke(
            "query", run, "SELECT sum(hit_tokens) AS hit FROM requests", "--format", "json"
        )
        assert json.loads(query.stdout)[0]["hit"] == row["hit_tokens"]


def test_curve_of_several_block_sizes_and_policies():
    found = rows(
        "curve", "--block-size", "64,512", "--policy", "lru,fifo,min", "--capacity", "2Mtokens"
    )
    assert [(row["block_size"], row["policy"]) for row in found] == [
        (size, policy) for size in (64, 512) for policy in ("lru", "fifo", "min")
    ]
    assert {row["capacity_tokens"] for row in found} <= {2_000_000, 1_999_872}
    by = {(row["block_size"], row["policy"]): row["hit_tokens"] for row in found}
    assert by[64, "fifo"] < by[64, "lru"] < by[64, "min"]


def test_groups_add_up_to_the_whole():
    whole = rows("curve", "--capacity", "1000blocks,5000blocks", "--policy", "lru,arc")
    for by in (("session",), ("window", "--window", "2m"), ("turn",)):
        parts = rows(
            "curve", "--capacity", "1000blocks,5000blocks", "--policy", "lru,arc", "--by", *by
        )
        assert len({row["group"] for row in parts}) > 2
        for row in whole:
            same = [
                part["hit_tokens"]
                for part in parts
                if (part["policy"], part["capacity_blocks"])
                == (row["policy"], row["capacity_blocks"])
            ]
            assert sum(same) == row["hit_tokens"]


def test_capacities_in_gib_are_those_of_the_models_kv():
    bf16 = rows("curve", "--unit", "GiB", "--model", "llama-3.1-8b", "--capacity", "10GiB")[0]
    fp8 = rows("curve", "--unit", "GiB", "--kv-dtype", "fp8", "--capacity", "10GiB")[0]
    assert bf16["capacity_gib"] == fp8["capacity_gib"] == 10
    assert bf16["capacity_blocks"] == 10 * 2**30 // (512 * 131_072)
    assert fp8["capacity_blocks"] == 2 * bf16["capacity_blocks"]
    assert bf16["marginal_tokens_per_gib"] > 0


def test_tables_say_what_could_be_hit_and_where_the_knees_are():
    result = invoke("curve", SAMPLE, "--gpu", "h100-sxm", "--unit", "GiB")
    assert result.exit_code == 0, result.output
    assert "block ceiling token hit rate" in result.stdout
    assert "99% of ceiling at GiB" in result.stdout
    assert "55.25" in result.stdout  # the GPU's own memory is among the capacities


def test_what_is_assumed_inside_blocks_leaves_the_block_size(tmp_path):
    assumed = ("--set", "trace.system_prompt_tokens=880")
    found = rows("curve", *assumed, "--capacity", "884blocks")[0]
    run = tmp_path / "run"
    invoke("run", SAMPLE, "--untimed", "--capacity", "884blocks", *assumed, "-o", run)
    query = invoke("query", run, "SELECT sum(hit_tokens) AS hit FROM requests", "--format", "json")
    assert found["block_size"] == 512
    # a run keeps duplicates of last blocks and refuses what is too long: nearly the same
    assert abs(json.loads(query.stdout)[0]["hit"] / found["hit_tokens"] - 1) < 0.01


def test_a_sample_of_everything_is_exact_and_one_too_small_has_no_error():
    whole = rows("curve", "--sample", "100%", "--capacity", "884blocks")[0]
    assert whole["hit_tokens"] == rows("curve", "--capacity", "884blocks")[0]["hit_tokens"]
    assert whole["token_hit_rate_error"] is None
    assert (
        rows("curve", "--sample", "0.01%", "--capacity", "884blocks")[0]["token_hit_rate_error"]
        is None
    )


def test_points_and_samples():
    assert 30 < len(rows("curve", "--points", "40")) <= 40  # small ones coincide
    sampled = rows("curve", "--sample", "50%", "--capacity", "2000blocks")[0]
    exact = rows("curve", "--capacity", "2000blocks")[0]
    assert sampled["token_hit_rate_error"] > 0
    off = abs(sampled["token_hit_rate"] - exact["token_hit_rate"])
    assert off < 4 * sampled["token_hit_rate_error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "lruu"], ["unknown policy", "lru", "known:"]),
        (["--by", "tennant"], ["unknown column", "session", "window"]),
        (["--by", "window"], ["--window"]),
        (["--kv-dtype", "fp3", "--unit", "GiB"], ["fp3", "fp8"]),
        (["--block-size", "0"], ["--block-size"]),
        (["--block-size", "16,,32"], ["--block-size"]),
        (["--capacity", "many"], ["not a capacity"]),
        (["--capacity", "100tokens"], ["holds no block"]),
        (["--policy", "ttl"], ["ttl", "time to live"]),
        (["--policy", "priority"], ["priority"]),
        (["--sample", "0"], ["--sample"]),
        (["--sample", "10%", "--policy", "arc"], ["only", "lru"]),
        (["--sample", "10%", "--by", "turn"], ["--by"]),
        (["--plot", "curve.gif"], ["suffix"]),
        (["--unit", "pages"], ["--unit"]),
        (["--set", "cache.capacity=10blocks"], ["cache.capacity", "--capacity"]),
        (["--set", "cache.kind=radix"], ["cache.kind", "no effect"]),
        (["--set", "engine.hold=10s"], ["engine.hold", "no effect"]),
        (["--set", "cache.block_size=64", "--block-size", "32"], ["--block-size"]),
        (["--ttl", "5m"], ["--ttl", "policy ttl"]),
        (["--window", "5m"], ["--by window"]),
        (["--points", "5", "--capacity", "10blocks"], ["--points"]),
        (["--capacity", ","], ["--capacity"]),
    ],
)  # fmt: skip
def test_bad_questions_are_refused(arguments, words):
    result = invoke("curve", SAMPLE, *arguments)
    assert result.exit_code == 2, result.output
    assert all(word in result.output for word in words), result.output


def test_files_are_replaced_only_when_asked(tmp_path):
    target = tmp_path / "curve.csv"
    assert invoke("curve", SAMPLE, "-o", target).exit_code == 0
    first = target.read_text()
    again = invoke("curve", SAMPLE, "--capacity", "5000blocks", "-o", target)
    assert again.exit_code == 2
    assert "--force" in again.output
    assert target.read_text() == first
    assert (
        invoke("curve", SAMPLE, "--capacity", "5000blocks", "-o", target, "--force").exit_code == 0
    )
    assert target.read_text() != first


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["png", "svg", "html"])
def test_plots(tmp_path, suffix):
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    target = tmp_path / f"curve.{suffix}"
    result = invoke("curve", SAMPLE, "--policy", "lru,min", "--plot", target, "--gpu", "h100-sxm")
    assert result.exit_code == 0, result.output
    content = target.read_bytes()
    if suffix == "png":
        assert content.startswith(b"\x89PNG")
    else:
        assert b"what can be reused" in content
        assert b"h100-sxm" in content


@pytest.mark.slow
def test_policies_are_ranked_between_lru_and_the_optimum():
    found = rows("policies", "--capacity", "1500blocks", "--ttl", "1h")
    names = [row["policy"] for row in found]
    assert set(names) == {one.name for one in REPLACEMENTS} - {"priority"}
    by = {row["policy"]: row for row in found}
    assert by["lru"]["gap_closed_share"] == 0
    assert by["min"]["gap_closed_share"] == 1
    assert [row["hit_tokens"] for row in found] == sorted(
        (row["hit_tokens"] for row in found), reverse=True
    )
    bound = {"min", "min_bypass"}
    assert all(row["gap_closed_share"] <= 1 for row in found if row["policy"] not in bound)
    assert all(row["stranded_blocks"] == 0 for row in found if row["closure"] != "no")


def test_the_gap_needs_no_lru_or_optimum_among_the_policies_asked_for():
    found = rows("policies", "--capacity", "1500blocks", "--policy", "fifo")
    assert [row["policy"] for row in found] == ["fifo"]
    assert found[0]["gap_closed_share"] < 1


def test_the_default_capacity_is_the_gpus_memory():
    found = rows("policies", "--policy", "lru", "--gpu", "h100-sxm")
    assert [row["capacity_blocks"] for row in found] == [884]


def test_results_do_not_depend_on_threads():
    one = rows(
        "policies", "--capacity", "900blocks", "--policy", "lru,arc,random,min", "--threads", "1"
    )
    two = rows(
        "policies", "--capacity", "900blocks", "--policy", "lru,arc,random,min", "--threads", "2"
    )
    drop = {"cpu_ms"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in one] == [
        {k: v for k, v in row.items() if k not in drop} for row in two
    ]


def test_every_policy_is_listed():
    result = invoke("list", "policies", "--format", "json")
    names = [row["name"] for row in json.loads(result.stdout)]
    assert {one.name for one in REPLACEMENTS} <= set(names)


def test_a_capacity_below_the_longest_prompt_is_said(tmp_path):
    line = (
        '{"timestamp": 0, "input_length": 5000, "output_length": 1, '
        '"hash_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n'
    )
    trace = tmp_path / "trace.jsonl"
    trace.write_text(line)
    below = CliRunner().invoke(
        main, ["curve", str(trace), "--capacity", "4blocks,9blocks,20blocks"]
    )
    assert below.exit_code == 0, below.output
    assert "2 of 3 capacities are below the longest prompt (10 blocks of 512)" in " ".join(
        below.stderr.split()
    )
    enough = CliRunner().invoke(main, ["curve", str(trace), "--capacity", "10blocks"])
    assert "below the longest" not in enough.stderr


@pytest.mark.parametrize(
    ("capacity", "unit", "shown"),
    [
        ("1GiB", [], "1 GiB of cache: 16 blocks of 512 tokens"),
        ("20480tokens", [], "20,480 tokens of cache: 40 blocks of 512 tokens"),
        ("40blocks", [], "40 blocks of cache, blocks of 512 tokens"),
        ("1GiB", ["--unit", "blocks"], "16 blocks of cache, blocks of 512 tokens"),
        ("20480tokens,40blocks", [], "40 blocks of cache, blocks of 512 tokens"),
    ],
)
def test_capacities_are_shown_in_the_unit_they_were_given_in(capacity, unit, shown):
    sample = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
    arguments = ["policies", sample, "--policy", "lru", "--capacity", capacity, *unit]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert shown in done.stdout


def test_a_model_that_keeps_no_kv_has_no_memory_to_ask_for(tmp_path):
    states = {
        "model_type": "qwen3_5_moe_text", "full_attention_interval": 3072, "head_dim": 256,
        "hidden_size": 3072, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 64, "linear_value_head_dim": 128,
        "moe_intermediate_size": 1024, "num_attention_heads": 32, "num_experts": 256,
        "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 2,
        "shared_expert_intermediate_size": 1024, "vocab_size": 248320,
    }  # fmt: skip
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "qwen3_5_moe", "text_config": states}))
    for asked in (("--unit", "GiB"), ("--capacity", "1GiB"), ("--gpu", "h100-sxm")):
        result = invoke("curve", SAMPLE, "--model", config, *asked)
        assert result.exit_code == 2
        assert "keeps no KV: there is no prefix cache to size" in result.stderr
