"""The hits of LRU at every capacity, from one pass over the edges of the prefix tree.

A use of an edge whose first block lies at depth D of the LRU stack hits clamp(C - D, 0, L) of its
L blocks at capacity C (kernels/policies/stack.py). The hits of all uses together are a sum of such
ramps: with the starts D and the stops D + L sorted and summed, the hits at any capacity are two
binary searches away, and no array is as long as the cache is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.kernels.policies.references import References
from replay.kernels.policies.stack import stack_depths

_REQUESTS_AT_ONCE = 1 << 18
KNEES = (0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Uses:
    """The uses of an edge that some capacity hits, U of them, in replay order.

    `request` and `edge` int64[U]; `depth` int64[U], blocks above it in the stack; `blocks`
    int64[U] that a look-up may return; `short` int64[U], tokens of the last block that are
    computed all the same.
    """

    request: np.ndarray
    edge: np.ndarray
    depth: np.ndarray
    blocks: np.ndarray
    short: np.ndarray

    def where(self, chosen: np.ndarray) -> Uses:
        """Return some of the uses: bool[U], or their numbers in the order wanted, int64."""
        return Uses(
            self.request[chosen],
            self.edge[chosen],
            self.depth[chosen],
            self.blocks[chosen],
            self.short[chosen],
        )


def stack_uses(
    refs: References, input_tokens: np.ndarray, block_size: int, *, room: np.ndarray | None = None
) -> Uses:
    """Return every use of an edge that some capacity hits, requests one after another.

    Exact for LRU with whole prompts held while they are computed and given back deepest first,
    without duplicates of a block. A prompt longer than the cache leaves its beginning, where an
    engine would refuse it. `room` int64[E] is what edges take of the stack, their blocks where
    it is not given.
    """
    room = refs.blocks if room is None else room
    depth = stack_depths(room, refs.offsets, refs.edges)
    return _uses(refs, input_tokens, block_size, depth, 0, len(refs.limit))


def _uses(
    refs: References,
    input_tokens: np.ndarray,
    block_size: int,
    depth: np.ndarray,
    start: int,
    stop: int,
) -> Uses:
    """Return the uses of the requests start..stop; `depth` is that of all."""
    places = slice(int(refs.offsets[start]), int(refs.offsets[stop]))
    counts = np.diff(refs.offsets[start : stop + 1])
    edges = refs.edges[places]
    limit = refs.limit[start:stop]
    left = np.repeat(limit, counts) - refs.first[edges]
    blocks = np.minimum(refs.blocks[edges], left)
    request = np.repeat(np.arange(start, stop), counts)
    short = np.maximum(limit * block_size - (input_tokens[start:stop] - 1), 0)
    last = np.where(blocks == left, np.repeat(short, counts), 0)
    kept = (depth[places] >= 0) & (blocks > 0)
    return Uses(request, edges.astype(np.int64), depth[places], blocks, last).where(kept)


def lru_hit_tokens(
    refs: References, input_tokens: np.ndarray, block_size: int, capacities: np.ndarray
) -> np.ndarray:
    """Return the tokens that LRU saves at each capacity, int64, without holding all uses at once.

    `capacities` int64, ascending, each once. It equals `Curve.hit_tokens` of all uses.
    """
    depth = stack_depths(refs.blocks, refs.offsets, refs.edges)
    places = len(capacities) + 1
    started, ended, sums, cut = np.zeros((4, places), np.int64)
    for start in range(0, len(refs.limit), _REQUESTS_AT_ONCE):
        stop = min(start + _REQUESTS_AT_ONCE, len(refs.limit))
        uses = _uses(refs, input_tokens, block_size, depth, start, stop)
        ends = uses.depth + uses.blocks
        begins_at = np.searchsorted(capacities, uses.depth)
        ends_at = np.searchsorted(capacities, ends)
        started += np.bincount(begins_at, minlength=places)
        ended += np.bincount(ends_at, minlength=places)
        np.subtract.at(sums, begins_at, uses.depth)
        np.add.at(sums, ends_at, ends)
        np.add.at(cut, ends_at, uses.short)
    running = np.cumsum(started - ended)[:-1]
    blocks = capacities * running + np.cumsum(sums)[:-1]
    return blocks * block_size - np.cumsum(cut)[:-1]


@dataclass(frozen=True, slots=True)
class Ramps:
    """Ramps that each rise by one from a start to a stop, every one standing for `weight` of them.

    `starts` and `stops` int64[U], ascending each for itself; `sums_of_starts` and `sums_of_stops`
    int64[U+1], their running sums.
    """

    starts: np.ndarray
    stops: np.ndarray
    sums_of_starts: np.ndarray
    sums_of_stops: np.ndarray
    weight: int = 1

    def at(self, capacity: np.ndarray) -> np.ndarray:
        """Return the sum of all ramps at each capacity, int64."""
        begun = np.searchsorted(self.starts, capacity, side="right")
        ended = np.searchsorted(self.stops, capacity, side="right")
        running = capacity * (begun - ended)
        return self.weight * (running - self.sums_of_starts[begun] + self.sums_of_stops[ended])


def ramps(start: np.ndarray, length: np.ndarray, weight: int = 1) -> Ramps:
    """Return ramps from each start over each length."""
    starts, stops = np.sort(start), np.sort(start + length)
    return Ramps(starts, stops, running_sums(starts), running_sums(stops), weight)


@dataclass(frozen=True, slots=True)
class Curve:
    """Hit tokens of LRU as a function of its capacity in blocks, exact at every integer.

    `parts` are the ramps of all uses; `cut_at` int64, ascending, and `cut_tokens` int64[+1] the
    tokens not saved from these capacities on, because one of a prompt is always computed.
    """

    block_size: int
    input_tokens: int
    parts: tuple[Ramps, ...]
    cut_at: np.ndarray
    cut_tokens: np.ndarray

    def hit_blocks(self, capacity_blocks: np.ndarray) -> np.ndarray:
        """Return the hit blocks at each capacity, int64."""
        capacity = np.asarray(capacity_blocks, np.int64)
        return sum((part.at(capacity) for part in self.parts), np.zeros_like(capacity))

    def hit_tokens(self, capacity_blocks: np.ndarray) -> np.ndarray:
        """Return the prompt tokens saved at each capacity, int64."""
        capacity = np.asarray(capacity_blocks, np.int64)
        cut = self.cut_tokens[np.searchsorted(self.cut_at, capacity, side="right")]
        return self.hit_blocks(capacity) * self.block_size - cut

    def token_hit_rate(self, capacity_blocks: np.ndarray) -> np.ndarray:
        """Return hit tokens over prompt tokens at each capacity, float64."""
        return self.hit_tokens(capacity_blocks) / max(self.input_tokens, 1)

    @property
    def working_set_blocks(self) -> int:
        """The smallest capacity that hits all that an unlimited cache hits."""
        return max((int(part.stops[-1]) for part in self.parts if len(part.stops)), default=0)

    @property
    def ceiling_tokens(self) -> int:
        """The tokens an unlimited cache saves."""
        return int(self.hit_tokens(np.array(self.working_set_blocks)))

    def smallest_capacity(self, share: float) -> int:
        """Return the fewest blocks that hit at least `share` of the ceiling, 0 < share <= 1.

        Hits never fall as capacity grows, so a binary search over integers is exact.
        """
        wanted = share * self.ceiling_tokens
        low, high = 0, self.working_set_blocks
        while low < high:
            middle = (low + high) // 2
            if int(self.hit_tokens(np.array(middle))) >= wanted:
                high = middle
            else:
                low = middle + 1
        return low

    @property
    def breakpoints(self) -> np.ndarray:
        """The capacities between which hits grow linearly, int64, ascending, 0 first."""
        ends = [end for part in self.parts for end in (part.starts, part.stops)]
        return np.unique(np.concatenate([[0], *ends, self.cut_at - 1, self.cut_at])).astype(
            np.int64
        )


def lru_curve(uses: Uses, block_size: int, input_tokens: int) -> Curve:
    """Return the curve of `uses` out of `input_tokens` prompt tokens."""
    return Curve(
        block_size=block_size,
        input_tokens=input_tokens,
        parts=(ramps(uses.depth, uses.blocks),),
        **cuts(uses.depth + uses.blocks, uses.short),
    )


def cuts(stop: np.ndarray, short: np.ndarray) -> dict[str, np.ndarray]:
    """Return `cut_at` and `cut_tokens` of uses that end at `stop` and fall `short` by tokens."""
    cut = short > 0
    order = np.argsort(stop[cut], kind="stable")
    return {"cut_at": stop[cut][order], "cut_tokens": running_sums(short[cut][order])}


def sufficient_capacity(uses: Uses, requests: int) -> np.ndarray:
    """Return the fewest blocks at which LRU hits all it can of each request, int64[requests].

    It is 0 where no capacity hits anything.
    """
    needed = np.zeros(requests, np.int64)
    np.maximum.at(needed, uses.request, uses.depth + uses.blocks)
    return needed


def sufficient_capacities(refs: References) -> np.ndarray:
    """Return `sufficient_capacity` of all uses, int64[R], without holding them all at once."""
    depth = stack_depths(refs.blocks, refs.offsets, refs.edges)
    needed = np.zeros(len(refs.limit), np.int64)
    for start in range(0, len(refs.limit), _REQUESTS_AT_ONCE):
        stop = min(start + _REQUESTS_AT_ONCE, len(refs.limit))
        places = slice(int(refs.offsets[start]), int(refs.offsets[stop]))
        counts = np.diff(refs.offsets[start : stop + 1])
        edges = refs.edges[places]
        left = np.repeat(refs.limit[start:stop], counts) - refs.first[edges]
        blocks = np.minimum(refs.blocks[edges], left)
        kept = (depth[places] >= 0) & (blocks > 0)
        request = np.repeat(np.arange(start, stop), counts)
        np.maximum.at(needed, request[kept], (depth[places] + blocks)[kept])
    return needed


def running_sums(values: np.ndarray) -> np.ndarray:
    """Return the sums of the first 0, 1, … values, int64[+1]."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
