"""Eviction policies made of queues: FIFO, CLOCK, SIEVE, S3-FIFO, SLRU, 2Q and ARC.

Exact block by block and run on stretches of blocks, so the cost of a request is that of its edges
whatever the block size. Protocol and worked example: kernels/policies/run_queues.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from replay.cache.outcome import PolicyOutcome
from replay.errors import InputError, UnknownNameError
from replay.kernels.policies import run_queues
from replay.kernels.policies.arc import replay_arc
from replay.kernels.policies.fifo import replay_clock, replay_fifo
from replay.kernels.policies.references import References
from replay.kernels.policies.run_queues import RunQueues
from replay.kernels.policies.s3fifo import replay_s3fifo
from replay.kernels.policies.sieve import replay_sieve
from replay.kernels.policies.slru import replay_slru
from replay.kernels.policies.two_queues import replay_two_queues

SPARE_ROWS = 4_096  # rows for second runs of edges; a fraction of the table comes on top
CLOSURE = "no"


def _one(capacity: int) -> list[int]:
    return [capacity]


def _s3fifo(capacity: int) -> list[int]:
    small = max(1, int(capacity * 0.1))
    return [capacity, small, capacity - small, int(capacity * 0.9)]


def _slru(capacity: int) -> list[int]:
    return [capacity, int(capacity * 0.8)]


def _two_queues(capacity: int) -> list[int]:
    return [capacity, int(capacity * 0.25), int(capacity * 0.5)]


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """One policy: `kernel` replays references, `sizes` says how large its queues are in blocks.

    Sizes are capacity and limits, rounded as libCacheSim rounds (down, in float64). `closure` says
    whether what is resident is prefix-closed.
    """

    name: str
    kernel: Callable[[RunQueues], int]
    meaning: str
    reference: str
    sizes: Callable[[int], list[int]] = _one
    closure: str = CLOSURE


QUEUE_POLICIES = (
    QueuePolicy("fifo", replay_fifo, "evict the block inserted first", "-"),
    QueuePolicy(
        "clock",
        replay_clock,
        "first in, first out, but a block found since it was last passed gets a second chance",
        "Corbato 1968; libCacheSim Clock with one bit",
    ),
    QueuePolicy(
        "sieve",
        replay_sieve,
        "a hand from oldest to newest spares what was found since it last passed; nothing moves",
        "Zhang et al., NSDI 2024; libCacheSim Sieve",
    ),
    QueuePolicy(
        "s3fifo",
        replay_s3fifo,
        "small queue (10 %), main queue (90 %) for what was found twice or came back as a ghost",
        "Yang et al., SOSP 2023; libCacheSim S3FIFO (ghosts 90 %, from 20 blocks on)",
        _s3fifo,
    ),
    QueuePolicy(
        "slru",
        replay_slru,
        "two LRU segments: found blocks are protected, 80 % at most; evict from probation",
        "Karedla, Love, Wherry 1994; libCacheSim fills protected segments before it evicts",
        _slru,
    ),
    QueuePolicy(
        "2q",
        replay_two_queues,
        "FIFO (Kin 25 %) for new blocks, LRU for those that came back as ghosts (Kout 50 %)",
        "Johnson and Shasha, VLDB 1994, full version; libCacheSim TwoQ (from 4 blocks on)",
        _two_queues,
    ),
    QueuePolicy(
        "arc",
        replay_arc,
        "LRU of blocks seen once and of those seen again, sizes learnt from the ghosts of both",
        "Megiddo and Modha, FAST 2003; libCacheSim ARC",
    ),
)


def replay_queue(references: References, name: str, capacity_blocks: int) -> PolicyOutcome:
    """Return what became of `references` under policy `name` with `capacity_blocks` of memory.

    Raises UnknownNameError for a name not in QUEUE_POLICIES, InputError for a capacity below one.
    """
    policy = next((one for one in QUEUE_POLICIES if one.name == name), None)
    if policy is None:
        raise UnknownNameError("queue policy", name, [one.name for one in QUEUE_POLICIES])
    if capacity_blocks < 1:
        raise InputError(f"a cache holds at least one block (got {capacity_blocks})")
    tables = _tables(references, policy.sizes(capacity_blocks))
    while policy.kernel(tables) == run_queues.NEEDS_ROWS:
        tables = tables._replace(rows=_grown(tables.rows))
    return PolicyOutcome(
        hit_blocks=tables.hits,
        found_blocks=int(tables.now[run_queues.FOUND]),
        stranded_blocks=int(tables.now[run_queues.STRANDED]),
        evicted_blocks=int(tables.now[run_queues.EVICTED]),
    )


def _grown(rows: np.ndarray) -> np.ndarray:
    """Return a table of runs with more rows."""
    spare = np.zeros((len(rows) // 4 + SPARE_ROWS, run_queues.ROW_FIELDS), np.int32)
    return np.concatenate([rows, spare])


def _tables(references: References, sizes: list[int]) -> RunQueues:
    """Return the tables of a replay that has not begun: every queue empty."""
    edges = len(references.blocks)
    rows = np.zeros((edges, run_queues.ROW_FIELDS), np.int32)
    rows[:, run_queues.EDGE] = np.arange(edges)
    rows[:, [run_queues.QUEUE, run_queues.DEEPEST]] = run_queues.NONE
    rows[:, run_queues.BLOCKS] = references.blocks
    queues = np.full((run_queues.QUEUES, run_queues.QUEUE_FIELDS), run_queues.NONE, np.int64)
    queues[:, run_queues.SIZE] = 0
    now = np.zeros(run_queues.NOW_FIELDS, np.int64)
    now[[run_queues.REQUEST, run_queues.ABOVE]] = run_queues.NONE
    now[[run_queues.ROWS_FREE, run_queues.HAND]] = run_queues.NONE
    now[run_queues.ROWS_USED] = edges
    return RunQueues(
        rows=_grown(rows),
        queues=queues,
        now=now,
        sizes=np.array(sizes, np.int64),
        offsets=references.offsets,
        path=references.edges,
        limit=references.limit,
        hits=np.zeros(len(references.limit), np.int64),
        target=np.zeros(1),
    )
