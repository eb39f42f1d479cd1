"""What is said of requests that SGLang's scheduler does not serve."""

from __future__ import annotations

from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.refusals import refusals
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests.test_sglang_twins import BUSY, replayed, trace_of

ASKED = {"arrival_ns": 0, "priority": 0}
LONG = ASKED | {"tokens": [0] * 94, "response_tokens": [1]}
LONG_ANSWER = ASKED | {"tokens": [0], "response_tokens": [1] * 92}
NEVER = ASKED | {"tokens": [0] * 41, "response_tokens": [1] * 51}
FITS = ASKED | {"tokens": [2] * 8, "response_tokens": [1] * 8}
ROOM = BUSY | {"cap": 100, "overlap": False}


def told(rows: list[dict], settings: dict) -> tuple[list[int], list[str]]:
    """Return how each request ended and what is said of those that were rejected."""
    plan, simulation = replayed(rows, settings)
    status = simulation.outcome[:, layout.STATUS].tolist()
    return status, refusals(plan, simulation.outcome)


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


def test_nothing_is_said_where_all_are_served_or_another_scheduler_serves():
    assert told([FITS], ROOM) == ([layout.COMPLETED], [])
    trace = trace_of([LONG])
    plan = make_plan(trace, build_tree(trace), Scenario(), block_size=4, capacity_blocks=1)
    outcome = replayed([LONG], ROOM)[1].outcome
    assert refusals(plan, outcome) == []
