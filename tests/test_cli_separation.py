"""One trace of several models, salts and tenants has the same hits, whatever the command."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest
from click.testing import CliRunner

from replay.cli import main
from tests.shared_data import SHARED, needs

CASES = SHARED / "cases" / "traffic"
TOKENIZER = CASES / "char_tokenizer.json"
TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen " * 4
CHOICES = {(): 12, ("--separate-by", "none"): 15, ("--separate-by", "tenant"): 12,
           ("--separate-by", "model,cache_salt,tenant"): 0}  # fmt: skip


def invoke(*arguments: object):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def log(tmp_path):
    """Sixteen requests of one prompt: two models, two salts, four tenants, one each."""
    path = tmp_path / "log.jsonl"
    rows = [
        {
            "timestamp": 1735689600.0 + place,
            "tenant_id": tenant,
            "request": {
                "model": model,
                "messages": [{"role": "user", "content": TEXT}],
                "extra_body": {"cache_salt": salt},
            },
            "response": {"choices": [{"message": {"role": "assistant", "content": "ok"}}]},
        }
        for place, (tenant, model, salt) in enumerate(product(range(4), "ab", ["s", None]))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice[1] if choice else "auto")
def test_every_command_counts_the_same_hits(log, tmp_path, choice):
    shares = CHOICES[choice]
    run = tmp_path / "run"
    done = invoke("run", log, *choice, "--untimed", "-o", run)
    query = "SELECT sum(hit_tokens) AS hit, max(hit_tokens) AS whole FROM requests"
    found = json.loads(invoke("query", run, query, "--format", "json").stdout)[0]
    assert found["hit"] == shares * found["whole"]
    for command in ("curve", "policies"):
        asked = invoke(command, log, *choice, "--capacity", "inf", "--format", "json")
        assert {row["hit_tokens"] for row in json.loads(asked.stdout)} == {found["hit"]}
    described = json.loads(invoke("describe", log, *choice, "--format", "json").stdout)[0]
    assert described["ideal_token_hit_rate"] == pytest.approx(shares / 16)
    checked = json.loads(invoke("check", log, *choice, "--format", "json").stdout)
    rates = [row["found"] for row in checked if "unbounded" in row["found"]]
    assert float(re.search(r"([\d.]+)%", rates[0])[1]) == pytest.approx(100 * shares / 16, abs=0.05)
    gained = invoke("gain", log, *choice, "--untimed", "--format", "json")
    assert (json.loads(gained.stdout)[-1]["token_hit_rate"] > 0) == (shares > 0)
    note = described["notes"].split("; ")[-1]
    assert any(row["found"] == note for row in checked)
    for one in (done, asked, gained):
        assert f"Note: {note}" in " ".join(one.stderr.split())


def test_copies_of_a_trace_hit_what_it_does(log, tmp_path):
    choice = ("--separate-by", "model,tenant")
    query = "SELECT request_id, hit_tokens FROM requests ORDER BY 1"

    def hits(trace, *options) -> str:
        run = tmp_path / f"run-{trace.stem}"
        invoke("run", trace, *options, "--untimed", "--no-responses", "--block-size", 16, "-o", run)
        return invoke("query", run, query, "--format", "csv").stdout

    wanted = hits(log, *choice)
    parquet, blocks, shown = (tmp_path / name for name in ("p.parquet", "b.jsonl", "a.jsonl"))
    invoke("convert", log, *choice, "-o", parquet)
    invoke("convert", log, *choice, "-o", blocks, "--format-out", "mooncake", "--block-size", 16)
    invoke("anonymize", log, *choice, "-o", shown, "--block-size", 16)
    assert hits(parquet) == wanted
    assert hits(blocks, "--trace-block-size", 16) == wanted
    assert hits(shown, "--trace-block-size", 16) == wanted


def test_a_scenario_keeps_what_was_said_and_explains_by_it(log, tmp_path):
    run = tmp_path / "run"
    invoke("run", log, "--untimed", "-o", run)
    assert "separate_by: auto" in (run / "scenario.yaml").read_text()
    assert "were put there by request 0" in " ".join(invoke("explain", run, 4).output.split())
    invoke("run", log, "--untimed", "--separate-by", "none", "-o", run, "--force")
    assert "separate_by: none" in (run / "scenario.yaml").read_text()
    assert "were put there by request 0" in " ".join(invoke("explain", run, 1).output.split())


@pytest.mark.parametrize("option", [
    ["--separate-by", "tennant"], ["--set", "trace.separate_by=[tennant]"],
])  # fmt: skip
def test_a_column_that_is_not_there_is_refused(log, option):
    result = CliRunner().invoke(main, ["run", str(log), "--dry-run", *option])
    assert result.exit_code == 2
    assert "unknown column of the trace (got 'tennant')" in result.output.replace("\n", " ")


def test_a_value_of_another_kind_is_refused_with_what_is_known(log):
    result = CliRunner().invoke(main, ["run", str(log), "--set", "trace.separate_by=[3]"])
    assert result.exit_code == 2
    assert "must be auto, none, or names of columns, such as [model, tenant]" in result.output


def test_a_request_that_never_looks_is_not_explained(tmp_path):
    path, run = tmp_path / "log.jsonl", tmp_path / "run"
    request = {"messages": [{"role": "user", "content": TEXT}], "prompt_logprobs": 1}
    answer = {"choices": [{"message": {"role": "assistant", "content": "ok"}}]}
    rows = [{"timestamp": 1735689600.0 + at, "request": request, "response": answer}
            for at in range(3)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "% not looked up" in invoke("run", path, "--untimed", "-o", run).output
    result = CliRunner().invoke(main, ["explain", str(run), "1"])
    assert result.exit_code == 2
    assert "skips the look-up" in result.output


@needs(CASES)
@pytest.mark.parametrize(("case", "rate"), [("two_models", 0.492), ("prompt_logprobs", 0.0)])
def test_cases_made_after_failure_reports(tmp_path, case, rate):
    run = tmp_path / "run"
    trace = CASES / f"{case}.jsonl"
    invoke("run", trace, "--tokenizer", TOKENIZER, "--untimed", "-o", run)
    query = "SELECT sum(hit_tokens) / sum(input_tokens) AS rate FROM requests"
    found = json.loads(invoke("query", run, query, "--format", "json").stdout)
    assert found[0]["rate"] == pytest.approx(rate, abs=0.0005)


@needs(CASES)
def test_columns_that_collide_with_those_of_a_run_are_all_there(tmp_path):
    run = tmp_path / "run"
    trace = CASES / "column_collision.jsonl"
    invoke("run", trace, "--tokenizer", TOKENIZER, "--untimed", "-o", run)
    found = json.loads(invoke("query", run, "FROM requests LIMIT 1", "--format", "json").stdout)[0]
    wanted = {"source_status": "success", "source_hit_tokens": 7, "source_ttft_ns": 5,
              "source_request_id": "r0", "source_turn": 9, "source_kind": "zz",
              "source_queue_ns": "x", "source_input_blocks": 3, "status": "completed"}  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
