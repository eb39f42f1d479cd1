"""The trace doctor: each fault it knows is found where it is, and not where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from replay.trace.check import CHECKS, FAULT, NOTE, OK, WARNING, Finding, check_trace
from replay.trace.check_content import content_facts
from replay.trace.frame import Rejected, Trace, TraceMeta, canonical_trace
from replay.trace.sessions import infer_sessions
from replay.trace.tree import build_tree
from tests.naive.pool import make_unit_requests
from tests.random_traces import mixed, rows, trace_of, unit_rows, unit_trace_of
from tests.shared_data import CONVERSATION, conversation, needs

S = 10**9


def healthy(requests=2000, **columns) -> Trace:
    """Sessions of ten turns that grow, a start every few seconds, nothing odd."""
    rng = np.random.default_rng(0)
    turn = np.arange(requests) % 10
    session = np.arange(requests) // 10
    arrival = np.sort(rng.integers(0, requests * S, requests))
    frame = pl.DataFrame(
        {
            "arrival_ns": arrival,
            "input_tokens": 100 * (turn + 1) + rng.integers(0, 90, requests),
            "output_tokens": rng.integers(5, 50, requests),
            "session_id": session,
            "turn": turn,
        }
    )
    frame = frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    meta = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="none",
                     sessions="from the source")  # fmt: skip
    return canonical_trace(frame, meta)


def findings(trace: Trace, name: str, **more) -> list[Finding]:
    tree = build_tree(trace) if trace.has_content else None
    return [found for found in check_trace(trace, tree, **more) if found.check == name]


def verdicts(trace: Trace, name: str, **more) -> list[str]:
    return [found.verdict for found in findings(trace, name, **more)]


def test_a_healthy_trace_is_found_so_in_all_but_its_unknown_content():
    found = check_trace(healthy(), None)
    assert [line for line in found if line.verdict != OK] == [
        line for line in found if line.check in ("content", "causality")
    ]


def test_rejected_rows_are_counted_by_reason():
    rows_ = tuple(Rejected("t", at, f"length must be above 0 (got -{at})", "") for at in range(30))
    trace = replace(healthy(), rejected=(*rows_, Rejected("t", 99, "no response", "", False)))
    found = findings(trace, "rows")
    assert "31 of 2,031 rows" in found[0].found
    assert found[1].found == (
        "30: length must be above # (got #) (lines 0, 1, 2, 3, 4 and 25 more)"
    )
    assert found[0].verdict == FAULT
    assert verdicts(trace, "rows", rejected_allowed=0.02)[0] == NOTE


def test_failed_requests_alone_are_no_fault():
    trace = replace(healthy(), rejected=(Rejected("t", 9, "a failed request: 500", "", False),))
    assert verdicts(trace, "rows") == [NOTE, NOTE]


def test_few_requests_are_warned_of():
    assert WARNING in verdicts(healthy(100), "rows")


def test_a_clock_that_ticks_is_told_with_its_tick():
    arrival = np.arange(2000) // 8 * 3 * S
    found = findings(healthy(arrival_ns=arrival), "clock")
    assert [line.verdict for line in found] == [OK, WARNING]
    assert "ticks of 3s" in found[1].found
    assert "trace.arrival_jitter=3s" in found[1].advice


@pytest.mark.parametrize(("scale", "verdict"), [(1, OK), (10**5, WARNING), (10**-6, WARNING)])
def test_a_rate_that_no_service_has_points_at_the_unit(scale, verdict):
    arrival = (healthy().column("arrival_ns") * scale).astype(np.int64)
    assert verdicts(healthy(arrival_ns=arrival), "clock")[0] == verdict


def test_standing_clocks_and_silences_are_told():
    assert verdicts(healthy(arrival_ns=np.zeros(2000, np.int64)), "clock") == [WARNING]
    arrival = healthy().column("arrival_ns")
    arrival[1000:] += 3000 * S
    assert "nothing arrives" in findings(healthy(arrival_ns=arrival), "clock")[1].found


def test_prompts_over_the_context_and_cut_off_at_one_length_are_told():
    trace = healthy()
    assert verdicts(trace, "context", context_tokens=5000) == [OK]
    assert verdicts(trace, "context", context_tokens=700)[0] == FAULT
    cut = np.minimum(trace.column("input_tokens"), 800)
    found = findings(healthy(input_tokens=cut), "context")
    assert found[1].verdict == WARNING
    assert "exactly 800 tokens" in found[1].found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "natural",
    [
        lambda draw, n: draw.integers(1_000, 1_011, n),  # about as long, all of them
        lambda draw, n: draw.normal(1_000, 1, n).round().astype(np.int64),
        lambda draw, n: np.where(draw.random(n) < 0.9, 1_024, draw.integers(20, 200, n)),
        lambda draw, n: draw.lognormal(7, 1, n).astype(np.int64) + 1,
        lambda draw, n: draw.integers(1, 40, n),  # short: each length is common
    ],
)
def test_prompts_that_are_alike_by_nature_are_not_cut_off(natural, seed):
    lengths = natural(np.random.default_rng(seed), 2_000)
    assert verdicts(healthy(input_tokens=lengths), "context") == [OK]


@pytest.mark.parametrize("limit", [1_200, 2_000, 4_096])
def test_a_limit_is_told_however_many_prompts_it_cuts(limit):
    lengths = np.random.default_rng(limit).lognormal(7, 1, 2_000).astype(np.int64) + 1
    found = findings(healthy(input_tokens=np.minimum(lengths, limit)), "context")
    assert f"exactly {limit:,} tokens" in found[1].found


def test_lengths_that_never_vary_are_told():
    trace = healthy(output_tokens=np.full(2000, 128))
    assert "every output has 128 tokens" in findings(trace, "lengths")[0].found


def test_sessions_that_shrink_are_told_and_those_that_grow_are_not():
    parent = [None if at % 10 == 0 else at - 1 for at in range(2000)]
    arrival = np.arange(2000) * S
    growing = healthy(arrival_ns=arrival, parent_request_id=parent)
    assert verdicts(growing, "growth") == [OK]
    falling = growing.column("input_tokens")[::-1].copy()
    shrinking = healthy(arrival_ns=arrival, parent_request_id=parent, input_tokens=falling)
    assert verdicts(shrinking, "growth") == [WARNING]


def test_repeated_requests_and_common_starts_are_told():
    drawn = [{"arrival_ns": at // 2 * S, "block_ids": [0, 1 + at // 2], "input_tokens": 8,
              "output_tokens": 2, "session_id": None} for at in range(400)]  # fmt: skip
    trace = trace_of(drawn)
    assert "50.00% of requests repeat" in findings(trace, "repeats")[0].found
    found = findings(trace, "first block")[0]
    assert "100.0% of requests start with the same 4 tokens" in found.found


def test_recorded_hits_beyond_what_content_allows_are_told():
    drawn = [{"arrival_ns": at * S, "block_ids": [0, 1 + at], "input_tokens": 8,
              "output_tokens": 2, "session_id": None} for at in range(4)]  # fmt: skip
    trace = trace_of(drawn)
    for recorded, verdict in (([0, 4, 4, 0], [OK]), ([0, 8, 4, 4], [OK, WARNING])):
        column = pl.Series("recorded_hit_tokens", recorded)
        found = findings(trace.changed(trace.frame.with_columns(column)), "recorded hits")
        assert [line.verdict for line in found] == verdict


def test_recorded_lengths_far_from_the_counted_ones_are_told():
    inputs = healthy().column("input_tokens")
    near, far = (healthy(recorded_input_tokens=(inputs * x).astype(np.int64)) for x in (1.1, 2))
    assert verdicts(near, "recorded lengths") == [OK]
    assert verdicts(far, "recorded lengths") == [WARNING]


def test_recorded_lengths_of_responses_are_compared_too():
    outputs = healthy().column("output_tokens")
    trace = healthy(recorded_output_tokens=outputs * 2)
    (found,) = findings(trace, "recorded lengths")
    assert found.verdict == WARNING
    assert found.found == "responses have -50.0% tokens against what the source recorded"


@settings(max_examples=40)
@given(drawn=rows())
def test_any_trace_of_blocks_gets_a_verdict_a_line(drawn):
    trace = infer_sessions(trace_of(drawn))
    found = check_trace(trace, build_tree(trace))
    assert {line.verdict for line in found} <= {OK, NOTE, WARNING, FAULT}
    assert len(found) >= len(CHECKS) - 2


@settings(max_examples=60)
@given(drawn=mixed(unit_rows()))
def test_ideal_hits_count_responses_and_equal_a_longest_common_prefix(drawn):
    trace = unit_trace_of(drawn)
    facts = content_facts(trace, build_tree(trace))
    said: list[tuple] = []
    for request, hit in zip(make_unit_requests(drawn), facts.ideal_hit_tokens, strict=True):
        prompt = tuple(request.prompt)
        depth = max((_common(prompt, earlier) for earlier in said), default=0)
        assert hit == (0 if request.skips else depth)
        said.append(prompt + tuple(request.response))


def _common(one: tuple, other: tuple) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


@needs(CONVERSATION)
def test_the_conversation_trace_has_ticks_and_a_system_prompt_and_grows():
    trace, tree = conversation()
    found = check_trace(trace, tree)
    assert [(line.check, line.verdict) for line in found if line.verdict != OK] == [
        ("clock", WARNING), ("first block", NOTE), ("sessions", NOTE), ("causality", NOTE),
    ]  # fmt: skip


def test_times_that_are_assumed_are_no_clock():
    trace = healthy()
    note = "the source has no times; assumed: a conversation starts each second"
    assumed = trace.changed(trace.frame, trace.meta.noting(note))
    (found,) = findings(assumed, "clock")
    assert (found.verdict, found.found) == ("warning", note)
