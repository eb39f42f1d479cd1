"""Every request and every step of vLLM 0.33's own scheduler, column by column.

The slow twin is held against the recordings of the short traces; the kernel against all of them.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from replay.engine.costing import make_costing
from replay.engine.plan import make_plan
from replay.engine.simulate import Simulation, simulate_timed
from replay.kernels import layout
from tests.naive.scheduler import Scheduler
from tests.recorded_schedules import Recording, name_of
from tests.shared_data import CONVERSATION, needs
from tests.vllm_recordings import (
    FILES,
    FOLDER,
    naive_requests,
    naive_rules,
    recording,
    scenario,
    trace_of,
)

pytestmark = [needs(FOLDER), needs(CONVERSATION)]
SHORT = [path for path in FILES if path.name.split("_")[1] in ("hand", "tiny", "tinyu")]
STATUS = {"ok": layout.COMPLETED, "rejected": layout.REJECTED}
STEPS = {
    "duration_ns": layout.STEP_DURATION_NS,
    "ahead_ns": layout.STEP_AHEAD_NS,
    "prefill_requests": layout.STEP_PREFILL_REQUESTS,
    "prefill_tokens": layout.STEP_PREFILL_TOKENS,
    "decode_tokens": layout.STEP_DECODE_TOKENS,
    "decode_context": layout.STEP_DECODE_CONTEXT,
    "sampled": layout.STEP_SAMPLED,
    "admitted": layout.STEP_ADMITTED,
    "running": layout.STEP_RUNNING,
    "waiting": layout.STEP_WAITING,
    "free_blocks": layout.STEP_FREE_BLOCKS,
    "preempted": layout.STEP_PREEMPTED,
    "evicted": layout.STEP_EVICTED_BLOCKS,
}
REQUESTS = {
    "first_scheduled_ns": layout.SCHEDULED_NS,
    "last_admitted_ns": layout.LAST_SCHEDULED_NS,
    "first_token_ns": layout.FIRST_TOKEN_NS,
    "finish_ns": layout.DONE_NS,
}


def test_every_recording_is_there():
    assert len(FILES) >= 69


def replayed(made: Recording) -> Simulation:
    """Return the replay of a recording's trace by its settings."""
    trace, tree = trace_of(made)
    given = scenario(made.settings)
    plan = make_plan(
        trace, tree, given, block_size=made.settings["bs"], capacity_blocks=made.blocks
    )
    return simulate_timed(plan, make_costing(given, None).cost)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_kernel_takes_the_same_decisions(path):
    made = recording(path)
    simulation = replayed(made)
    assert simulation.steps is not None
    steps, outcome = simulation.steps[:], simulation.outcome
    assert len(steps) == len(made.steps)
    for column in set(made.steps.columns) - {"idle_ns"}:
        assert np.array_equal(steps[:, STEPS[column]], made.steps[column].to_numpy()), column
    ended = steps[:, layout.STEP_START_NS] + steps[:, layout.STEP_DURATION_NS]
    idle = steps[:, layout.STEP_START_NS] - np.concatenate([[0], ended[:-1]])
    assert np.array_equal(idle, made.steps["idle_ns"].to_numpy())
    rejected = (made.requests["status"] == "rejected").to_numpy()
    for column, field in REQUESTS.items():
        got = np.where(rejected, -1, outcome[:, field])
        assert np.array_equal(got, made.requests[column].to_numpy()), column
    for column, field in (
        ("cached_first", layout.HIT),
        ("cached_last", layout.LAST_HIT),
        ("preemptions", layout.PREEMPTIONS),
    ):
        expected = made.requests[column].to_numpy()
        assert np.array_equal(outcome[:, field], np.maximum(expected, 0)), column
    status = made.requests["status"].replace_strict(STATUS, return_dtype=pl.Int64)
    assert np.array_equal(outcome[:, layout.STATUS], status.to_numpy())


@pytest.mark.parametrize("path", SHORT, ids=name_of)
def test_the_slow_twin_takes_the_same_decisions(path):
    made = recording(path)
    requests = naive_requests(made)
    cost = make_costing(scenario(made.settings), None).cost.exact

    def step_ns(prompts, contexts, sampled) -> int:
        tokens = len(contexts) + sum(chunk for chunk, _ in prompts)
        return int(cost[0] + cost[1] * tokens + cost[2] * sum(contexts))

    engine = Scheduler(requests, naive_rules(made), step_ns)
    engine.run()
    end_ns = 0
    for step, expected in zip(engine.steps[:-1], made.steps.rows(named=True), strict=True):
        got = {
            "idle_ns": step.start_ns - end_ns,
            "ahead_ns": step.start_ns - step.scheduled_ns,
            "duration_ns": step.took_ns,
            "prefill_requests": len(step.prompts),
            "prefill_tokens": step.prompt_tokens,
            "decode_tokens": len(step.decodes),
            "decode_context": sum(keys for _, keys in step.decodes),
            "sampled": len(step.sampling),
            "admitted": step.admitted,
            "running": step.running,
            "waiting": step.waiting,
            "free_blocks": step.free,
            "preempted": step.preempted,
            "evicted": step.evicted,
        }
        assert {name: got[name] for name in expected} == expected
        end_ns = step.end_ns
    for request, row in zip(requests, made.requests.rows(named=True), strict=True):
        if row["status"] == "rejected":
            assert request.status == "rejected"
            continue
        got = {
            "first_scheduled_ns": request.scheduled_ns,
            "last_admitted_ns": request.admitted_ns,
            "first_token_ns": request.first_token_ns,
            "finish_ns": request.done_ns,
            "cached_first": request.cached_first,
            "cached_last": request.cached_last,
            "preemptions": request.preemptions,
        }
        assert {name: row[name] for name in got} == got
