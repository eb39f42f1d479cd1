"""Content assumed from sessions and lengths, against the same assumption in plain lists."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.config.scenario import Scenario
from replay.engine.run import execute, prepare_trace
from replay.errors import InputError
from replay.trace.continuation import continue_sessions
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.tree import build_tree
from tests.random_traces import unit_trace_of
from tests.test_tree import UNIT_ROW

ROWS = st.lists(
    st.tuples(st.sampled_from([None, 4, 5, 9]), st.integers(1, 30), st.integers(1, 5)),
    min_size=1,
    max_size=15,
)


def lengths_only(rows: list[tuple]) -> Trace:
    frame = pl.DataFrame(
        {
            "arrival_ns": list(range(len(rows))),
            "session_id": pl.Series([session for session, _, _ in rows], dtype=pl.Int64),
            "input_tokens": [tokens for _, tokens, _ in rows],
            "output_tokens": [tokens for _, _, tokens in rows],
        }
    )
    meta = TraceMeta(
        path="t", name="t", sha256="", format="t", block_size=None, content="lengths only"
    )
    return canonical_trace(frame, meta)


@given(rows=ROWS)
def test_a_longer_prompt_of_a_session_contains_all_that_was_said(rows):
    trace = continue_sessions(lengths_only(rows))
    segments, tokens = trace.frame["segments"].to_list(), trace.frame["segment_tokens"].to_list()
    said: dict[int, tuple[int, list]] = {}
    for at, (session, prompt, response) in enumerate(rows):
        pieces = list(zip(segments[at], tokens[at], strict=True))
        assert sum(size for _, size in pieces) == prompt
        before, spoken = said.get(session, (0, []))
        if session is not None and spoken and prompt > before:
            assert pieces[:-1] == spoken
        else:
            assert len(pieces) == 1
        answer = (trace.frame["response_segment"][at], response)
        said[session] = (prompt + response, [*pieces, answer])
    fresh = [ids[-1] for ids in segments] + trace.frame["response_segment"].to_list()
    assert len(set(fresh)) == 2 * len(rows)
    build_tree(trace)


def test_a_run_says_what_it_assumed():
    trace = lengths_only([(0, 10, 5), (0, 30, 5)])
    scenario = Scenario(trace={"content": "continue_sessions"}, engine={"mode": "untimed"})
    result = execute(prepare_trace(trace, scenario))
    assert "contains it (1 of 2 requests continue)" in str(result.manifest["trace"]["notes"])
    assert "assumed" in result.manifest["trace"]["content"]


def test_nothing_is_assumed_of_content_that_is_known():
    with pytest.raises(InputError, match="nothing is to be assumed"):
        continue_sessions(unit_trace_of([UNIT_ROW]))


def test_without_sessions_there_is_nothing_to_continue():
    trace = lengths_only([(0, 10, 5)])
    with pytest.raises(InputError, match="no sessions"):
        continue_sessions(Trace(trace.frame.drop("session_id"), trace.meta))
