"""Requests that no client could have sent: the turn a prompt contains, and whether it had ended."""

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

from replay.cli import main
from replay.config.scenario import Scenario
from replay.engine.causality import premature_ns
from replay.engine.run import execute, prepare_trace
from replay.report.notices import warnings
from replay.trace.check import check_trace
from replay.trace.follow_ups import contained_turns
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.tree import build_tree
from tests import random_traces
from tests.naive.frames import turns
from tests.shared_data import SHARED
from tests.test_ceilings import tokens_of

CASES = SHARED / "cases" / "traffic"
TIMED = Scenario.model_validate({"cache": {"capacity": "1000blocks"}})


@settings(deadline=None, max_examples=300)
@given(random_traces.unit_rows())
def test_the_turn_a_prompt_contains_is_found_token_by_token(drawn):
    trace = random_traces.unit_trace_of(drawn)
    tree = build_tree(trace)
    if tree.has_responses:
        found = turns([tokens_of(row) for row in drawn], [row["session_id"] for row in drawn])
        expected = [-1 if turn is None else turn for turn in found]
        assert contained_turns(trace, tree).tolist() == expected


def test_links_tell_the_turn_where_responses_are_unknown():
    drawn = [
        {
            "arrival_ns": at,
            "block_ids": [at],
            "input_tokens": 4,
            "output_tokens": 2,
            "session_id": 0,
        }
        for at in range(5)
    ]
    trace = random_traces.trace_of(drawn)
    assert contained_turns(trace, build_tree(trace)).tolist() == [-1, 0, 1, 2, 3]
    linked = trace.changed(
        trace.frame.with_columns(
            parent_request_id=pl.Series([None, 0, 0, 2, 2], dtype=pl.Int64),
            kind=pl.Series(["start", "continue", "retry", "branch", "regenerate"]),
        )
    )
    assert contained_turns(linked, None).tolist() == [-1, 0, -1, 2, -1]
    inferred = linked.changed(
        linked.frame.drop("kind").with_columns(
            link=pl.Series(["root", "continuation", "branch", "sibling_end", "continuation"])
        )
    )
    assert contained_turns(inferred, None).tolist() == [-1, 0, -1, -1, 2]


def test_a_request_is_premature_by_what_is_left_of_the_turn_it_contains():
    early, known = premature_ns(
        np.array([-1, 0, 1, 2]),
        np.array([0, 5, 9, 9]),
        np.array([8, 8, 9, 0]),
        np.array([False, False, False, True]),
    )
    assert early.tolist() == [0, 3, 0, 0]
    assert known.tolist() == [False, True, True, False]


@settings(deadline=None, max_examples=60)
@given(random_traces.unit_rows(last_arrival_ns=100_000_000))
def test_premature_requests_of_a_run_are_those_of_its_own_times(drawn):
    trace = random_traces.unit_trace_of(drawn)
    result = execute(prepare_trace(trace, TIMED))
    rows = result.tables["requests"].to_dicts()
    early = 0
    for row in rows:
        turn = row["contained_request_id"]
        if turn is None:
            assert row["premature_ns"] is None
            continue
        end = rows[turn]["arrival_ns"] + rows[turn]["e2e_ns"]
        assert row["premature_ns"] == max(end - row["arrival_ns"], 0)
        early += end > row["arrival_ns"]
    assert result.manifest["causality"]["premature_follow_ups"] == early
    assert bool(early) == any(line.startswith("CAUSALITY") for line in warnings(result.manifest))


def run_of(path, **scenario) -> tuple[pl.DataFrame, dict]:
    result = execute(prepare_trace(load_trace(path), Scenario.model_validate(scenario)))
    return result.tables["requests"], result.manifest


TURN = (
    '{"input_toks": 40, "output_toks": 300, "arrival_time_ns": %d, "input_tok_ids": %s, '
    '"output_tok_ids": %s}\n'
)


def two_turns(folder, gap_ns: int):
    """A conversation of two turns that many nanoseconds apart."""
    prompt, reply = list(range(40)), list(range(100, 400))
    second = [*prompt, *reply, *range(500, 516)]
    text = TURN % (0, prompt, reply)
    text += TURN.replace("40,", f"{len(second)},", 1) % (gap_ns, second, reply)
    path = folder / "turns.tokens.jsonl"
    path.write_text(text)
    return path


def test_tokens_of_a_response_in_the_making_are_in_flight_and_not_cold(tmp_path):
    requests, manifest = run_of(two_turns(tmp_path, 1_000_000))
    second = requests.row(1, named=True)
    assert second["contained_request_id"] == 0
    assert second["premature_ns"] > 0
    assert second["hit_tokens"] == 32  # two blocks of the first prompt
    assert second["hit_tokens"] + second["in_flight_tokens"] == (40 + 299) // 16 * 16
    assert second["cold_tokens"] == 16 + 1
    assert manifest["causality"] == {"follow_ups": 1, "premature_follow_ups": 1}


def test_a_follow_up_that_waits_for_its_turn_is_not_premature_until_it_is_sped_up(tmp_path):
    path = two_turns(tmp_path, 60_000_000_000)
    requests, manifest = run_of(path)
    assert manifest["causality"] == {"follow_ups": 1, "premature_follow_ups": 0}
    assert requests["premature_ns"].to_list() == [None, 0]
    assert requests["in_flight_tokens"].sum() == 0
    _, manifest = run_of(path, trace={"speedup": 1000.0})
    assert manifest["causality"] == {"follow_ups": 1, "premature_follow_ups": 1}


def found_by_check(trace: Trace) -> list[tuple[str, str]]:
    findings = check_trace(trace, build_tree(trace))
    return [(one.verdict, one.found) for one in findings if one.check == "causality"]


def test_check_holds_follow_ups_against_the_times_the_source_recorded(tmp_path):
    trace = load_trace(two_turns(tmp_path, 5_000))
    ((verdict, found),) = found_by_check(trace)
    assert verdict == "note"
    assert found.startswith("1 follow-ups contain an earlier turn")
    for recorded, expected in ((4_000, "ok"), (6_000, "warning")):
        times = trace.frame.with_columns(recorded_e2e_ns=pl.lit(recorded, pl.Int64))
        ((verdict, found),) = found_by_check(trace.changed(times))
        assert verdict == expected
        assert f"{int(recorded > 5_000)} of 1 follow-ups" in found


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not beside the checkout")
def test_the_case_is_told_in_run_and_report(tmp_path):
    invoke = CliRunner().invoke
    ran = invoke(main, ["run", str(CASES / "causal.tokens.jsonl"), "-o", str(tmp_path / "run")])
    assert "5 of 5 follow-ups arrive before the turn they contain has ended" in ran.stdout
    assert "13.2% in flight" in ran.stdout
    told = invoke(main, ["report", str(tmp_path / "run"), "summary"])
    assert "5 of 5 follow-ups" in told.stdout
    control = invoke(
        main, ["run", str(CASES / "causal_control.tokens.jsonl"), "-o", str(tmp_path / "control")]
    )
    assert "CAUSALITY" not in control.stdout
    assert "57.4%" in control.stdout
