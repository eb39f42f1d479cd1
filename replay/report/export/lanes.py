"""Requests that overlap in time, put into lanes in which none do."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np


def lanes(spans: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return the lane of each span, int64[N], counted from 0.

    Spans are starts and ends in order of their starts. Each gets the lowest lane that is free at
    its start, so there are as many lanes as spans that overlap at most. Worked example:

        spans   (0, 5) (2, 3) (3, 9) (4, 6)
        lanes   0      1      1      2
    """
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    made: list[int] = []
    for start, end in spans:
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (end, lane))
        made.append(lane)
    return np.array(made, np.int64)
