"""Rows and columns of the tables that ranked eviction policies work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NONE = -1

# An edge. RESIDENT of its LENGTH blocks are resident, its first ones; FIRST is the index of its
# first block along the prompt. LAST request used it, USES did so far. RUN is its deepest run.
RESIDENT, LENGTH, FIRST, PARENT, RUN, CHILDREN, LAST, USES = range(8)
EDGE_COLUMNS = 8

# A run: blocks of one edge from START up to the run above it, of one rank. BELOW is the run of the
# shallower blocks before it. What VALUE and MISSES say depends on the policy: ranked.py.
START, BELOW, VALUE, MISSES = range(4)
RUN_COLUMNS = 4

# What is counted along the way.
USED, HEAP_SIZE, RUN_TOP, RUN_FREE, CLOCK, FOUND, EVICTED = range(7)
MEMBERS, WAITING, FEWEST, LEVEL, PIVOT = range(7, 12)  # levelling.py
COUNTERS = 12

# Of an edge in the group of levelling.py: its neighbours among those whose run starts as deep.
MEMBER, NEXT, PREVIOUS = range(3)
LINK_COLUMNS = 3

# What does not change. FLAT_COST is the cost of a token at the start of a prompt and BLOCK_COST
# what a block of context adds to it, both in 1/1,000 ns a token.
POLICY, CAPACITY, SEED, FLAT_COST, BLOCK_COST = range(5)
RULES = 5

LRU, LFU, LFU_PERFECT, FIFO_LEAF, SLRU_HITS, GDSF, PGDSF, LENGTH_AWARE, RANDOM, PRIORITY = range(10)


class Ranked(NamedTuple):
    """Edges (E), runs and what else a replay of R requests changes; P places on all paths.

    `edges` int32[E, EDGE_COLUMNS], `runs` int64[:, RUN_COLUMNS], `heap` int64[:, 2], `counters`
    int64[COUNTERS], `rules` int64[RULES], `offsets` int64[R + 1], `path` int32[P], `limit` and
    `priority` int64[R], `hits` int64[R]. For gdsf and pgdsf `clock` int64[E] is the clock when an
    edge was last used, for pgdsf `lost` int32[E] its shallowest run of evicted blocks. The group of
    length_aware has `links` int32[E, LINK_COLUMNS], `ending` int32[D] for the D blocks of the
    longest path, and `by_last` int32[R + 1].
    """

    edges: np.ndarray
    runs: np.ndarray
    clock: np.ndarray
    lost: np.ndarray
    links: np.ndarray
    ending: np.ndarray
    by_last: np.ndarray
    heap: np.ndarray
    counters: np.ndarray
    rules: np.ndarray
    offsets: np.ndarray
    path: np.ndarray
    limit: np.ndarray
    priority: np.ndarray
    hits: np.ndarray
