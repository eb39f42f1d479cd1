"""Replay a plan up to one request, and return what that request found block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.engine.generating import Generating, count_generating
from replay.engine.plan import Plan
from replay.engine.simulate import timed_tables, untimed_tables
from replay.gpu.cost import StepCost
from replay.kernels import layout
from replay.progress import Hook, ignore


@dataclass(frozen=True, slots=True)
class Watched:
    """What a request found: `blocks` int64[*, WATCH_FIELDS], a row a block of its prompt.

    `outcome` int64[R, OUTCOME_FIELDS] holds for the request and for those before it; `looked_up`
    is false where the replay ended, or gave up on it, before it was admitted, and where it asks for
    no look-up.
    """

    blocks: np.ndarray
    outcome: np.ndarray
    looked_up: bool


def watch_request(
    plan: Plan, request: int, cost: StepCost | None, *, progress: Hook = ignore
) -> Watched:
    """Replay until `request` has been looked up; `cost` None is a replay without a GPU."""
    plan = plan.watching(request)
    if cost is None:
        tables = untimed_tables(plan, request + 1, progress=progress)
        left_queue, waits = request + 1, False
    else:
        tables, engine = timed_tables(plan, cost, request + 1, progress=progress)
        left_queue = int(engine.now[layout.NEXT_WAITING])
        waits = tables.state[request, layout.PHASE] == layout.WAITING
    rejected = tables.outcome[request, layout.STATUS] == layout.REJECTED
    ran = tables.outcome[request, layout.PREEMPTIONS] > 0  # what waits, or was given up, again
    admitted = ran or not (waits or rejected)
    looked_up = bool(admitted and not plan.table[request, layout.SKIPS])
    if cost is None and not plan.rules[layout.HOLD_NS]:
        return Watched(tables.watch, tables.outcome, looked_up)
    found = count_generating(plan, tables.outcome, left_queue)
    _name_authors(plan, request, found, tables.watch)
    assert isinstance(found.outcome, np.ndarray)  # as the tables' own is
    return Watched(tables.watch, found.outcome, looked_up)


def _name_authors(plan: Plan, request: int, found: Generating, blocks: np.ndarray) -> None:
    """Say of the blocks of a prompt that are still being generated who is at it."""
    paths, size = plan.paths, int(plan.rules[layout.BLOCK_SIZE])
    edges = paths.path_edges[paths.start[request] : paths.prompt_stop[request]]
    authors = np.repeat(found.author[edges], paths.blocks[edges])
    made = slice(found.start_tokens[request] // size, found.stop_tokens[request] // size)
    blocks[made, layout.COMPUTING_BY] = authors[made]
