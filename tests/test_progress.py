"""Long work: progress is told, failures come through, Ctrl-C stops it."""

import numpy as np
import pytest

from replay.errors import Interrupted
from replay.progress import watch


def counter():
    return np.zeros(2, dtype=np.int64)


def test_the_result_comes_back():
    assert watch(lambda: 42, counter(), total=1, title="x") == 42


def test_the_hook_is_told_how_far_it_is():
    told, done = [], counter()

    def work():
        done[0] = 7

    watch(work, done, total=9, title="Replaying", hook=lambda *seen: told.append(seen))
    assert told[-1] == ("Replaying", 7, 9)


def test_a_failure_is_raised_in_the_callers_thread():
    def work():
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        watch(work, counter(), total=1, title="x")


def test_ctrl_c_stops_the_work_and_waits_for_it():
    shared, stopped = counter(), []

    def work():
        while not shared[1]:
            pass
        stopped.append(True)

    def press(title, done, total):
        raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        watch(work, shared, total=1, title="x", hook=press)
    assert stopped == [True]
