"""`replay tree`: the prefix tree of a trace or a run, as text, as data and as a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from tests.api_logs import logged, user
from tests.trace_samples import row

SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
OPENING = "You are a clerk of the harbour. Answer in a few words, and never promise a berth."
OTHER = "You are a reviewer of code. Name what is wrong, most important first, and say why."


def tree(*arguments, columns=80):
    told = CliRunner(env={"COLUMNS": str(columns)})
    return told.invoke(main, ["tree", *map(str, arguments)])


def objects(*arguments):
    done = tree(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments):
    done = tree(*arguments)
    assert done.exit_code == 2, done.output
    assert not done.stdout
    return done.stderr


@pytest.fixture
def log(tmp_path):
    """Nine logged calls that start with one of two system prompts."""
    rows = [
        logged(
            [{"role": "system", "content": OTHER if at % 3 == 0 else OPENING}, user(f"Ship {at}?")],
            at=at,
        )
        for at in range(9)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def run(log, tmp_path):
    folder = tmp_path / "run"
    done = CliRunner().invoke(
        main, ["run", str(log), "--untimed", "--block-size", "4", "-o", str(folder)]
    )
    assert done.exit_code == 0, done.output
    return folder


def test_the_tree_is_an_icicle_of_eighty_columns():
    lines = tree(SAMPLE, "--limit", 6).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == (
        "673 shared prefixes in 2,132 requests of chat-small.jsonl; of 16.6 M prompt"
    )
    where = next(line for line in lines if "512..7,168" in line)
    assert where.split() == ["█", "├", "512..7,168", "77", "51", "506", "k", "5.5%", "15", "12"]
    above = next(line for line in lines if " 0..512 " in line)
    assert above.split()[1:] == ["0..512", "1,254", "831", "642", "k", "7.0%", "201", "3"]
    assert above.count("█") > where.count("█")
    assert lines[-1].split() == ["all", "673", "9,138,176", "100.0%", "55.1%"]


def shown_in_docs():
    page = (Path(__file__).parents[1] / "docs" / "tree.md").read_text()
    return re.findall(r"^```\n\$ replay tree (.*?)\n(.*?)^```\n", page, re.DOTALL | re.MULTILINE)


def test_the_page_shows_what_is_printed():
    arguments, text = shown_in_docs()[0]
    assert tree(SAMPLE, *arguments.split()[1:]).stdout == text


@pytest.mark.slow
def test_the_page_shows_what_is_printed_of_a_run(tmp_path):
    arguments, text = shown_in_docs()[1]
    options = ["--gpu", "h100-sxm", "--model", "llama-3.1-8b", "-o", str(tmp_path / "demo")]
    assert CliRunner().invoke(main, ["run", str(SAMPLE), *options]).exit_code == 0
    assert tree(tmp_path / "demo", *arguments.split()[1:]).stdout == text


def test_hit_tokens_are_the_content_ceiling_of_describe():
    described = CliRunner().invoke(main, ["describe", str(SAMPLE), "--format", "json"])
    (facts,) = json.loads(described.stdout)
    found = objects(SAMPLE)
    whole = found["account"][-1]
    assert (whole["where"], whole["prefixes"]) == ("all", 673)
    assert whole["hit_tokens"] == facts["content_ceiling_tokens"]
    assert sum(part["hit_tokens"] for part in found["account"][:-1]) == whole["hit_tokens"]
    assert len(found["prefixes"]) == 20
    assert found["prefixes"][0]["requests"] == 1254


def test_prefixes_of_text_are_named_by_their_words(log):
    text = tree(log).stdout
    assert "“clerk of the harbour." in text
    assert "“reviewer of code. Name what" in text
    assert max(map(len, text.splitlines())) <= 80
    names = {row["requests"]: row["text"] for row in objects(log)["prefixes"]}
    assert names[9].endswith("system You are a")
    assert names[6].startswith("clerk of the harbour. Answer in a")
    assert names[6].endswith("user Ship")


def test_a_run_is_named_by_the_words_of_its_trace(run, log):
    text = tree(run).stdout
    assert "the run hit" in text
    assert "repeats" in text
    assert "“clerk of the harbour." in text
    moved = log.rename(log.with_name("moved.jsonl"))
    done = tree(run)
    assert "“" not in done.stdout
    assert "named by requests alone" in done.stderr
    assert "“clerk of the harbour." in tree(run, "--trace", moved).stdout
    assert "not the trace of" in refused(run, "--trace", SAMPLE)
    assert "no such trace file" in refused(run, "--trace", log)


def test_a_run_says_what_it_hit(tmp_path):
    folder = tmp_path / "run"
    settings = ["--untimed", "--capacity", "500blocks", "-o", str(folder)]
    assert CliRunner().invoke(main, ["run", str(SAMPLE), *settings]).exit_code == 0
    found = objects(folder)
    hit = pl.read_parquet(folder / "requests.parquet")["hit_tokens"].sum()
    assert found["account"][-1]["hit_tokens"] == hit
    assert any(row["repeats_hit_share"] < 0.5 for row in found["prefixes"])
    assert "evicted_blocks" in found["prefixes"][0]
    assert "no text to name" in refused(folder, "--trace", SAMPLE)


def test_depth_limit_and_least_requests_choose_the_rows():
    assert {row["level"] for row in objects(SAMPLE, "--depth", 1)["prefixes"]} == {1}
    assert len(objects(SAMPLE, "--limit", 3)["prefixes"]) == 3
    many = objects(SAMPLE, "--min-requests", 50, "--limit", 1000)["prefixes"]
    assert [row["requests"] for row in many] == [1254, 77, 558, 320]
    by_requests = objects(SAMPLE, "--by", "requests", "--limit", 4)["prefixes"]
    assert sorted(row["requests"] for row in by_requests) == [77, 320, 558, 1254]


def test_other_formats_hold_the_prefixes_and_say_where_the_account_is(tmp_path):
    done = tree(SAMPLE, "--format", "csv", "--limit", 2)
    assert done.stdout.splitlines()[0].startswith("prefix_id,parent_prefix_id,level,start_tokens")
    assert "`--format json` has account too" in done.stderr
    path = tmp_path / "tree.parquet"
    assert tree(SAMPLE, "-o", path).exit_code == 0
    assert pl.read_parquet(path)["last_block_id"].dtype == pl.UInt64
    text = tree(SAMPLE, "--format", "md", "--limit", 2).stdout
    assert "| prefix_id |" in text
    assert "| other shared prefixes |" in text


def test_what_shares_nothing_by_choice_shows_less(log):
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for at, one in enumerate(rows):
        one["tenant_id"] = f"t{at % 2}"
    log.write_text("\n".join(map(json.dumps, rows)))
    whole, apart = objects(log), objects(log, "--separate-by", "tenant")
    assert apart["account"][-1]["hit_tokens"] < whole["account"][-1]["hit_tokens"]
    assert sum(row["level"] == 1 for row in apart["prefixes"]) == 2


def test_prompts_without_anything_in_common_have_no_prefixes(tmp_path):
    path = tmp_path / "apart.jsonl"
    path.write_text("\n".join(row(hash_ids=[number]) for number in range(3)))
    done = tree(path)
    assert done.exit_code == 0, done.output
    assert "0 shared prefixes in 3 requests" in done.stdout
    assert objects(path)["prefixes"] == []


def test_a_plot_is_drawn_of_more_prefixes(tmp_path):
    pytest.importorskip("vl_convert")
    plot = tmp_path / "tree.json"
    done = tree(SAMPLE, "--plot", plot, "--format", "json")
    assert done.exit_code == 0, done.output
    drawn = json.loads(plot.read_text())["datasets"]["prefixes"]
    assert len(drawn) == len(json.loads(done.stdout)["prefixes"]) == 60
    assert (drawn[0]["from_request"], drawn[0]["to_request"]) == (0, 1254)


@pytest.mark.parametrize("mark", ["\\u001b[31m", "\\ud83d"])
def test_words_that_cannot_be_printed_are_escaped_and_drawn(tmp_path, mark):
    pytest.importorskip("vl_convert")
    words = f"{mark}ERROR " + "w " * 99
    path = tmp_path / "log.jsonl"
    path.write_text("".join(
        f'{{"created":170000000{at},"model":"m","messages":[{{"role":"user","content":"{words}{at}"}}],'
        '"response":"ok"}\n' for at in range(3)
    ))  # fmt: skip
    done = tree(path, "--plot", tmp_path / "tree.svg")
    assert done.exit_code == 0, done.output
    shown = mark.replace("\\u001b", "\\x1b")
    assert "\x1b" not in done.stdout
    assert f"{shown}ERROR" in tree(path, columns=200).stdout
    assert shown in (tmp_path / "tree.svg").read_text("utf-8")


def test_bad_input_ends_with_what_is_wrong_and_a_hint(tmp_path, run):
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.0,10,5\n")
    told = refused(lengths)
    assert "no content: reuse unknown" in told
    assert "Hint: `replay describe`" in told
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "Error: " in refused(empty)
    assert "unknown measure (got 'hits')" in refused(SAMPLE, "--by", "hits")
    assert "known: requests, saved, tokens" in refused(SAMPLE, "--by", "hits")
    assert "is no run" in refused(SAMPLE, "--trace", SAMPLE)
    assert "is a run, and --no-sessions is for traces" in refused(run, "--no-sessions")
    assert "is a run, and --separate-by is for traces" in refused(run, "--separate-by", "model")
    assert "no such trace file" in refused(tmp_path / "nothing.jsonl")
    assert "suffix tells no kind of plot" in refused(SAMPLE, "--plot", tmp_path / "x.txt")


def test_a_damaged_run_is_refused(run):
    table = run / "prefixes.parquet"
    table.write_bytes(table.read_bytes()[:-7])
    assert "prefixes.parquet" in refused(run)


def test_text_cannot_steer_a_terminal(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [logged([user(f"\x1b[2J the same words {at}")], at=at) for at in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    text = tree(path).stdout
    assert "the same words" in text
    assert "\x1b" not in text
