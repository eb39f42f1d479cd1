"""`replay explain`: every story adds up to the run's own row, and reads well on a terminal."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from replay.analysis.explain import explain_request
from replay.answers.explain_table import FIRST_LINES, LAST_LINES
from replay.cli import main
from replay.errors import InputError
from replay.runs.open import open_run
from replay.trace.parquet import write_trace
from tests.random_traces import unit_trace_of
from tests.run_fixture import age

MS = 1_000_000
RUNS = {
    "pool": ["--untimed", "--capacity", "24blocks"],
    "pool-held": ["--untimed", "--capacity", "30blocks", "--set", "engine.hold=90ms"],
    "pool-timed": ["--capacity", "30blocks"],
    "pool-ttl": ["--untimed", "--capacity", "60blocks", "--set", "cache.ttl=60ms"],
    "radix": ["--untimed", "--capacity", "100tokens", "--set", "cache.kind=radix"],
    "radix-held": [
        "--untimed", "--capacity", "120tokens", "--set", "cache.kind=radix",
        "--set", "engine.hold=90ms",
    ],
    "radix-timed": ["--capacity", "120tokens", "--set", "cache.kind=radix"],
}  # fmt: skip
CAUSES = {
    "hit": "hit_tokens",
    "evicted": "capacity_miss_tokens",
    "expired": "capacity_miss_tokens",
    "not kept": "capacity_miss_tokens",
    "behind a gap": "capacity_miss_tokens",
    "in flight": "in_flight_tokens",
    "rounding": "granularity_tokens",
    "never seen": "cold_tokens",
}


def request(now_ms: int, pieces: list[tuple[int, int]], response: tuple[int, int], session: int):
    return {
        "arrival_ns": now_ms * MS,
        "segments": [segment for segment, _ in pieces],
        "segment_tokens": [tokens for _, tokens in pieces],
        "response_segment": response[0],
        "input_tokens": sum(tokens for _, tokens in pieces),
        "output_tokens": response[1],
        "session_id": session,
    }


def chat_rows() -> list[dict]:
    """Five sessions that share an opening and take turns, some in the same millisecond."""
    drawn = random.Random(5)
    said = {session: [(1, 13)] for session in range(5)}
    rows, now_ms = [], 0
    for number in range(40):
        session = drawn.randrange(5)
        now_ms += drawn.choice([0, 1, 10, 30])
        pieces = [*said[session], (100 + number, drawn.randint(1, 9))]
        response = (500 + number, drawn.randint(1, 8))
        rows.append(request(now_ms, pieces, response, session))
        said[session] = [*pieces, response] if len(pieces) < 9 else [(1, 13)]
    return rows


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    return write_trace(unit_trace_of(chat_rows()), folder / "chat.parquet")


def made(trace: Path, folder: Path, *options: str) -> Path:
    block = "1" if "cache.kind=radix" in options else "4"
    arguments = ["run", trace, "-o", folder, "--block-size", block, *options]
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def runs(trace, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: made(trace, folder / name, *options) for name, options in RUNS.items()}


def explain(*arguments: object, env: dict | None = None) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)], env=env)


def refused(*arguments: object) -> str:
    result = explain(*arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.split())


def requests_of(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "requests.parquet")


@pytest.mark.parametrize("name", RUNS)
def test_every_story_adds_up_to_the_row_of_the_run(runs, name):
    run = open_run(runs[name])
    results = set()
    for one in requests_of(runs[name]).iter_rows(named=True):
        if one["status"] == "rejected":
            continue
        told = explain_request(run, one["request_id"])
        tokens = dict.fromkeys(CAUSES.values(), 0)
        for part in told.stretches:
            tokens[CAUSES[part.result]] += part.tokens
            results.add(part.result)
            if part.result in ("hit", "evicted", "expired", "in flight"):
                assert part.put_by < one["request_id"]
        assert tokens == {cause: one[cause] for cause in tokens}
        own = sum(
            part.tokens
            for part in told.stretches
            if part.result == "hit" and told.sessions[part.put_by] == one["session_id"]
        )
        assert own == one["session_hit_tokens"]
    assert {"hit", "never seen"} < results
    expected = "expired" if "ttl" in name else "evicted"
    assert expected in results
    # A follow-up may come while its last turn is still being generated; the others have no clock.
    assert ("in flight" in results) == name.endswith(("held", "timed"))


def pick(run: Path, *conditions: pl.Expr) -> int:
    found = requests_of(run).filter(pl.col("status") == "completed", *conditions)
    return found["request_id"][-1]


def test_the_story_names_who_put_it_there_and_who_pushed_it_out(runs):
    run = runs["pool"]
    number = pick(run, pl.col("capacity_miss_tokens") > 4, pl.col("hit_tokens") > 4)
    told = explain_request(open_run(run), number)
    result = explain(run, number, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    row = told.row
    share = f"{row['hit_tokens'] / row['input_tokens']:.1%}"
    assert f"{row['hit_tokens']} of its {row['input_tokens']} prompt tokens ({share})" in text
    evicted = [part for part in told.stretches if part.result == "evicted"]
    assert any(f"request {part.gone_to} pushed out" in text or f"by request {part.gone_to} " in text
               for part in evicted)  # fmt: skip
    assert "before it arrived" in text
    assert f"an LRU cache of {told.sufficient_capacity_blocks} blocks of 4 tokens" in text
    assert f"this run's has {told.capacity_blocks}" in text
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_story_names_who_computes_what_is_in_flight(runs):
    number = pick(runs["radix-timed"], pl.col("in_flight_tokens") > 0)
    told = explain_request(open_run(runs["radix-timed"]), number)
    computing = next(part.put_by for part in told.stretches if part.result == "in flight")
    text = " ".join(explain(runs["radix-timed"], number).stdout.split())
    tokens = told.row["in_flight_tokens"]
    assert f"It missed {tokens} tokens that were being computed at that moment" in text
    assert f"request {computing} (" in text


def test_a_cold_request_has_a_short_story(runs):
    result = explain(runs["pool"], 0)
    assert "No cache of any capacity would have hit any of it." in result.stdout
    assert "had never been seen before" in result.stdout
    assert "evicted" not in result.stdout


def test_other_formats_have_a_row_a_stretch(runs):
    number = pick(runs["pool"], pl.col("capacity_miss_tokens") > 4)
    told = explain_request(open_run(runs["pool"]), number)
    result = explain(runs["pool"], number, "--format", "json")
    rows = json.loads(result.stdout)
    assert [one["start_tokens"] for one in rows] == [part.start_tokens for part in told.stretches]
    assert sum(one["tokens"] for one in rows) == told.row["input_tokens"]
    evicted = next(one for one in rows if one["result"] == "evicted")
    assert evicted["evicted_ago_ns"] >= 0
    assert evicted["put_ago_ns"] > evicted["evicted_ago_ns"]
    assert f"Request {number} " in result.stderr
    table = explain(runs["pool"], number, "--format", "csv").stdout
    assert next(csv.DictReader(io.StringIO(table))).keys() == rows[0].keys()


def test_prefixes_are_those_of_the_run(runs):
    number = pick(runs["pool"], pl.col("hit_tokens") > 4)
    rows = json.loads(explain(runs["pool"], number, "--format", "json").stdout)
    prefixes = pl.read_parquet(runs["pool"] / "prefixes.parquet")
    known = {one["prefix_id"]: one for one in prefixes.iter_rows(named=True)}
    first = rows[0]
    assert first["requests"] == known[first["prefix_id"]]["requests"] > 1
    assert first["sessions"] == known[first["prefix_id"]]["sessions"]


def test_a_long_path_is_folded_for_a_terminal_only(tmp_path):
    pieces, rows = [(1, 8)], []
    for number in range(40):
        pieces = [*pieces, (10 + number, 8)]
        rows.append(request(number, pieces, (500 + number, 1), 0))
    trace = write_trace(unit_trace_of(rows), tmp_path / "long.parquet")
    run = made(trace, tmp_path / "run", "--untimed", "--capacity", "inf")
    shown = explain(run, 39).stdout
    whole = json.loads(explain(run, 39, "--format", "json").stdout)
    assert len(whole) == 40  # what each turn added
    lines = [line for line in shown.splitlines() if " own " in line or "never seen" in line]
    assert len(lines) <= FIRST_LINES + LAST_LINES
    assert f"{40 - FIRST_LINES - LAST_LINES} are left out: --format csv has all" in " ".join(
        shown.split()
    )


def test_an_unknown_request_is_refused(runs):
    assert "no request 99 (the run has 0 to 39)" in refused(runs["pool"], 99)


def test_a_folder_without_a_run_is_refused(tmp_path):
    assert "not a run directory" in refused(tmp_path, 0)


def test_a_trace_that_moved_is_found_where_it_is_now(trace, tmp_path):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(trace.read_bytes())
    run = made(copy, tmp_path / "run", "--untimed", "--capacity", "24blocks")
    before = explain(run, 20).stdout
    copy.rename(tmp_path / "elsewhere.parquet")
    assert "its trace is not there" in refused(run, 20)
    assert explain(run, 20, "--trace", tmp_path / "elsewhere.parquet").stdout == before


def test_another_trace_is_refused(runs, tmp_path):
    other = write_trace(unit_trace_of(chat_rows()[:-1]), tmp_path / "other.parquet")
    assert "not the trace of" in refused(runs["pool"], 3, "--trace", other)


def test_a_trace_from_standard_input_has_to_be_named(trace, runs, tmp_path):
    run = made(trace, tmp_path / "run", *RUNS["pool"])
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["trace"]["path"] = "-"
    (run / "manifest.json").write_text(json.dumps(manifest))
    age(run, 3)
    assert "standard input" in refused(run, 3)
    assert explain(run, 3, "--trace", trace).stdout == explain(runs["pool"], 3).stdout


def test_a_run_that_is_not_reproduced_gets_no_story(trace, tmp_path):
    run = made(trace, tmp_path / "run", *RUNS["pool"])
    table = requests_of(run).with_columns(pl.col("hit_tokens") + 4)
    table.write_parquet(run / "requests.parquet")
    age(run, 3)
    assert "0 hit_tokens (the run has 4)" in refused(run, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--untimed", "--no-cache"], "caching was off"),
        (["--untimed", "--set", "cache.kind=session_store"], "got a session_store"),
    ],
)
def test_caches_without_a_story_are_refused(trace, tmp_path, options, message):
    arguments = ["run", trace, "-o", tmp_path / "run", *options]
    assert CliRunner().invoke(main, [*map(str, arguments)]).exit_code == 0
    assert message in refused(tmp_path / "run", 3)


def test_requests_that_were_never_looked_up_are_refused(trace, tmp_path):
    run = made(trace, tmp_path / "small", "--untimed", "--capacity", "8blocks")
    table = requests_of(run)
    rejected = table.filter(pl.col("status") == "rejected")["request_id"][0]
    assert "was rejected: it could not run even alone" in refused(run, rejected)
    run = made(trace, tmp_path / "short", "--capacity", "60blocks", "--set", "engine.horizon=100ms")
    assert "still waiting when the run stopped" in refused(run, 39)
    with pytest.raises(InputError):
        explain_request(open_run(run), 39)
