"""Load tests of real servers: rebuilt as they were sent, and met by their replays where at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from benchmarks.real_servers import page
from benchmarks.real_servers.compared import compare, itl_of_recorded_lengths, of_rows
from benchmarks.real_servers.rebuilt import (
    prompt_lengths,
    scenario_of,
    sent_to_4090,
    stage_of,
    trace_of,
)
from benchmarks.real_servers.recorded import QUANTILES, read_run
from benchmarks.real_servers.replayed import PARTS, Times, replay_run
from tests.shared_data import SHARED

MEASURED = SHARED / "e2e"
PROMPTS = SHARED / "traces" / "sharegpt_tokens"


def recorded(least: float, most: float) -> dict[str, float]:
    """Return even quantiles from `least` to `most`."""
    values = {name: least + share * (most - least) for name, share in QUANTILES.items()}
    return {"mean": (least + most) / 2, **values}


def answers(requests: int) -> dict[str, Any]:
    return {
        "requests": requests,
        "failures": 0,
        "prompt_tokens": recorded(40, 100),
        "output_tokens": recorded(0, 11),
        "ttft_ms": recorded(10, 30),
        "e2e_ms": recorded(100, 140),
        "throughput_requests_per_s": 4.0,
    }


def given(**changes: Any) -> dict[str, Any]:
    """Return a run of two groups of three prompts: eight requests, then nine at twice the rate."""
    workload = {
        "groups": 2,
        "prompts_per_group": 3,
        "system_prompt_tokens": 32,
        "question_tokens": 30,
        "asked_output_tokens": 11,
        "arrivals": "constant rate, prompts taken in turn",
        "stages": [{"rate_per_s": 4, "duration_s": 2}, {"rate_per_s": 8, "duration_s": 1}],
    }
    run = {
        "run": "tiny",
        "gpu": "h100-sxm",
        "model": "llama-2-7b",
        "tensor_parallel": 2,
        "engine": "vllm",
        "max_batched_tokens": 512,
        "max_sequences": 16,
        "max_model_len": 4096,
        "workload": workload | changes.pop("workload", {}),
        "all": answers(17),
        "stages": [answers(8), answers(9)],
    }
    return run | changes


def test_requests_come_at_the_rate_of_their_stage_with_prompts_in_turn():
    run = read_run(given())
    trace = trace_of(run)
    frame = trace.frame
    assert trace.requests == 17
    expected = [i * 250_000_000 for i in range(8)]
    expected += [2 * 10**9 + i * 125_000_000 for i in range(9)]
    assert frame["arrival_ns"].to_list() == expected
    assert stage_of(run).tolist() == [0] * 8 + [1] * 9
    assert frame["output_tokens"].to_list() == [11] * 17  # whatever the client counted
    groups, prompts = zip(*frame["segments"].to_list(), strict=True)
    assert list(groups) == [0, 0, 0, 1, 1, 1] * 2 + [0, 0, 0, 1, 1]
    assert list(prompts) == [2 + i % 6 for i in range(17)]
    assert frame["response_segment"].to_list() == [8 + i for i in range(17)]
    sizes = np.array(frame["segment_tokens"].to_list())
    assert (sizes[:, 0] == 32).all()
    assert sizes.sum(axis=1).tolist() == frame["input_tokens"].to_list()
    # one length at the middle of each of six shares of 40 to 100
    assert sorted(frame["input_tokens"][:6].to_list()) == [45, 55, 65, 75, 85, 95]


def test_failed_requests_were_sent_too():
    failed = answers(7) | {"failures": 2}
    run = read_run(given(stages=[failed, answers(9)]))
    assert trace_of(run).requests == 18
    assert stage_of(run).tolist() == [0] * 9 + [1] * 9


def test_a_prompt_has_more_than_its_system_prompt_and_room_for_its_answer():
    run = read_run(given(workload={"system_prompt_tokens": 70}))
    assert sorted(prompt_lengths(run).tolist()) == [71, 71, 71, 75, 85, 95]
    with pytest.raises(ValueError, match="tiny: 106 tokens in a context of 105"):
        prompt_lengths(read_run(given(max_model_len=105)))


def test_the_scenario_is_the_server_as_it_was_started():
    scenario = scenario_of(read_run(given()), overhead="none")
    assert (scenario.gpu.name, scenario.gpu.tensor_parallel) == ("h100-sxm", 2)
    assert (scenario.model.name, scenario.cache.block_size) == ("llama-2-7b", 16)
    engine = scenario.engine
    assert (engine.name, engine.max_batched_tokens, engine.max_sequences) == ("vllm", 512, 16)
    assert (engine.overhead, engine.baseline) == ("none", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization": "fp8"}, r"tiny: missing nothing, not known \['quantization'\]"),
        ({"workload": {"turns": 3}}, r"workload: missing nothing, not known \['turns'\]"),
        ({"workload": {"arrivals": "poisson"}}, "arrivals are 'poisson', known: 'constant rate"),
        ({"stages": [answers(8)]}, "2 stages sent, 1 answered"),
        ({"all": {"requests": 3}}, r"all: missing \['e2e_ms', "),
        (
            {"workload": {"stages": [{"rate_per_s": 4}] * 2}},
            r"stage 0: missing \['duration_s'\]",
        ),
    ],
)
def test_a_run_that_says_more_or_less_than_is_known_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        read_run(given(**changes))


def test_measures_are_means_and_quantiles_of_what_was_recorded():
    run = read_run(given())
    times = Times(*(np.array([float(at), at + 2.0]) for at in (20, 9, 118)))
    found = compare(run, run.all, times)
    assert (found["ttft p50"].measured, found["ttft p50"].predicted) == (20, 21)
    assert found["ttft p99"].measured == pytest.approx(29.8)
    assert found["itl"].measured == pytest.approx((120 - 20) / 10)
    assert found["itl"].predicted == 10
    assert found["e2e mean"].error == pytest.approx(119 / 120 - 1)
    assert itl_of_recorded_lengths(run.all) == pytest.approx((120 - 20) / (5.5 - 1))
    rows = pl.DataFrame({"ttft_ms": [20.0, 22.0], "e2e_ms": [120.0, 122.0], "output_toks": [11, 6]})
    assert of_rows(rows, times)["itl"].measured == pytest.approx((10 + 20) / 2)


def test_what_each_term_contributes_adds_up_to_the_ttft():
    replayed = replay_run(read_run(given()))
    assert list(replayed.parts_ms) == list(PARTS)
    assert sum(replayed.parts_ms.values()) == pytest.approx(
        np.median(replayed.times.ttft_ms), rel=0.02
    )
    assert replayed.parts_ms["server, beside"] > 0
    # all but the first six find their prompts, and these the system prompt of their group
    trace = trace_of(read_run(given()))
    tokens = trace.column("input_tokens")
    again = (tokens[6:] - 1) // 16 * 16
    assert replayed.token_hit_rate == pytest.approx((again.sum() + 4 * 32) / tokens.sum())


def test_prompts_and_measurements_must_be_of_the_same_requests(tmp_path: Path):
    prompts = tmp_path / "prompts.jsonl"
    row = '{"input_toks": 2, "output_toks": %d, "arrival_time_ns": %d, "input_tok_ids": [1, 2]}\n'
    prompts.write_text(row % (3, 0) + row % (4, 9))
    measured = tmp_path / "measured.csv"
    head = "run,request_id,arrival_s,input_toks,output_toks,queue_ms,ttft_ms,e2e_ms\n"
    measured.write_text(head + "x,0,0.0,2,3,0,1,2\nx,1,0.5,2,4,0,1,2\n")
    trace, rows = sent_to_4090(prompts, measured)
    assert trace.frame["arrival_ns"].to_list() == [0, 500_000_000]
    assert rows.height == 2
    measured.write_text(head + "x,0,0.0,2,3,0,1,2\nx,1,0.5,2,5,0,1,2\n")
    with pytest.raises(ValueError, match=r"output_toks are not those of prompts\.jsonl"):
        sent_to_4090(prompts, measured)


def test_the_page_keeps_what_stands_around_the_tables(tmp_path: Path, capsys):
    (tmp_path / "accuracy.md").write_text(f"before {page.BEGIN} old {page.END} after")
    page.tell(tmp_path / "shared" / "gpu", tmp_path)
    assert "left out" in capsys.readouterr().err
    assert (tmp_path / "accuracy.md").read_text() == f"before {page.BEGIN} old {page.END} after"
