"""The run made by hand many times over: enough requests for every figure, and two tenants."""

from __future__ import annotations

from tests import run_fixture

TIMES, APART_NS = 40, 9_000_000_000


def rows() -> list[dict]:
    """Return twelve hundred requests over six minutes."""
    own = run_fixture.request_rows()
    return [_again(row, again) for again in range(TIMES) for row in own]


def _again(row: dict, again: int) -> dict:
    evicted = row["evicted_ns"]
    return {
        **row,
        "request_id": 30 * again + row["request_id"],
        "session_id": None if row["session_id"] is None else 5 * again + row["session_id"],
        "arrival_ns": row["arrival_ns"] + again * APART_NS,
        "evicted_ns": None if evicted is None else max(again - 1, 0) * APART_NS + evicted,
        "tenant": f"tenant {again % 8}",
    }


def write(folder, **changes):
    """Write the run to a folder and return it."""
    return run_fixture.write(folder, requests=rows(), **changes)
