"""What is said of requests that no scheduler serves."""

from __future__ import annotations

from replay.config.engine_section import EngineSection
from replay.config.scenario import Scenario
from replay.engine.costing import make_costing
from replay.engine.plan import make_plan
from replay.engine.refusals import refusals
from replay.engine.simulate import simulate_timed
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests.recorded_schedules import LINEAR
from tests.test_sglang_twins import BUSY, replayed, trace_of

ASKED = {"arrival_ns": 0, "priority": 0}
LONG = ASKED | {"tokens": [0] * 94, "response_tokens": [1]}
LONG_ANSWER = ASKED | {"tokens": [0], "response_tokens": [1] * 92}
NEVER = ASKED | {"tokens": [0] * 41, "response_tokens": [1] * 51}
FITS = ASKED | {"tokens": [2] * 8, "response_tokens": [1] * 8}
SGLANG = EngineSection(scheduler="sglang")
ROOM = BUSY | {"cap": 100, "overlap": False}


def told(rows: list[dict], settings: dict) -> tuple[list[int], list[str]]:
    """Return how each request ended and what is said of those that were rejected."""
    plan, simulation = replayed(rows, settings)
    status = simulation.outcome[:, layout.STATUS].tolist()
    return status, refusals(plan, simulation.outcome, SGLANG)


def test_a_prompt_that_leaves_nothing_and_a_response_that_would_be_cut_are_told_apart():
    status, (refused, cut) = told([LONG, LONG_ANSWER, FITS], ROOM)
    assert status == [layout.REJECTED, layout.REJECTED, layout.COMPLETED]
    assert refused.startswith("1 rejected: each has a prompt that leaves at most 6 of the cache's")
    assert cut.startswith("1 rejected: each does not fit in the cache's 100 tokens with its whole")


def test_who_would_wait_in_vain_is_rejected_and_nobody_waits_behind_it():
    status, said = told([NEVER, FITS], ROOM | {"nocache": True, "eos": True})
    assert status == [layout.REJECTED, layout.COMPLETED]
    assert said == [
        "1 rejected: each would wait in vain in sglang, and everybody behind it, or ran alone and "
        "found no page for its next token"
    ]


def test_nothing_is_said_where_all_are_served():
    assert told([FITS], ROOM) == ([layout.COMPLETED], [])


def test_vllm_tells_what_is_longer_than_a_step_from_what_is_larger_than_the_cache():
    trace = trace_of([LONG, LONG_ANSWER, FITS])
    limits = {"max_batched_tokens": 94, "max_sequences": 1, "chunked_prefill": False}
    scenario = Scenario(engine=limits, gpu={"backend": "linear", "linear": LINEAR})
    plan = make_plan(trace, build_tree(trace), scenario, block_size=4, capacity_blocks=22)
    cost = make_costing(scenario, None).cost
    said = refusals(plan, simulate_timed(plan, cost).outcome, scenario.engine)
    assert said == [
        "1 rejected: each has more than the 94 tokens of a step in prompt and response together, "
        "and prompts are not chunked (engine.chunked_prefill is off)",
        "1 rejected: each could not run even alone in the cache's 22 blocks of 4",
    ]
