"""The steps that a run keeps: a log of few bytes, and the table that it becomes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import replay
from replay.cli import main
from replay.engine import run
from replay.engine.simulate import simulate_timed
from replay.engine.steps import StepLog, step_rows
from replay.kernels import layout
from replay.kernels.layout import Engine
from replay.runs import rows as runs_rows
from replay.runs.conform import conformed
from replay.schema import STEPS, column_names


def steps_of(count: int, seed: int = 0) -> np.ndarray:
    """Return random steps with gaps of 0 to 9 ns between them."""
    draw = np.random.default_rng(seed)
    steps = draw.integers(0, 300, (count, layout.STEP_FIELDS))
    steps[:, layout.STEP_DURATION_NS] = draw.integers(1, 10**7, count)
    steps[:, layout.STEP_KIND] = draw.integers(0, 4, count)
    idle = draw.integers(0, 10, count)
    steps[:, layout.STEP_START_NS] = np.cumsum(idle + steps[:, layout.STEP_DURATION_NS])
    steps[:, layout.STEP_START_NS] -= steps[:, layout.STEP_DURATION_NS]
    return steps


@given(
    cuts=st.lists(st.integers(0, 60), max_size=5).map(sorted),
    start=st.integers(0, 65),
    stop=st.integers(0, 65),
)
def test_a_log_reads_as_the_steps_that_were_put_in(cuts, start, stop):
    steps, log = steps_of(60), StepLog()
    for low, high in zip([0, *cuts], [*cuts, 60], strict=True):
        log.put(steps[low:high])
    assert len(log) == 60
    assert np.array_equal(log[start:stop], steps[start:stop])


def test_a_log_takes_the_bytes_that_its_values_need():
    steps, log = steps_of(50_000), StepLog()
    steps[:, layout.STEP_FREE_BLOCKS] += 10**6
    log.put(steps)
    assert log.nbytes <= 45 * 50_000


def test_the_table_says_what_the_kernel_counted():
    steps = np.zeros((3, layout.STEP_FIELDS), np.int64)
    steps[:, layout.STEP_START_NS] = [10, 110, 300]
    steps[:, layout.STEP_DURATION_NS] = [100, 90, 40]
    steps[:, layout.STEP_AHEAD_NS] = [0, 100, 0]
    steps[:, layout.STEP_KIND] = [layout.OF_PROMPTS, layout.OF_BOTH, layout.OF_DECODES]
    steps[:, layout.STEP_PREFILL_REQUESTS] = [2, 1, 0]
    steps[:, layout.STEP_PREFILL_TOKENS] = [64, 16, 0]
    steps[:, layout.STEP_DECODE_TOKENS] = [0, 2, 3]
    steps[:, layout.STEP_DECODE_CONTEXT] = [0, 66, 85]
    steps[:, layout.STEP_SAMPLED] = [2, 3, 3]
    steps[:, layout.STEP_ADMITTED] = [2, 1, 0]
    steps[:, layout.STEP_RUNNING] = [2, 3, 3]
    steps[:, layout.STEP_WAITING] = [5, 4, 4]
    steps[:, layout.STEP_FREE_BLOCKS] = [90, 80, 79]
    steps[:, layout.STEP_PREEMPTED] = [0, 0, 1]
    steps[:, layout.STEP_EVICTED_BLOCKS] = [0, 7, 8]
    steps[:, layout.STEP_EVICTABLE_BLOCKS] = [60, 61, 62]
    steps[:, layout.STEP_RATIO_E9] = 700_000_000
    expected = {
        "start_ns": [10, 110, 300],
        "duration_ns": [100, 90, 40],
        "idle_ns": [10, 0, 100],
        "ahead_ns": [0, 100, 0],
        "kind": ["prefill", "mixed", "decode"],
        "prefill_requests": [2, 1, 0],
        "prefill_tokens": [64, 16, 0],
        "decode_tokens": [0, 2, 3],
        "decode_context": [0, 66, 85],
        "sampled": [2, 3, 3],
        "admitted": [2, 1, 0],
        "running": [2, 3, 3],
        "waiting": [5, 4, 4],
        "free_blocks": [90, 80, 79],
        "evictable_blocks": [60, 61, 62],
        "preempted": [0, 0, 1],
        "evicted_blocks": [0, 7, 8],
        "new_token_ratio_ppb": [700_000_000] * 3,
    }
    for has_ratio in (True, False):
        frame = table_of(steps, has_ratio=has_ratio)
        if not has_ratio:
            expected["new_token_ratio_ppb"] = [None] * 3
        assert frame.to_dict(as_series=False) == expected


def table_of(steps: np.ndarray | StepLog, *, has_ratio: bool = False) -> pl.DataFrame:
    return conformed("steps", step_rows(steps, has_ratio=has_ratio).frame())


@pytest.mark.parametrize("count", [0, 1, 8, 9, 40])
def test_stretches_of_the_table_are_parts_of_it(count, monkeypatch):
    steps = steps_of(count)
    whole = table_of(steps)
    log = StepLog()
    for start in range(0, count, 7):
        log.put(steps[start : start + 7])
    monkeypatch.setattr(runs_rows, "ROWS_AT_ONCE", 8)
    assert table_of(log).equals(whole)
    assert whole.columns == column_names(STEPS)
    assert whole.height == count


def test_untimed_runs_have_no_steps_to_keep():
    arguments = ["run", "traces/chat-small.jsonl", "--untimed", "--steps"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "engine.steps has no effect when engine.mode is untimed" in done.output


SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"


def with_steps(monkeypatch) -> None:
    """Let timed replays that keep steps come back with five of them, the others with none."""

    def replayed(plan, *arguments, **options):
        found = simulate_timed(plan, *arguments, **options)
        kept = steps_of(5) if plan.rules[layout.KEEP_STEPS] else None
        return dataclasses.replace(found, steps=kept)

    monkeypatch.setattr(run, "simulate_timed", replayed)


def test_a_run_is_the_same_but_for_the_table_that_it_keeps(tmp_path, monkeypatch):
    with_steps(monkeypatch)
    trace = replay.load_trace(SAMPLE)
    plain, kept = replay.run(trace), replay.run(trace, steps=True)
    assert {*kept.tables} - {*plain.tables} == {"steps"}
    for name in plain.tables:
        assert plain.frame(name).equals(kept.frame(name))
    assert kept.manifest["tables"]["steps"] == 5
    assert kept.manifest["result_digest"] != plain.manifest["result_digest"]
    kept.save(tmp_path / "run")
    again = replay.open_run(tmp_path / "run")
    assert again.frame("steps").equals(table_of(steps_of(5)))
    assert again.sql("SELECT sum(duration_ns) AS ns FROM steps").frame().item() == int(
        steps_of(5)[:, layout.STEP_DURATION_NS].sum()
    )
    assert plain.sql("SELECT count(*) FROM steps").frame().item() == 0


@pytest.mark.skipif("steps" not in Engine._fields, reason="the kernels keep no steps")
@pytest.mark.parametrize("async_scheduling", ["true", "false"])
def test_the_steps_of_a_run_add_up_to_what_its_requests_say(async_scheduling):
    step_ns, token_ns, context_ns = 5_000_000, 20_000, 30
    found = replay.run(
        SAMPLE,
        steps=True,
        set={
            "gpu.backend": "linear",
            "gpu.linear.step_ns": step_ns,
            "gpu.linear.token_ns": token_ns,
            "gpu.linear.context_ns": context_ns,
            "engine.async_scheduling": async_scheduling == "true",
        },
    )
    steps, requests = found.frame("steps"), found.frame("requests")
    assert (requests["status"] == "completed").all()
    tokens = steps["prefill_tokens"] + steps["decode_tokens"]
    spent = step_ns + token_ns * tokens.cast(pl.Int64) + context_ns * steps["decode_context"]
    assert steps["duration_ns"].equals(spent)
    assert steps["sampled"].sum() == requests["output_tokens"].sum()
    computed = requests["input_tokens"] - requests["hit_tokens"]
    assert steps["prefill_tokens"].sum() == computed.sum()  # nobody is preempted
    assert steps["admitted"].sum() == len(requests)
    ends = (steps["duration_ns"] + steps["idle_ns"]).cum_sum()
    assert (steps["start_ns"] + steps["duration_ns"]).equals(ends)
    assert ends[-1] == found.manifest["totals"]["end_ns"]
    assert (steps["idle_ns"] >= 0).all()
    assert (steps["ahead_ns"] > 0).any() == (async_scheduling == "true")
