"""The tables as the kernels pass them around."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.cost import CostTables


class Tables(NamedTuple):
    """The tables of a replay, as the kernels pass them around: flat, in groups by their owner.

    What is of the trace is read only, and one for all pools that replay it. What is of the
    requests is one for all pools as well. What is of a pool is nobody else's: another pool has
    arrays of its own there, or rows of its own in the same arrays.
    """

    # of the trace
    rules: np.ndarray
    plan: np.ndarray
    path_edges: np.ndarray
    edges: np.ndarray
    cuts: np.ndarray
    # of the requests
    state: np.ndarray
    outcome: np.ndarray
    seen: np.ndarray
    # of an engine that keeps no time; one that does is an Engine
    untimed: np.ndarray
    # of one pool
    counters: np.ndarray
    holdings: np.ndarray
    heads: np.ndarray
    totals: np.ndarray
    taken: np.ndarray
    pinned: np.ndarray
    runs: np.ndarray
    holds: np.ndarray
    released: np.ndarray
    marks: np.ndarray
    sessions: np.ndarray
    entries: np.ndarray
    by_worth: np.ndarray
    nodes: np.ndarray  # see radix_layout.py
    leaves: np.ndarray
    ages: np.ndarray
    watched: np.ndarray
    watch: np.ndarray


class RadixTables(Tables):
    """The tables of a radix cache: of another type, so that kernels are compiled for it."""

    __slots__ = ()


class StoreTables(Tables):
    """The tables of a session store: of another type, so that kernels are compiled for it."""

    __slots__ = ()


class Engine(NamedTuple):
    """What the timed engine keeps besides the pool, and what a step costs."""

    now: np.ndarray
    finishing: np.ndarray  # heap int64[max_sequences, 3], see heap.py: who decodes
    waiting: np.ndarray  # heap int64[R, 3] of who waits, by priority; no rows where that is fcfs
    prefilling: np.ndarray  # int64[max_sequences], running prompts in order of admission
    chunks: np.ndarray  # int64[max_sequences], tokens of each in this step
    new: np.ndarray  # int64[max_sequences], decodes that joined since the batch last advanced
    phases: np.ndarray  # int64[block_size], decoding requests that open a block, by step modulo
    fills: np.ndarray  # int64[block_size, 2], first and last of those whose responses others have,
    # or no rows where none are
    stalled: np.ndarray  # int64[max_sequences], decodes that got no token in the step
    flights: np.ndarray  # int64[2, FLIGHT_FIELDS]
    ending: np.ndarray  # int64[2, max_sequences], who completes with a flight, by admission
    bringing: np.ndarray  # int64[2, 2 * max_sequences, 2], request and the tokens it may publish
    peaks: np.ndarray  # int64[*, 2], (step, ns): step times no later step has exceeded
    bins: np.ndarray
    cost: CostTables
    chunk_sums: np.ndarray  # float64[K, SUMS], the prompt chunks of the step, see attention.py
    steps: np.ndarray  # int64[*, STEP_FIELDS], the steps that are kept
