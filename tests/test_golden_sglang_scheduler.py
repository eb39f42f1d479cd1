"""Every request and every step of SGLang 0.5.23's own scheduler, column by column.

The slow twin is held against the recordings of the short traces; the kernel against all of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.naive.sglang_scheduler import replay
from tests.recorded_schedules import name_of
from tests.sglang_recordings import (
    FILES,
    FOLDER,
    naive_requests,
    naive_rules,
    recording,
)
from tests.sglang_tables import replayed
from tests.shared_data import CONVERSATION, needs

pytestmark = [needs(FOLDER), needs(CONVERSATION)]
SHORT = [path for path in FILES if path.name.split("_")[1] in ("hand", "tiny", "tinyu", "long")]


def test_every_recording_is_there():
    assert len(FILES) >= 72


@pytest.mark.parametrize("path", SHORT, ids=name_of)
def test_the_slow_twin_takes_the_same_decisions(path):
    made = recording(path)
    requests = naive_requests(made)
    steps = replay(naive_rules(made.settings), requests)
    for column in made.steps.columns:
        assert [step[column] for step in steps] == made.steps[column].to_list(), column
    for column in made.requests.columns:
        assert [getattr(one, column) for one in requests] == made.requests[column].to_list(), column


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_kernel_takes_the_same_decisions(path):
    made = recording(path)
    requests, steps = replayed(made)
    for column in made.steps.columns:
        assert np.array_equal(steps[column], made.steps[column].to_numpy()), column
    for column in set(made.requests.columns) - {"idx", "priority"}:
        assert np.array_equal(requests[column], made.requests[column].to_numpy()), column
