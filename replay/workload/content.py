"""Content that sessions share: the items of each pool, how long they are and who gets which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replay.config.client import PromptPart
from replay.config.profile import Pool
from replay.workload.lengths import sampler
from replay.workload.messages import NONE, Messages


@dataclass(frozen=True, slots=True)
class Items:
    """The items of one pool: segment `first_segment + n` has `tokens[n]`, int64.

    `shares` float64 adds the popularity of items up.
    """

    first_segment: int
    tokens: np.ndarray
    shares: np.ndarray

    def pick(self, uniform: np.ndarray) -> np.ndarray:
        """Return the items that uniform numbers stand for, by popularity."""
        places = np.searchsorted(self.shares, uniform, side="right")
        return np.minimum(places, len(self.tokens) - 1)


def draw_pools(pools: Mapping[str, Pool], rng: np.random.Generator) -> dict[str, Items]:
    """Return the items of every pool; segments count from zero in the order of the profile."""
    drawn: dict[str, Items] = {}
    segment = 0
    for name, pool in pools.items():
        ranks = np.arange(1, pool.items + 1, dtype=np.float64)
        weights = ranks**-pool.zipf if pool.weights is None else np.array(pool.weights)
        tokens = sampler(pool.tokens).whole_at(rng.standard_normal(pool.items))
        drawn[name] = Items(segment, tokens, np.cumsum(weights / weights.sum()))
        segment += pool.items
    return drawn


def draw_heads(
    parts: Sequence[PromptPart],
    count: int,
    pools: Mapping[str, Items],
    messages: Messages,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the last node of the head of each of `count` sessions, NONE where it is empty."""
    tips = np.full(count, NONE, np.int64)
    for part in parts:
        who = np.flatnonzero(rng.random(count) < part.probability)
        if part.pool is not None:
            items = pools[part.pool]
            chosen = items.pick(rng.random(len(who)))
            segments = chosen + items.first_segment
            tips[who] = messages.add(items.tokens[chosen], tips[who], segments)
        elif part.own_tokens is not None:
            tokens = sampler(part.own_tokens).whole_at(rng.standard_normal(len(who)))
            tips[who] = messages.add(tokens, tips[who])
    return tips
