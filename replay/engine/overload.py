"""Whether the queue of a timed run diverges: then its means describe the trace's length, not TTFT.

A stable system's queue comes and goes with the bursts. An overloaded one's grows as long as
requests keep coming: each fifth of the arrivals waits longer than the one before it, and the last
fifth waits longer than its service takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from replay.engine.plan import Plan
from replay.engine.simulate import Simulation
from replay.engine.totals import exact_sum
from replay.kernels import layout

FIFTHS = 5
LAST_FIFTHS = 3  # that must each wait longer than the one before
MIN_REQUESTS = 50  # fewer say nothing about a trend
MIN_GROWTH = 0.01  # seconds of queue per second of arrivals


@dataclass(frozen=True, slots=True)
class Overload:
    """The verdict and what it rests on.

    `queue_growth` is seconds of queue per second of arrivals over the last three fifths of the
    requests, `backlog_requests` how many were waiting when the last one arrived, `drain_ns` how
    long it then took until the last of them was scheduled.
    """

    overloaded: bool
    queue_growth: float
    backlog_requests: int
    drain_ns: int


def judge_overload(plan: Plan, simulation: Simulation) -> Overload:
    """Return whether a timed run's queue diverges; requests still waiting at its end count too."""
    outcome = simulation.outcome
    arrived = plan.table[:, layout.ARRIVAL_NS] <= simulation.end_ns
    wanted = arrived & (outcome[:, layout.STATUS] != layout.REJECTED)
    arrival = plan.table[wanted, layout.ARRIVAL_NS]
    scheduled = outcome[wanted, layout.SCHEDULED_NS]
    done = outcome[wanted, layout.DONE_NS]
    never = (outcome[wanted, layout.STATUS] == layout.UNFINISHED) & (scheduled == 0)
    scheduled = np.where(never, simulation.end_ns + 1, scheduled)  # later than now, at the least
    if len(arrival) == 0:
        return Overload(overloaded=False, queue_growth=0.0, backlog_requests=0, drain_ns=0)
    last_arrival = min(int(arrival[-1]), simulation.end_ns)
    waiting = (scheduled > last_arrival) & (arrival < last_arrival)
    queue = scheduled - arrival
    growth, rising = _trend(arrival, queue)
    finished = done > 0
    service = int((done - scheduled)[finished].mean()) if finished.any() else 0
    long = int(queue[-max(len(queue) // FIFTHS, 1) :].mean()) > service
    return Overload(
        overloaded=bool(len(arrival) >= MIN_REQUESTS and rising and long and growth >= MIN_GROWTH),
        queue_growth=round(growth, 6),
        backlog_requests=int(waiting.sum()),
        drain_ns=max(int(scheduled.max()) - last_arrival, 0),
    )


def _trend(arrival_ns: np.ndarray, queue_ns: np.ndarray) -> tuple[float, bool]:
    """Return (least-squares slope, whether each fifth waits longer) over the last three fifths."""
    start = len(arrival_ns) * (FIFTHS - LAST_FIFTHS) // FIFTHS
    fifths = np.array_split(queue_ns[start:], LAST_FIFTHS)
    means = [exact_sum(fifth) // max(len(fifth), 1) for fifth in fifths]
    rising = all(one < other for one, other in pairwise(means))
    seconds = (arrival_ns[start:] - arrival_ns[start]) / 1e9
    spread = seconds - seconds.mean()
    variance = float(spread @ spread)
    if variance == 0:
        return 0.0, rising
    return float(spread @ (queue_ns[start:] / 1e9)) / variance, rising
