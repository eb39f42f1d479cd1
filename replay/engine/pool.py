"""The tables of one block pool, made for a plan and grown when a kernel asks for rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.engine.plan import Plan
from replay.kernels import layout

_FIRST_ROWS = 4096


@dataclass(slots=True)
class Pool:
    """The mutable tables the kernels share; columns in replay/kernels/layout.py."""

    counters: np.ndarray
    runs: np.ndarray
    holds: np.ndarray
    edges: np.ndarray
    state: np.ndarray
    outcome: np.ndarray

    def grow(self) -> None:
        """Double the tables of runs and holds, keeping what is in them."""
        self.runs = np.concatenate([self.runs, np.empty_like(self.runs)])
        self.holds = np.concatenate([self.holds, np.empty_like(self.holds)])


def make_pool(plan: Plan, *, rows: int = _FIRST_ROWS) -> Pool:
    """Return an empty pool with `rows` free rows for runs and for holds."""
    counters = np.full(layout.COUNTERS, layout.NONE, np.int64)
    counters[layout.CAPACITY] = counters[layout.UNKEYED] = plan.capacity_blocks
    for zero in (layout.IDLE, layout.EVICTIONS, layout.RUN_TOP, layout.HOLD_TOP):
        counters[zero] = 0
    edges = np.zeros((len(plan.paths.first), layout.EDGE_FIELDS), np.int64)
    edges[:, layout.FIRST] = plan.paths.first
    edges[:, layout.BLOCKS] = plan.paths.blocks
    edges[:, layout.STOP_TOKENS] = plan.paths.stop_tokens
    edges[:, layout.OLDEST_RUN] = edges[:, layout.YOUNGEST_RUN] = layout.NONE
    state = np.zeros((plan.requests, layout.STATE_FIELDS), np.int64)
    state[:, layout.LAST_HOLD] = layout.NONE
    return Pool(
        counters=counters,
        runs=np.empty((rows, layout.RUN_FIELDS), np.int32),
        holds=np.empty((rows, layout.HOLD_FIELDS), np.int32),
        edges=edges,
        state=state,
        outcome=np.zeros((plan.requests, layout.OUTCOME_FIELDS), np.int64),
    )
