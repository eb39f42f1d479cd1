"""The lines `replay run` prints say what the `summary` report says."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from replay.analysis.headline import headline
from replay.cli import main
from replay.engine.run import RunResult
from replay.runs.rows import rows_of
from replay.units import format_duration
from tests import run_fixture

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def printed(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_headline_agrees_with_the_summary_report(tmp_path):
    shown = printed("run", SAMPLE, "-o", tmp_path / "run")
    lines = {line[:18].strip(): line[18:] for line in shown.splitlines()}
    (row,) = json.loads(printed("report", tmp_path / "run", "summary", "--format", "json"))
    assert lines["requests"] == f"{row['completed']:,} completed"
    assert lines["token hit rate"].startswith(f"{row['token_hit_rate']:.1%}")
    for name in ("cold", "capacity_miss"):
        share = row[f"{name}_tokens"] / row["input_tokens"]
        assert f"{share:.1%}" in lines["missed"]
    for label, prefix in (("TTFT", "ttft"), ("... caching off", "no_cache_ttft")):
        for quantile in ("p50", "p90", "p99"):
            shown = format_duration(round(row[f"{prefix}_{quantile}_ms"] * 1e6))
            assert f"{quantile} {shown}" in lines[label]
    assert f"{row['evicted_blocks']:,} evictions" in lines["cache"]


def test_an_untimed_headline_has_no_latencies(tmp_path):
    shown = printed("run", SAMPLE, "--untimed", "-o", tmp_path / "run")
    assert "TTFT" not in shown
    assert "unlimited" in shown


def test_a_pair_that_never_ended_is_none():
    rows = run_fixture.request_rows()
    for row in rows[::2]:
        if row["status"] == "completed":
            row |= {"no_cache_status": "unfinished", "no_cache_ttft_ns": 10**15}
    pairs = [row for row in rows if row["status"] == row["no_cache_status"] == "completed"]
    tables = run_fixture.tables(requests=rows)
    made = {name: rows_of(frame) for name, frame in tables.items()}
    result = RunResult(made, run_fixture.manifest(content_known=True), None)
    lines = dict(headline(result))
    mean = sum(row["no_cache_ttft_ns"] for row in pairs) / len(pairs)
    assert f"mean {format_duration(round(mean))}" in lines["... caching off"]
