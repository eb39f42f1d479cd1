"""What a server adds to requests beside the clock, and behind whom a first token goes out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from replay.engine.overhead import EngineOverhead, answers_beside


def test_overhead_is_rounded_to_the_nearest_nanosecond():
    overhead = EngineOverhead(0.4, 0.3, 0.0)
    assert overhead.of(np.array([1, 2, 4]), np.zeros(3, int)).tolist() == [1, 1, 2]
    assert EngineOverhead(1, 0, 0.5).of(np.array([9, 9]), np.array([2, 5])).tolist() == [2, 4]


def test_a_first_token_goes_out_behind_those_of_all_who_decode():
    first = np.array([10, 20, 20, 30, 0])
    done = np.array([20, 25, 0, 30, 0])  # the third never ends, the last was never admitted
    assert answers_beside(first, done).tolist() == [1, 3, 3, 2, 0]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 5), st.booleans()), min_size=1, max_size=30
    )
)
def test_answers_are_those_counted_one_by_one(spans):
    first = np.array([at for at, _, _ in spans])
    done = np.array([at + took if at and ends else 0 for at, took, ends in spans])
    rows = list(zip(first, done, strict=True))
    expected = [
        sum(0 < begun <= at and (not ended or ended >= at) for begun, ended in rows) if at else 0
        for at, _ in rows
    ]
    assert answers_beside(first, done).tolist() == expected
