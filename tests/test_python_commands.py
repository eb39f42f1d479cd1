"""Each command and its call in Python: the same options, the same numbers."""

from __future__ import annotations

import inspect
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

import replay
from replay.answers.name_tables import KINDS
from replay.api.scenarios import CACHE_KEYS, SCENARIO_KEYS
from replay.cli import main
from replay.config.short_names import FLAGS, KEYS
from replay.trace.readers import load_trace

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
READING = {
    "format_in", "trace_block_size", "tokenizer", "chat_template", "columns", "separate_by",
    "max_rejected", "max_unpacked",
}  # fmt: skip
# What prints or ends a process, and has another form here: results, `plot`, `Check.sound`.
PRINTED = {"format", "output", "force", "plot", "dry_run", "strict", "chosen", "every", "html",
           "static"}  # fmt: skip
PLURAL = {"policies": "policy", "capacities": "capacity", "block_sizes": "block_size"}
CALLS = {
    "anonymize": replay.anonymize,
    "check": replay.check,
    "compare": replay.compare,
    "convert": replay.convert,
    "cost": replay.cost,
    "curve": replay.curve,
    "describe": replay.describe,
    "explain": replay.explain,
    "gain": replay.gain,
    "generate": replay.generate,
    "list": replay.names,
    "policies": replay.policies,
    "query": replay.query,
    "run": replay.run,
    "tree": replay.tree,
}
# These have no call of their name: they look at files and machines, or are `Run.report`, `page`.
NO_CALLS = {"calibrate", "demo", "doctor", "fetch", "report", "verify"}
UNTIMED = {"untimed": True, "capacity": "5000blocks"}


