"""The hits of LRU at every capacity, from one pass over the edges of the prefix tree.

A use of an edge whose first block lies at depth D of the LRU stack hits clamp(C - D, 0, L) of its
L blocks at capacity C (kernels/stack.py). The hits of all uses together are a sum of such ramps:
with the starts D and the stops D + L sorted and summed, the hits at any capacity are two binary
searches away, and no array is as long as the cache is large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.kernels.references import References
from replay.kernels.stack import stack_depths

KNEES = (0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Uses:
    """The uses of an edge that some capacity hits, U of them, in replay order.

    `request` int64[U]; `depth` int64[U], blocks above in the stack; `blocks` int64[U] that a
    look-up may return; `short` int64[U], tokens of the last block that are computed all the same.
    """

    request: np.ndarray
    depth: np.ndarray
    blocks: np.ndarray
    short: np.ndarray

    def of(self, chosen: np.ndarray) -> Uses:
        """Return the uses by requests that `chosen` bool[R] names."""
        kept = chosen[self.request]
        return Uses(self.request[kept], self.depth[kept], self.blocks[kept], self.short[kept])


def stack_uses(refs: References, input_tokens: np.ndarray, block_size: int) -> Uses:
    """Return every use of an edge that some capacity hits, requests one after another.

    Exact for LRU with whole prompts held while they are computed and given back deepest first,
    without duplicates of a block. A prompt longer than the cache leaves its beginning, where an
    engine would refuse it.
    """
    depth = stack_depths(refs.blocks, refs.offsets, refs.edges)
    counts = np.diff(refs.offsets)
    left = np.repeat(refs.limit, counts) - refs.first[refs.edges]
    blocks = np.minimum(refs.blocks[refs.edges], left)
    request = np.repeat(np.arange(len(counts)), counts)
    short = np.maximum(refs.limit * block_size - (input_tokens - 1), 0)
    last = np.where(blocks == left, np.repeat(short, counts), 0)
    kept = (depth >= 0) & (blocks > 0)
    return Uses(request[kept], depth[kept], blocks[kept], last[kept])


@dataclass(frozen=True, slots=True)
class Curve:
    """Hit tokens of LRU as a function of its capacity in blocks, exact at every integer.

    `starts` and `stops` int64[U], ascending, are where ramps begin and end; `sums_of_starts`
    and `sums_of_stops` int64[U+1] their running sums; `cut_at` int64 ascending and `cut_tokens`
    int64[+1] the tokens not saved from these capacities on, because one is always computed.
    """

    block_size: int
    input_tokens: int
    starts: np.ndarray
    stops: np.ndarray
    sums_of_starts: np.ndarray
    sums_of_stops: np.ndarray
    cut_at: np.ndarray
    cut_tokens: np.ndarray

    def hit_blocks(self, capacity_blocks: np.ndarray) -> np.ndarray:
        """Return the hit blocks at each capacity, int64."""
        capacity = np.asarray(capacity_blocks, np.int64)
        begun = np.searchsorted(self.starts, capacity, side="right")
        ended = np.searchsorted(self.stops, capacity, side="right")
        running = capacity * (begun - ended)
        return running - self.sums_of_starts[begun] + self.sums_of_stops[ended]

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
        return int(self.stops[-1]) if len(self.stops) else 0

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
        return np.unique(
            np.concatenate([[0], self.starts, self.stops, self.cut_at - 1, self.cut_at])
        )


def lru_curve(uses: Uses, block_size: int, input_tokens: int) -> Curve:
    """Return the curve of `uses` out of `input_tokens` prompt tokens."""
    starts, stops = np.sort(uses.depth), np.sort(uses.depth + uses.blocks)
    cut = uses.short > 0
    cut_at = (uses.depth + uses.blocks)[cut]
    order = np.argsort(cut_at, kind="stable")
    return Curve(
        block_size=block_size,
        input_tokens=input_tokens,
        starts=starts,
        stops=stops,
        sums_of_starts=_running(starts),
        sums_of_stops=_running(stops),
        cut_at=cut_at[order],
        cut_tokens=_running(uses.short[cut][order]),
    )


def sufficient_capacity(uses: Uses, requests: int) -> np.ndarray:
    """Return the fewest blocks at which LRU hits all it can of each request, int64[requests].

    It is 0 where no capacity hits anything.
    """
    needed = np.zeros(requests, np.int64)
    np.maximum.at(needed, uses.request, uses.depth + uses.blocks)
    return needed


def _running(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums
