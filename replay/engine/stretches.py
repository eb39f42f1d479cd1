"""One prompt cut into stretches with one story each: what was hit, and what became of the rest.

In depth order, as in kernels/causes.py: hits, then what some cache would have had, block by block,
then what was seen but is no whole block, then what nobody had seen. Worked example, blocks of 4:

    tokens  0-8    hit         put there by request 1
    tokens  8-12   evicted     put there by request 1, evicted for request 6
    tokens 12-15   rounding    seen before, but not as a whole block
    tokens 15-20   never seen
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from replay.engine.plan import Plan
from replay.engine.watch import Watched
from replay.kernels import layout

HIT = "hit"
EVICTED = "evicted"
EXPIRED = "expired"
NOT_KEPT = "not kept"
BEHIND_A_GAP = "behind a gap"
IN_FLIGHT = "in flight"
ROUNDING = "rounding"
NEVER_SEEN = "never seen"

RESULTS = {
    HIT: "found in the cache",
    EVICTED: "was in the cache, evicted since",
    EXPIRED: "was in the cache, dropped after its time to live",
    NOT_KEPT: "computed before, but never put into the cache, or not yet",
    BEHIND_A_GAP: "in the cache, but what precedes it is not, so it is of no use",
    IN_FLIGHT: "being computed by a running request",
    ROUNDING: "seen before, but not as a whole block, or the one token that is always computed",
    NEVER_SEEN: "in no earlier request",
}
CAPACITY_RESULTS = (EVICTED, EXPIRED, NOT_KEPT, BEHIND_A_GAP)

_RESULT, _PUT_BY, _GONE_TO, _GONE_NS, _EDGE = range(5)
_CODES = tuple(RESULTS)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Tokens `start_tokens` to `stop_tokens` of a prompt: one edge of the tree, one result.

    `put_by` is the request that put the copy there which was hit, or evicted, or that computes
    it; `gone_to` the one it was evicted for, at `gone_ns` on the run's clock; None where there is
    none.
    """

    start_tokens: int
    stop_tokens: int
    prefix_id: int
    result: str
    put_by: int | None = None
    gone_to: int | None = None
    gone_ns: int | None = None

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return self.stop_tokens - self.start_tokens


def stretches(plan: Plan, request: int, watched: Watched) -> list[Stretch]:
    """Return the stretches of a request's prompt from its first token to its last."""
    outcome = watched.outcome[request]
    tokens = int(plan.table[request, layout.INPUT_TOKENS])
    seen = tokens - int(outcome[layout.COLD])
    reachable = seen - int(outcome[layout.GRANULARITY])
    return [
        *_of_blocks(plan, request, watched, reachable),
        *_of_edges(plan, request, reachable, seen, ROUNDING),
        *_of_edges(plan, request, seen, tokens, NEVER_SEEN),
    ]


def _of_blocks(plan: Plan, request: int, watched: Watched, stop: int) -> Iterator[Stretch]:
    """Yield the stretches up to token `stop`, each some blocks of one edge."""
    size = int(plan.rules[layout.BLOCK_SIZE])
    told = _told(plan, request, watched)[: -(-stop // size)]
    if not len(told):
        return
    cuts = np.flatnonzero((told[1:] != told[:-1]).any(axis=1)) + 1
    for first, last in zip([0, *cuts], [*cuts, len(told)], strict=True):
        row = told[first].tolist()
        yield Stretch(
            start_tokens=int(first) * size,
            stop_tokens=min(int(last) * size, stop),
            prefix_id=row[_EDGE],
            result=_CODES[row[_RESULT]],
            put_by=_known(row[_PUT_BY]),
            gone_to=_known(row[_GONE_TO]),
            gone_ns=_known(row[_GONE_NS]),
        )


def _told(plan: Plan, request: int, watched: Watched) -> np.ndarray:
    """Return result, put by, gone to, gone at, and edge of each block of a prompt, int64[*, 5]."""
    blocks = watched.blocks
    edges = plan.paths.path_edges[plan.paths.start[request] : plan.paths.prompt_stop[request]]
    holder, computing = blocks[:, layout.HOLDER], blocks[:, layout.COMPUTING_BY]
    hit = np.arange(len(blocks)) < watched.outcome[request, layout.HIT_BLOCKS]
    lost = blocks[:, layout.LOST_NS] != layout.NONE
    expired = blocks[:, layout.EXPIRED] == 1
    conditions = {
        HIT: hit,
        IN_FLIGHT: computing != layout.NONE,
        BEHIND_A_GAP: holder != layout.NONE,
        EXPIRED: lost & expired,
        EVICTED: lost,
    }
    codes = [_CODES.index(name) for name in conditions]
    told = np.full((len(blocks), 5), layout.NONE, np.int64)
    result = np.select([*conditions.values()], codes, _CODES.index(NOT_KEPT))
    gone = np.isin(result, (_CODES.index(EVICTED), _CODES.index(EXPIRED)))
    told[:, _RESULT] = result
    told[:, _PUT_BY] = np.where(gone, blocks[:, layout.LOST_WRITER], holder)
    flying = result == _CODES.index(IN_FLIGHT)
    told[flying, _PUT_BY] = computing[flying]
    told[gone, _GONE_TO] = blocks[gone, layout.LOST_TO]
    told[gone, _GONE_NS] = blocks[gone, layout.LOST_NS]
    told[:, _EDGE] = np.repeat(plan.paths.tree_edge[edges], plan.paths.blocks[edges])
    return told


def _of_edges(plan: Plan, request: int, start: int, stop: int, result: str) -> Iterator[Stretch]:
    """Yield tokens `start` to `stop` edge by edge."""
    at = start
    for edge in plan.paths.path_edges[plan.paths.start[request] : plan.paths.prompt_stop[request]]:
        end = min(int(plan.paths.stop_tokens[edge]), stop)
        if end > at:
            yield Stretch(at, end, int(plan.paths.tree_edge[edge]), result)
            at = end


def _known(value: int) -> int | None:
    return None if value == layout.NONE else value
