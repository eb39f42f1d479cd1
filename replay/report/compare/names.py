"""The tables that a comparison may have, in the order in which one asks."""

from __future__ import annotations

TABLES = (
    "differences", "ranking", "delta", "gained", "quantiles", "totals", "requests", "capacities",
    "curve", "timeline", "runs",
)  # fmt: skip
"""Of two runs; the deltas of more are called `delta_b`, `delta_c` and so on."""
