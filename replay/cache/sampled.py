"""The LRU curve of a sample of prefixes, scaled up to the whole trace, and its error.

Of a sample of one prefix root in k, every block that is not hot stands for k: it takes k times the
room in the stack and is hit k times as often. A hot block is in the whole trace once, takes its
own room, and each of its hits stands for k. Rates are over the sampled prompts, so a sample that
happens to hold more or fewer requests than its share is not off for that (Waldspurger et al. 2015
correct for the same). The error is the spread of equal parts of the sample, each scaled up alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.cache.curve import Curve, cuts, ramps, stack_uses
from replay.cache.view import BlockView
from replay.kernels.policies.references import References
from replay.trace.blocks import hot_requests
from replay.trace.prefix_sample import STRATA


@dataclass(frozen=True, slots=True)
class SampledCurve:
    """A curve estimated from a sample, and those of its parts."""

    curve: Curve
    parts: tuple[Curve, ...]

    def rate_error(self, capacity_blocks: np.ndarray) -> np.ndarray:
        """Return the standard error of the token hit rate at each capacity, float64."""
        if len(self.parts) < 2:
            return np.full(np.shape(capacity_blocks), np.nan)
        rates = np.stack([part.token_hit_rate(capacity_blocks) for part in self.parts])
        return rates.std(axis=0, ddof=1) / np.sqrt(len(self.parts))


def hot_edges(refs: References) -> np.ndarray:
    """Return which edges more than about one request in a hundred uses, bool[E]."""
    uses = np.bincount(refs.edges, minlength=len(refs.first))
    return uses > hot_requests(len(refs.limit))


def sampled_curve(view: BlockView, one_in: int, stratum: np.ndarray) -> SampledCurve:
    """Return the curve of a trace of which `view` is a sample of one prefix root in `one_in`.

    `stratum` int8[R] says which part of the sample drew each request. Parts that drew nothing are
    left out; with fewer than two the error is not a number.
    """
    hot = hot_edges(view.references)
    parts = [
        _scaled(_requests_of(view, stratum == part), hot, one_in * STRATA)
        for part in range(STRATA)
        if (stratum == part).any()
    ]
    return SampledCurve(_scaled(view, hot, one_in), tuple(parts))


def _requests_of(view: BlockView, chosen: np.ndarray) -> BlockView:
    refs = view.references
    counts = np.diff(refs.offsets)
    offsets = np.zeros(int(chosen.sum()) + 1, np.int64)
    np.cumsum(counts[chosen], out=offsets[1:])
    kept = refs._replace(
        offsets=offsets, edges=refs.edges[np.repeat(chosen, counts)], limit=refs.limit[chosen]
    )
    return BlockView(view.block_size, kept, view.input_tokens[chosen])


def _scaled(view: BlockView, hot: np.ndarray, factor: int) -> Curve:
    refs = view.references
    room = np.where(hot, refs.blocks, refs.blocks * factor)
    uses = stack_uses(refs, view.input_tokens, view.block_size, room=room)
    of_hot = hot[uses.edge]
    cold, common = uses.where(~of_hot), uses.where(of_hot)
    stop = uses.depth + np.where(of_hot, 1, factor) * uses.blocks
    return Curve(
        block_size=view.block_size,
        input_tokens=int(view.input_tokens.sum()) * factor,
        parts=(
            ramps(cold.depth, cold.blocks * factor),
            ramps(common.depth, common.blocks, weight=factor),
        ),
        **cuts(stop, uses.short * factor),
    )
