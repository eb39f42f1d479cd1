"""The requests of a log that stay once faulty ones are put aside, in order of time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from replay.trace.problems import ProblemList


class _Dated(Protocol):
    @property
    def line(self) -> int: ...
    @property
    def arrival_ns(self) -> int: ...


Request = TypeVar("Request", bound=_Dated)


def kept_requests(
    requests: Sequence[Request], problems: ProblemList, *, read: int
) -> tuple[list[Request], int]:
    """Return the requests to keep by arrival, and how many arrived before the one above them.

    `read` rows were in the file. Raises TraceError where more is faulty than `problems` allows,
    and where no request is left.
    """
    if not read:
        problems.add("no requests")
    lines = np.array([request.line for request in requests], np.int64)
    keep = problems.settle(lines, read=read)
    kept = [request for request, good in zip(requests, keep, strict=True) if good]
    if not kept:
        problems.add("no request with a response")
        problems.raise_any()
    late = sum(after.arrival_ns < before.arrival_ns for before, after in itertools.pairwise(kept))
    return sorted(kept, key=lambda request: request.arrival_ns), late


def order_notes(late: int, clock_start_ns: int | None) -> list[str]:
    """Return the note that says rows were sorted; none for a source without a clock."""
    if not late or clock_start_ns is None:
        return []
    return [f"the source is not in order of time ({late:,} rows arrive before the one above)"]
