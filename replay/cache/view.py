"""A trace as a cache of one block size sees it, for every question that needs no clock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from replay.cache.blocks import block_paths
from replay.cache.curve import Curve, Uses, lru_curve, stack_uses
from replay.cache.references import hit_tokens, longest_request_blocks, references
from replay.kernels.policies.references import References
from replay.trace.tree import PrefixTree


@dataclass(frozen=True)
class BlockView:
    """The paths of all requests in blocks of `block_size` tokens; `input_tokens` int64[R]."""

    block_size: int
    references: References
    input_tokens: np.ndarray

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.input_tokens)

    @property
    def unique_blocks(self) -> int:
        """Blocks of different content: what an unlimited cache ends up with."""
        return int(self.references.blocks.sum())

    @cached_property
    def longest_request_blocks(self) -> int:
        """The most blocks one request holds; an engine with fewer would refuse it."""
        return longest_request_blocks(self.references)

    @cached_property
    def uses(self) -> Uses:
        """Every use of an edge that some capacity hits, and how deep it lies in the LRU stack."""
        return stack_uses(self.references, self.input_tokens, self.block_size)

    @cached_property
    def curve(self) -> Curve:
        """The hits of LRU at every capacity."""
        return lru_curve(self.uses, self.block_size, int(self.input_tokens.sum()))

    def saved_tokens(self, hit_blocks: np.ndarray) -> np.ndarray:
        """Return the prompt tokens that the hit blocks of each request save, int64[R]."""
        return hit_tokens(hit_blocks, self.input_tokens, self.block_size)


def block_view(
    tree: PrefixTree,
    output_tokens: np.ndarray,
    *,
    block_size: int,
    partial_blocks: bool = False,
    responses: bool = True,
) -> BlockView:
    """Return a trace in blocks of `block_size`; the options are those of `block_paths`."""
    paths = block_paths(
        tree,
        output_tokens,
        block_size=block_size,
        partial_blocks=partial_blocks,
        responses=responses and not partial_blocks,
    )
    return BlockView(block_size, references(paths), tree.input_tokens)
