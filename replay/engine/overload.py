"""Whether a timed run is overloaded: then its means say how long the trace is, not how fast it ran.

A stable system's queue comes and goes with the bursts, and is short beside the run. There are two
ways to be overloaded, and either is enough:

- *growing*: requests come faster than they are served for as long as they keep coming. Each of the
  last three fifths of the arrivals waits longer than the one before it, the queue grows by at least
  MIN_GROWTH, and the last fifth waits longer than its service takes.
- *saturated*: more came at once than was served, as in traces whose sessions all start together;
  the queue may shrink all the while. At least WAITING_SHARE of the requests wait longer than
  service takes on average, and the mean wait is longer than that service and at least
  LONG_WAIT_SHARE of the time: that of the middle nine tenths of requests, from when one in twenty
  had arrived until all but one in twenty were done. A session that goes on alone for hours makes
  no calm run of it.

In a stable queue the mean wait is a few services however long it runs: one server of constant
service at 95 % load waits 9.5 of them, in a run of thousands.
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
WAITING_SHARE = 0.5  # of requests, that wait longer than service takes
LONG_WAIT_SHARE = 0.1  # of the time, that a request waits in the mean
EDGE_SHARE = 0.05  # of requests at either end of the run that do not count for the time


@dataclass(frozen=True, slots=True)
class Overload:
    """The verdict and what it rests on.

    `overloaded` is `growing` or `saturated`. `queue_growth` is seconds of queue per second of
    arrivals over the last three fifths of the requests, `backlog_requests` how many were waiting
    when the last one arrived, `drain_ns` how long it then took until the last of them was
    scheduled. `waiting_share` of the requests waited longer than `service_mean_ns`, and
    `queue_mean_ns` is the mean wait.
    """

    overloaded: bool
    queue_growth: float
    backlog_requests: int
    drain_ns: int
    growing: bool = False
    saturated: bool = False
    waiting_share: float = 0.0
    queue_mean_ns: int = 0
    service_mean_ns: int = 0


def judge_overload(plan: Plan, simulation: Simulation) -> Overload:
    """Return whether a timed run is overloaded; requests still waiting at its end count too."""
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
    # Where nothing was served to its end, nobody knows how long service takes.
    enough = len(arrival) >= MIN_REQUESTS and bool(finished.any())
    growing = bool(enough and rising and long and growth >= MIN_GROWTH)
    start = int(arrival[int(EDGE_SHARE * len(arrival))])
    ends = np.sort(np.where(finished, done, simulation.end_ns))
    whole = int(ends[-1 - int(EDGE_SHARE * len(ends))]) - start
    share, mean = float((queue > service).mean()), int(queue.mean())
    saturated = bool(
        enough and share >= WAITING_SHARE and mean > service and mean >= LONG_WAIT_SHARE * whole
    )
    return Overload(
        overloaded=growing or saturated,
        queue_growth=round(growth, 6),
        backlog_requests=int(waiting.sum()),
        drain_ns=max(int(scheduled.max()) - last_arrival, 0),
        growing=growing,
        saturated=saturated,
        waiting_share=round(share, 6),
        queue_mean_ns=mean,
        service_mean_ns=service,
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
