"""A trace of lengths alone: no command says anything of hits, rather than that there are none."""

import json

import pytest
from click.testing import CliRunner

from replay.cli import main

UNKNOWN = "no content: reuse unknown"
CSV = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{at:02}.0000000,{400 + at},{10 + at % 3}\n" for at in range(60)
)
ABOUT_HITS = ("hit", "cold", "miss", "in_flight", "granularity_tokens", "disabled", "saving")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("lengths") / "trace.csv"
    path.write_text(CSV)
    return path


def printed(*arguments) -> str:
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run(trace):
    """A timed run, and what it printed."""
    folder = trace.parent / "run"
    return folder, printed("run", trace, "-o", folder)


def test_a_run_says_so_and_prints_no_rate_and_no_saving(run):
    _, text = run
    assert text.startswith(UNKNOWN)
    assert "token hit rate    no content: reuse unknown" in text
    assert "TTFT" in text
    assert "cold" not in text
    assert "saved" not in text
    assert "%" not in text


def test_reports_say_so_and_leave_hits_unknown(run):
    folder, _ = run
    assert printed("report", folder).startswith(UNKNOWN)
    text = printed("report", folder, "--all")
    assert text.startswith(UNKNOWN)
    assert "hit_rate says nothing: no content: reuse unknown" in text
    (row,) = json.loads(printed("report", folder, "summary", "--format", "json"))
    about = {name: value for name, value in row.items() if any(part in name for part in ABOUT_HITS)}
    assert len(about) > 15
    assert set(about.values()) == {None}
    assert row["completed"] == 60
    assert row["ttft_mean_ms"] > 0
    assert row["paired_requests"] == 0
    for name in ("hit_rate", "prefix_caching", "ttft"):
        rows = json.loads(printed("report", folder, name, "--format", "json"))
        assert not [key for one in rows for key in one if key.endswith("rate") and one[key]]


def test_the_table_of_requests_has_no_hits(run):
    folder, _ = run
    sql = "SELECT count(hit_tokens) AS hits, count(cold_tokens) AS cold, count(ttft_ns) AS ttft"
    (row,) = json.loads(printed("query", folder, f"{sql} FROM requests", "--format", "json"))
    assert row == {"hits": 0, "cold": 0, "ttft": 60}


def test_describe_and_check_say_so(trace):
    assert UNKNOWN in printed("describe", trace)
    assert UNKNOWN in printed("check", trace)


@pytest.mark.parametrize(
    "command",
    [
        ("curve",),
        ("curve", "--capacity", "5blocks", "--policy", "arc,lru"),
        ("policies", "--capacity", "100blocks", "--policy", "lru,fifo"),
        ("gain", "--untimed"),
        ("gain",),
    ],
)
def test_questions_to_the_cache_say_so(command, trace):
    name, *options = command
    text = printed(name, trace, *options)
    assert text.startswith(UNKNOWN)
    assert "0.0%" not in text
    rows = json.loads(printed(name, trace, *options, "--format", "json"))
    known = {key for row in rows for key, value in row.items() if value is not None}
    assert not {key for key in known if "hit" in key or "share" in key or "evicted" in key}
