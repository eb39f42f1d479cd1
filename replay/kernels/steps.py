"""Many steps at once, outside any engine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.attention import add_chunk, attention_ns, clear_chunks
from replay.kernels.cost import floor_ns, step_ns
from replay.kernels.jit import kernel


class StepList(NamedTuple):
    """Steps to be timed, all arrays contiguous int64.

    Step i has the prompt chunks `first_chunk[i]` to `first_chunk[i + 1]` of `new` and `cached`
    tokens, and `decodes[i]` decodes of `context[i]` keys in sum, `longest[i]` at most. `sampled[i]`
    rows of it pass the LM head.
    """

    first_chunk: np.ndarray  # [N + 1]
    new: np.ndarray  # [C]
    cached: np.ndarray  # [C]
    decodes: np.ndarray  # [N]
    context: np.ndarray  # [N]
    longest: np.ndarray  # [N]
    sampled: np.ndarray  # [N]


@kernel
def time_all(tables, steps, sums, times, floors):
    """Fill in the time int64[N] and the floor float64[N] of each step; `sums` is room for one."""
    for at in range(times.shape[0]):
        clear_chunks(sums)
        tokens = steps.decodes[at]
        for chunk in range(steps.first_chunk[at], steps.first_chunk[at + 1]):
            add_chunk(tables.attention, sums, steps.new[chunk], steps.cached[chunk])
            tokens += steps.new[chunk]
        floors[at] = floor_ns(tables, sums, tokens, steps.sampled[at], steps.context[at])
        times[at] = step_ns(
            tables,
            sums,
            steps.decodes[at],
            steps.context[at],
            steps.longest[at],
            steps.sampled[at],
        )


@kernel
def attend_all(attention, steps, sums, times):
    """Fill in the attention of each step, float64[N] in ns; `sums` is room for one step."""
    for at in range(times.shape[0]):
        clear_chunks(sums)
        for chunk in range(steps.first_chunk[at], steps.first_chunk[at + 1]):
            add_chunk(attention, sums, steps.new[chunk], steps.cached[chunk])
        times[at] = attention_ns(
            attention, sums, steps.decodes[at], steps.context[at], steps.longest[at]
        )
