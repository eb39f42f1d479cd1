"""`replay convert`, `replay anonymize` and `replay check` as their users meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions
from tests.trace_samples import row

ROWS = [row(1000 * at, 5, 3, [0]) if at % 2 else row(1000 * at, 700, 3, [1, 2]) for at in range(60)]


@pytest.fixture
def trace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("trace.jsonl")
    path.write_text("".join(line + "\n" for line in ROWS))
    return path


def replay(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def lost(done) -> list[str]:
    lines = done.stdout.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("lost"))
    return [line[14:] for line in lines[start:] if line[:14].strip() in ("lost", "")]


def test_there_and_back_again_is_the_same_trace(trace):
    there = replay("convert", trace, "-o", "t.parquet")
    assert there.exit_code == 0, there.output
    assert lost(there) == ["nothing"]
    back = replay("convert", "t.parquet", "-o", "back.jsonl")
    assert lost(back) == ["nothing"]
    assert [json.loads(line) for line in Path("back.jsonl").read_text().splitlines()] == [
        json.loads(line) for line in ROWS
    ]


def test_what_a_format_cannot_hold_is_told(trace):
    replay("generate", "conversational", "--requests", 50, "-o", "g.parquet")
    done = replay("convert", "g.parquet", "-o", "g.jsonl", "--block-size", 64)
    told = lost(done)
    assert "arrivals have below a millisecond" in told[0]
    assert told[1] == "content finer than blocks of 64 tokens"
    assert told[2].startswith("columns session_id, turn")
    assert told[3] == "the block size: read it with --trace-block-size 64"
    assert load_trace("g.jsonl", options=ReadOptions(block_size=64)).requests == 50
    kept = replay("convert", "g.parquet", "-o", "b.parquet", "--block-size", 64)
    assert lost(kept)[0] == "content finer than blocks of 64 tokens"
    assert load_trace("b.parquet").meta.block_size == 64
    assert "segments" not in load_trace("b.parquet").frame.columns


def test_windows_samples_and_speed_go_together(trace):
    done = replay("convert", trace, "-o", "t.parquet", "--window", "10s..40s", "--sample", "50%",
                  "--by", "request", "--speedup", 2)  # fmt: skip
    assert done.exit_code == 0, done.output
    part = load_trace("t.parquet")
    assert 5 < part.requests < 25
    assert part.frame["arrival_ns"].max() < 15 * 10**9
    assert any("window from 10s to 40s: 30 of 60" in note for note in part.meta.notes)


def test_a_window_may_start_at_nought_and_end_with_the_trace(trace):
    for window, requests in (("0..10s", 10), ("..10s", 10), ("0s..10s", 10), ("50s..", 10)):
        done = replay("convert", trace, "-o", "t.parquet", "--window", window, "--force")
        assert done.exit_code == 0, done.output
        assert load_trace("t.parquet").requests == requests


def test_several_traces_need_merge_and_share_nothing(trace):
    refused = replay("convert", trace, trace, "-o", "two.parquet")
    assert (refused.exit_code, "--merge" in refused.stderr) == (2, True)
    done = replay("convert", trace, trace, "--merge", "-o", "two.parquet")
    assert done.exit_code == 0, done.output
    both = load_trace("two.parquet")
    assert both.requests == 120
    assert both.frame["block_ids"].explode().n_unique() == 6


def test_rejected_rows_are_kept_beside_and_no_more_than_allowed(trace):
    trace.write_text("\n".join([*ROWS, "{broken", row(99_000, 0)]))
    refused = replay("convert", trace, "-o", "t.parquet", "--max-rejected", "1%")
    assert refused.exit_code == 2
    assert "--max-rejected allows 1.00%" in refused.stderr
    assert not Path("t.parquet").exists()
    done = replay("convert", trace, "-o", "t.parquet", "--max-rejected", "5%")
    assert done.exit_code == 0, done.output
    aside = [json.loads(line) for line in Path("t.parquet.rejected.jsonl").read_text().splitlines()]
    assert [(one["line"], one["text"][:7]) for one in aside] == [(61, "{broken"), (62, '{"times')]
    assert "2 rows, in t.parquet.rejected.jsonl" in done.stdout
    replay("convert", "t.parquet", "-o", "t2.parquet")
    assert not Path("t2.parquet.rejected.jsonl").exists()


def test_a_run_keeps_the_rows_it_could_not_use(trace):
    trace.write_text("\n".join([*ROWS, "{broken"]))
    done = replay("run", trace, "--untimed", "--max-rejected", "5%", "-o", "run")
    assert done.exit_code == 0, done.output
    assert json.loads(Path("run/rejected.jsonl").read_text())["line"] == 61
    assert "1 rows of the trace were put aside" in done.stderr
    again = replay(
        "run", "trace.jsonl", "--untimed", "--max-rejected", "5%", "-o", "run", "--force"
    )
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(("arguments", "what"), [
    (["--window", "10m"], "not a window"),
    (["--window", ".."], "not a window"),
    (["--speedup", "1e-300"], "leaves arrivals out of range"),
    (["--window", "5s..1s"], "must end after"),
    (["--window", "1h..2h"], "no requests left"),
    (["--sample", "0"], "must be a share above 0"),
    (["--sample", "x"], "is no share"),
    (["--sample", "0.5", "--by", "user"], "unknown way of sampling"),
    (["--speedup", "0"], "must be a positive number"),
    (["--format-out", "csv"], "unknown trace format"),
    (["--format-in", "mooncak"], "unknown trace format"),
    (
        ["--format-in", "mooncake", "--columns", "x.yaml"],
        "means nothing to a trace in mooncake format",
    ),
    (["--tokenizer", "x.json"], "means nothing to a trace in mooncake format"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_and_leaves_nothing(trace, arguments, what):
    done = replay("convert", trace, "-o", "t.parquet", *arguments)
    assert (done.exit_code, what in done.stderr) == (2, True), done.output
    assert [path.name for path in Path().iterdir()] == ["trace.jsonl"]


def test_targets_are_looked_at_before_the_work(trace):
    Path("there.parquet").touch()
    Path("folder").mkdir()
    told = {
        "there.parquet": "is there already",
        "folder": "is a directory",
        "no/where.parquet": "no such folder",
        "t.xyz": "no trace format is known",
    }
    for output, what in told.items():
        done = replay("convert", "absent.jsonl", "-o", output)
        assert (done.exit_code, what in done.stderr) == (2, True), done.stderr


def test_anonymize_says_what_stayed_and_what_went(trace):
    done = replay("anonymize", trace, "-o", "a.jsonl", "--round", "2s", "--jitter", "1s")
    assert done.exit_code == 0, done.output
    assert "moved at random by up to 1s and cut to 2s" in done.stdout
    assert "drawn and forgotten" in done.stdout
    read = load_trace("a.jsonl")
    assert read.frame["input_tokens"].to_list() == [700, 5] * 30
    assert (read.frame["arrival_ns"] % (2 * 10**9)).sum() == 0


def test_one_key_file_gives_one_set_of_ids(trace):
    Path("key").write_bytes(bytes(32))
    for name in ("a.jsonl", "b.jsonl"):
        assert replay("anonymize", trace, "-o", name, "--key-file", "key").exit_code == 0
    assert Path("a.jsonl").read_text() == Path("b.jsonl").read_text()
    assert replay("anonymize", trace, "-o", "c.jsonl", "--key-file", "none").exit_code == 2
    Path("key").write_bytes(b"short")
    refused = replay("anonymize", trace, "-o", "c.jsonl", "--key-file", "key")
    assert (refused.exit_code, "16 bytes" in refused.stderr) == (2, True)


def test_check_ends_with_three_where_strict_and_unsound(trace):
    loose, strict = replay("check", trace), replay("check", trace, "--strict")
    assert (loose.exit_code, strict.exit_code) == (0, 3)
    assert "only 60 requests" in loose.stdout
    table = json.loads(replay("check", trace, "--format", "json").stdout)
    assert {"check", "verdict", "found", "advice"} == set(table[0])


def test_check_counts_faulty_rows_that_reading_would_refuse(trace):
    trace.write_text("\n".join([*ROWS, "{broken", row(99_000, 0)]))
    done = replay("check", trace, "--format", "csv")
    assert done.exit_code == 0, done.output
    assert "fault,2 of 62 rows are not used (3.23%)" in done.stdout
    trace.write_text("{broken\n")
    assert replay("check", trace).exit_code == 2
