"""Windows and samples: what is left, how it is counted, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, UnknownNameError
from replay.trace.select import sample, window
from replay.trace.sessions import infer_sessions
from tests.random_traces import rows, trace_of
from tests.trace_samples import mooncake_text
from tests.trace_samples import trace_of as mooncake

CHAT = infer_sessions(
    mooncake(
        mooncake_text(
            [(1, 2, 3, 4), (9, 9, 9, 9), tuple(range(1, 9)), tuple(range(1, 13))],
            times=[0, 10, 20, 30],
        )
    )
)
MS = 1_000_000


def test_a_window_starts_from_zero_and_counts_anew():
    part = window(CHAT, 10 * MS, 31 * MS)
    assert part.frame["request_id"].to_list() == [0, 1, 2]
    assert part.frame["arrival_ns"].to_list() == [0, 10 * MS, 20 * MS]
    assert part.frame["parent_request_id"].to_list() == [None, None, 1]
    assert part.frame["turn"].to_list() == [0, 0, 1]
    assert "3 of 4 requests" in part.meta.notes[-1]


def test_a_window_holds_its_start_and_not_its_end():
    assert window(CHAT, 10 * MS, 30 * MS).requests == 2


@pytest.mark.parametrize(("start", "stop", "what"), [
    (5, 5, "must end after"), (-1, 5, "must end after"), (40 * MS, 50 * MS, "no requests left"),
])  # fmt: skip
def test_a_window_of_nothing_is_refused(start, stop, what):
    with pytest.raises(InputError, match=what):
        window(CHAT, start, stop)


@settings(max_examples=60)
@given(drawn=rows(), share=st.floats(0.1, 1), seed=st.integers(0, 9))
def test_a_sample_by_session_holds_sessions_whole_or_not_at_all(drawn, share, seed):
    trace = trace_of(drawn)
    try:
        part = sample(trace, share, by="session", seed=seed)
    except InputError:  # none of its few sessions was drawn
        return
    sizes = {key: n for (key,), n in _sizes(trace).items() if key is not None}
    for (key,), count in _sizes(part).items():
        if key is not None:
            assert count == sizes[key]


def _sizes(trace):
    return {key: group.height for key, group in trace.frame.group_by("session_id")}


def test_a_smaller_sample_is_part_of_a_larger_one():
    drawn = [{"arrival_ns": at, "block_ids": [at], "input_tokens": 4, "output_tokens": 2,
              "session_id": at % 50} for at in range(200)]  # fmt: skip
    trace = trace_of(drawn)
    ids = [set(sample(trace, share, by="session", seed=4).frame["block_ids"].explode())
           for share in (0.2, 0.6)]  # fmt: skip
    assert ids[0] < ids[1]
    assert len(ids[0]) % 4 == 0


def test_a_sample_by_request_takes_about_its_share():
    drawn = [{"arrival_ns": at, "block_ids": [at], "input_tokens": 4, "output_tokens": 2,
              "session_id": None} for at in range(2000)]  # fmt: skip
    part = sample(trace_of(drawn), 0.25, by="request", seed=1)
    assert abs(part.requests - 500) < 80
    assert (np.diff(part.column("arrival_ns")) > 0).all()


def test_what_cannot_be_sampled_is_refused():
    lengths = mooncake(mooncake_text([(1, 2)]))
    with pytest.raises(InputError, match="no sessions to sample by"):
        sample(lengths, 0.5, by="session", seed=0)
    with pytest.raises(UnknownNameError, match="way of sampling"):
        sample(lengths, 0.5, by="user", seed=0)
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(InputError, match="must be a share"):
            sample(lengths, share, by="request", seed=0)
