"""The steps that a run keeps: what each of them computed, and what stood around it.

A step is 17 integers in the kernel; kept are columns of as few bytes as their values need, about 40
bytes a step, because long runs have tens of millions.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl

from replay.engine.outcome import narrowed
from replay.kernels import layout
from replay.runs.rows import Rows

_KINDS = {
    layout.OF_PROMPTS: "prefill",
    layout.OF_DECODES: "decode",
    layout.OF_BOTH: "mixed",
    layout.OF_NOTHING: "none",
}
_COLUMNS = {
    "start_ns": layout.STEP_START_NS,
    "duration_ns": layout.STEP_DURATION_NS,
    "ahead_ns": layout.STEP_AHEAD_NS,
    "prefill_requests": layout.STEP_PREFILL_REQUESTS,
    "prefill_tokens": layout.STEP_PREFILL_TOKENS,
    "decode_tokens": layout.STEP_DECODE_TOKENS,
    "decode_context": layout.STEP_DECODE_CONTEXT,
    "sampled": layout.STEP_SAMPLED,
    "admitted": layout.STEP_ADMITTED,
    "running": layout.STEP_RUNNING,
    "waiting": layout.STEP_WAITING,
    "free_blocks": layout.STEP_FREE_BLOCKS,
    "preempted": layout.STEP_PREEMPTED,
    "evicted_blocks": layout.STEP_EVICTED_BLOCKS,
    "evictable_blocks": layout.STEP_EVICTABLE_BLOCKS,
}


class StepLog:
    """Steps in order, int64[N, STEP_FIELDS] seen from outside: `log[start:stop]` makes rows of it.

    They are put in a stretch at a time, and kept by column.
    """

    def __init__(self) -> None:
        self._stretches: list[list[np.ndarray]] = []
        self._starts = [0]  # of each stretch, and the end

    def __len__(self) -> int:
        return self._starts[-1]

    def put(self, rows: np.ndarray) -> None:
        """Add steps, int64[*, STEP_FIELDS]."""
        if len(rows):
            self._stretches.append([narrowed(column) for column in rows.T])
            self._starts.append(len(self) + len(rows))

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        found = np.empty((max(stop - start, 0), layout.STEP_FIELDS), np.int64)
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        for begin, columns in zip(self._starts[first:], self._stretches[first:], strict=False):
            if begin >= stop:
                break
            low, high = max(start, begin), min(stop, begin + len(columns[0]))
            for field, column in enumerate(columns):
                found[low - start : high - start, field] = column[low - begin : high - begin]
        return found

    @property
    def nbytes(self) -> int:
        """The memory that the steps take."""
        return sum(column.nbytes for columns in self._stretches for column in columns)


def step_rows(steps: np.ndarray | StepLog, *, has_ratio: bool) -> Rows:
    """Return the table `steps`: `has_ratio` where the scheduler has a new-token ratio."""
    return Rows(len(steps), partial(_frame, steps, has_ratio))


def _frame(steps: np.ndarray | StepLog, has_ratio: bool, start: int, stop: int) -> pl.DataFrame:
    rows = steps[start:stop]
    before = steps[max(start - 1, 0) : start]  # the step before the first, where there is one
    ended = rows[:, layout.STEP_START_NS] + rows[:, layout.STEP_DURATION_NS]
    last = before[:, layout.STEP_START_NS] + before[:, layout.STEP_DURATION_NS]
    ends = np.concatenate([last if start else np.zeros(1, np.int64), ended])[: len(rows)]
    kind = pl.Series(rows[:, layout.STEP_KIND])
    ratio = pl.Series(rows[:, layout.STEP_RATIO_E9])
    return pl.DataFrame(
        {
            **{name: rows[:, field] for name, field in _COLUMNS.items()},
            "idle_ns": rows[:, layout.STEP_START_NS] - ends,
            "kind": kind.replace_strict(_KINDS, return_dtype=pl.String),
            "new_token_ratio_ppb": ratio if has_ratio else ratio.clear(len(ratio)),
        }
    )