@pytest.fixture(scope="module")
def trace() -> replay.Trace:
    return replay.load_trace(SAMPLE)


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Return a function that runs a command and returns the table it writes."""
    folder = tmp_path_factory.mktemp("commands")

    def table(*arguments: object) -> pl.DataFrame:
        path = folder / f"{len(list(folder.iterdir()))}.parquet"
        done = CliRunner().invoke(main, [*map(str, arguments), "-o", str(path)])
        assert done.exit_code == 0, done.output
        return pl.read_parquet(path)

    return table


def options_of(name: str) -> set[str]:
    found = set()
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            found.add(PLURAL.get(parameter.name, parameter.name))
    return {"set" if name == "settings" else name for name in found} - PRINTED


def keywords_of(call) -> set[str]:
    found = set()
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found |= set(CACHE_KEYS if "CacheKeys" in str(parameter.annotation) else SCENARIO_KEYS)
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            found.add(parameter.name)
    return found - {"progress", "output", "force"}


def test_every_command_has_a_call_or_a_reason():
    assert set(main.commands) - NO_CALLS - set(CALLS) - {"export"} == set()


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_what_its_command_takes(name):
    asked, taken = options_of(name), keywords_of(CALLS[name])
    renamed = {"rounding": "round", "table_file": "table", "format": "format"}
    asked = {renamed.get(option, option) for option in asked}
    if name == "generate":
        taken -= {"format"}
    if name == "compare":
        taken -= {"names"}  # of runs in memory: folders have names
        asked -= options_of("run") | {"trace", "keep"}  # `replay.run` makes what is compared
    if name == "explain":
        taken -= {"trace"}
        asked -= {"trace"}
    # How a trace is read is said to `load_trace`, but by which columns requests part.
    assert taken - READING == asked - READING


def test_reading_takes_the_options_of_reading():
    assert keywords_of(replay.load_trace) == READING & options_of("describe")


def test_all_short_names_of_the_scenario_are_keywords():
    assert {*KEYS, *FLAGS} < {*SCENARIO_KEYS}
    assert {*CACHE_KEYS} < {*SCENARIO_KEYS}


def test_describe(trace, command):
    assert_frame_equal(replay.describe(trace).frame(), command("describe", SAMPLE))


def test_tree(trace, command):
    assert_frame_equal(replay.tree(trace).frame(), command("tree", SAMPLE))
    given = replay.tree(trace, by="requests", depth=2, min_requests=5, no_sessions=True).frame()
    options = ("--by", "requests", "--depth", 2, "--min-requests", 5, "--no-sessions")
    assert_frame_equal(given, command("tree", SAMPLE, *options))


def test_check(trace, command):
    assert_frame_equal(
        replay.check(trace, context=8192).frame(), command("check", SAMPLE, "--context", 8192)
    )
    assert not replay.check(trace, context=8192).sound


def test_curve(trace, command):
    given = replay.curve(trace, policy=["lru", "min"], capacity="1000,40GiB", block_size=[16, 512])
    told = command(
        "curve", SAMPLE, "--policy", "lru,min", "--capacity", "1000,40GiB", "--block-size", "16,512"
    )
    assert_frame_equal(given.frame(), told)
    by_turn = replay.curve(SAMPLE, by="window", window="5m", points=5, gpu="h100-sxm").frame()
    options = ("--by", "window", "--window", "5m", "--points", 5, "--gpu", "h100-sxm")
    assert_frame_equal(by_turn, command("curve", SAMPLE, *options))
    sampled = replay.curve(trace, sample="50%", points=4, seed=3).frame()
    assert_frame_equal(
        sampled, command("curve", SAMPLE, "--sample", "50%", "--points", 4, "--seed", 3)
    )


def test_policies(trace, command):
    given = replay.policies(trace, policy="lru,arc,gdsf", capacity=3000).frame()
    told = command("policies", SAMPLE, "--policy", "lru,arc,gdsf", "--capacity", 3000)
    assert_frame_equal(given.drop("cpu_ms"), told.drop("cpu_ms"))


def test_gain(trace, command):
    assert_frame_equal(
        replay.gain(trace, untimed=True).frame(), command("gain", SAMPLE, "--untimed")
    )


def test_cost(command):
    given = replay.cost(model="qwen3-8b", new=512, cached=65536, decode="32x4096")
    options = ("--model", "qwen3-8b", "--new", 512, "--cached", 65536, "--decode", "32x4096")
    assert_frame_equal(given.frame(), command("cost", *options))
    assert given.frame("load_or_recompute").height > 1


@pytest.mark.parametrize("kind", KINDS)
def test_names(kind, command):
    assert_frame_equal(replay.names(kind).frame(), command("list", kind))


def test_a_run_its_reports_queries_and_stories(trace, command, tmp_path):
    settings = ("--untimed", "--capacity", "5000blocks", "--set", "cache.ttl=5m")
    done = CliRunner().invoke(main, ["run", str(SAMPLE), *settings, "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    opened = replay.open_run(tmp_path / "run")
    made = replay.run(trace, **UNTIMED, set={"cache.ttl": "5m"})
    assert made.manifest["result_digest"] == opened.manifest["result_digest"]
    for name in made.tables:
        assert_frame_equal(made.frame(name), opened.frame(name))
    for name in ("summary", "sessions"):
        told = command("report", tmp_path / "run", name)
        assert_frame_equal(made.report(name).frame(), told)
        assert_frame_equal(opened.report(name).frame(), told)
    sql = "SELECT turn, sum(hit_tokens) AS hit FROM requests GROUP BY turn ORDER BY turn"
    told = command("query", tmp_path / "run", sql)
    assert_frame_equal(replay.query(tmp_path / "run", sql).frame(), told)
    assert_frame_equal(made.sql(sql).frame(), told)
    told = command("explain", tmp_path / "run", 1002)
    assert_frame_equal(made.explain(1002).frame(), told)
    assert_frame_equal(replay.explain(tmp_path / "run", 1002).frame(), told)
    told = command("tree", tmp_path / "run", "--by", "tokens", "--limit", 9)
    assert_frame_equal(replay.tree(tmp_path / "run", by="tokens", limit=9).frame(), told)
    assert_frame_equal(replay.tree(made, by="tokens", limit=9).frame(), told)


def test_a_timed_run(trace, tmp_path):
    options = ("--gpu", "a100-sxm-80gb", "--model", "llama-3.1-8b", "--capacity", "10GiB")
    done = CliRunner().invoke(main, ["run", str(SAMPLE), *options, "-o", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    opened = replay.open_run(tmp_path / "run")
    made = replay.run(trace, gpu="a100-sxm-80gb", model="llama-3.1-8b", capacity="10GiB", threads=1)
    assert made.manifest["result_digest"] == opened.manifest["result_digest"]
    assert made.warnings == opened.warnings
    assert made.notes == opened.notes


def test_runs_compared(trace, command, tmp_path):
    made = [replay.run(trace, untimed=True, capacity=size) for size in (2000, 5000)]
    in_memory = replay.compare(*made, names=("few", "many"))
    folders = [run.save(tmp_path / name) for run, name in zip(made, ("few", "many"), strict=True)]
    for name in ("delta", "gained", "requests", "differences", "capacities"):
        told = command("compare", *folders, "--table", name)
        assert_frame_equal(replay.compare(*folders).frame(name), told)
        assert_frame_equal(in_memory.frame(name), told)
    assert in_memory.frame("runs")["folder"].to_list() == [None, None]
    assert in_memory.text.startswith("many reuses 48.1% of the prompt tokens where few reuses 33")


def test_generate_convert_and_anonymize(trace, tmp_path):
    secret = tmp_path / "key"
    secret.write_bytes(bytes(range(32)))

    def written(*arguments: object) -> pl.DataFrame:
        path = tmp_path / "t.parquet" if "anonymize" not in arguments else tmp_path / "t.jsonl"
        arguments = (*arguments, "-o", path, "--force")
        done = CliRunner().invoke(main, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        return load_trace(path).frame

    drawn = replay.generate("few_shot_pool", requests=300, seed=5)
    told = written("generate", "few_shot_pool", "--requests", 300, "--seed", 5)
    assert_frame_equal(drawn.frame(), told)
    part = replay.convert(trace, window="2m..8m", sample="50%", seed=2, speedup=2)
    options = ("--window", "2m..8m", "--sample", "50%", "--seed", 2, "--speedup", 2)
    assert_frame_equal(part.frame(), written("convert", SAMPLE, *options))
    hidden = replay.anonymize(trace, key_file=secret, round="1s")
    told = written("anonymize", SAMPLE, "--key-file", secret, "--round", "1s")
    assert_frame_equal(hidden.frame(), told.select(hidden.frame().columns))
