"""Requests that no client could have sent yet: they arrive before the turn they contain has ended.

Arrivals are a trace's own. Where the simulated engine is slower than the one that served it, or
`trace.speedup` presses them together, a follow-up comes while its last turn is still waiting or
generating. Its hits are then too few and its queue is too long: a closed loop would have it wait.
"""

from __future__ import annotations

import numpy as np

from replay.trace.follow_ups import NONE


def premature_ns(
    turn: np.ndarray, arrival_ns: np.ndarray, end_ns: np.ndarray, rejected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (ns before the end of the turn it contains that each request came, known), both [R].

    `turn` int64[R] names that turn, -1 for none; `end_ns` int64[R] is when that turn had ended, or
    where the run stopped in it, and `rejected` bool[R] whether it was. Nothing is known of requests
    that contain none, or one that was rejected. int64 and bool; 0 where the turn had ended.
    """
    known = (turn != NONE) & ~rejected
    return np.where(known, np.maximum(end_ns - arrival_ns, 0), 0), known
