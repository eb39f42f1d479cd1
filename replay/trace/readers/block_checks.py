"""Block ids of a source: how large its blocks may be, how many it needs, whether they are chained.

Some sources give the partial last block of a prompt an id, others do not. It then gets one here
that no other block has: what is in it is not known, so it is equal to nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from replay.trace.blocks import (
    ChainBreaks,
    FlatBlocks,
    dense_codes,
    find_chain_breaks,
    flat_blocks,
    is_chained,
)
from replay.trace.lists import list_column
from replay.trace.problems import ProblemList

CHAINED_HINT = "block ids must be prefix-chained: an id names a block and all that precedes it"
_LARGEST_POWER = 20
_MASK = 2**64 - 1
_UPPER_HALF = 2**63


def unsigned(ids: Sequence[int]) -> list[int]:
    """Return integers of 64 bits, of either sign, as ids: two's complement for negative ones."""
    return [one & _MASK for one in ids]


def fresh_id(sha256: str, line: int) -> int:
    """Return an id for a block of unknown content: the same for a file and line, else another."""
    digest = hashlib.blake2b(f"{sha256}:{line}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def fresh_ids(sha256: str, line: int, count: int) -> list[int]:
    """Return ids for blocks of unknown content: the same for a file, line and place, else others.

    They are above all ids that a source may give: those of formats that need them are below 2^63.
    """
    return [
        int.from_bytes(
            hashlib.blake2b(f"{sha256}:{line}.{place}".encode(), digest_size=8).digest(), "little"
        )
        | _UPPER_HALF
        for place in range(count)
    ]


def with_fresh(
    blocks: pl.Series, tokens: np.ndarray, *, size: int, lines: np.ndarray, sha256: str
) -> tuple[pl.Series, int]:
    """Return lists of ids, List(UInt64), with new ones where a prompt has none, and how many had.

    `tokens` int64[R] are the lengths of the prompts, `lines` int64[R] where they stand.
    """
    bare = np.flatnonzero(blocks.is_null().to_numpy())
    blocks = blocks.cast(pl.List(pl.UInt64))
    if not len(bare):
        return blocks, 0
    flat = flat_blocks(blocks.fill_null([]))
    wanted = -(-tokens[bare] // size)
    places = zip(lines[bare].tolist(), wanted.tolist(), strict=True)
    fresh = [one for line, count in places for one in fresh_ids(sha256, line, count)]
    ids = np.insert(
        flat.ids.astype(np.uint64, copy=False),
        np.repeat(flat.offsets[bare], wanted),
        np.array(fresh, np.uint64),
    )
    counts = flat.counts.copy()
    counts[bare] = wanted
    return list_column(ids, counts), len(bare)


def bare_note(count: int) -> tuple[str, ...]:
    """Return the note on prompts without block ids among others that have them."""
    if not count:
        return ()
    return (f"{count:,} prompts have no block ids: they are taken to share nothing with any other",)


def covering(
    ids: list[int], *, tokens: int, size: int, fresh: int
) -> tuple[list[int], bool] | None:
    """Return ids for all blocks of a prompt, and whether the last one had none.

    None where there are too few or too many for that.
    """
    if len(ids) == -(-tokens // size):
        return ids, False
    if len(ids) == tokens // size:
        return [*ids, fresh], True
    return None


def sizes_between(tokens: np.ndarray, counts: np.ndarray) -> tuple[int, int]:
    """Return the smallest and the largest block size that fit these rows; none if they cross.

    A row of `tokens` in blocks of B has `counts` ids, floor(tokens / B) or ceil(tokens / B).
    """
    lowest = int((tokens // (counts + 1)).max()) + 1
    several = counts > 1
    highest = -(-tokens[several] // (counts[several] - 1)) - 1
    return lowest, int(highest.min()) if len(highest) else 2**31 - 1


def powers_of_two_between(lowest: int, highest: int) -> list[int]:
    """Return the usual block sizes within these bounds."""
    return [size for size in (2**k for k in range(_LARGEST_POWER + 1)) if lowest <= size <= highest]


def sizes_that_fit(tokens: np.ndarray, counts: np.ndarray) -> list[int]:
    """Return the usual block sizes of which every row has as many as it needs, rounded up."""
    return [
        size for size in powers_of_two_between(1, 2**20) if (counts == -(-tokens // size)).all()
    ]


def hint_at_sizes(problems: ProblemList, tokens: np.ndarray, counts: np.ndarray) -> None:
    """Add to the problems which block sizes fit every row, if any do; counts are rounded up."""
    fits = sizes_that_fit(tokens, counts)
    if fits:
        problems.hint(f"every row fits a block size of {' or '.join(map(str, fits))}")


def check_chained(
    flat: FlatBlocks,
    problems: ProblemList,
    *,
    input_tokens: np.ndarray,
    block_size: int,
    lines: np.ndarray,
) -> None:
    """Add a problem for each block id that follows two others, or is full here and partial there.

    Each row must have as many ids as its prompt has blocks; `lines` int64[R] places them.
    """
    codes, count = dense_codes(flat.ids)
    if is_chained(flat, codes, size=count, input_tokens=input_tokens, block_size=block_size):
        return
    breaks = find_chain_breaks(
        flat, codes, size=count, input_tokens=input_tokens, block_size=block_size
    )
    words = _Words(flat, breaks, lines[flat.requests], block_size)
    line = lines[flat.requests]
    problems.add_rows(breaks.links, words.link, lines=line)
    problems.add_rows(breaks.lengths, words.length, lines=line)
    problems.hint(CHAINED_HINT)


class _Words:
    """Puts breaks of a chain into words, each with the line of the id's first place."""

    def __init__(
        self, flat: FlatBlocks, breaks: ChainBreaks, line: np.ndarray, block_size: int
    ) -> None:
        self._flat, self._breaks, self._line, self._size = flat, breaks, line, block_size

    def link(self, place: int) -> str:
        """Say that an id has two predecessors, or that it stands twice in one prompt."""
        flat, first = self._flat, int(self._breaks.first[place])
        block, row = flat.ids[place], flat.requests[place]
        if np.count_nonzero(flat.ids[flat.offsets[row] : place] == block):
            return f"block id {block} stands twice in a prompt"
        there = f"{self._before(first)} on line {self._line[first]}"
        return f"block id {block} {self._before(place)} here and {there}"

    def length(self, place: int) -> str:
        """Say that an id stands for blocks of two lengths."""
        first = self._breaks.first[place]
        here, there = (
            "full" if tokens == self._size else f"a partial block of {tokens} tokens"
            for tokens in self._breaks.tokens[[place, first]]
        )
        return (
            f"block id {self._flat.ids[place]} is {here} here and {there} on line "
            f"{self._line[first]}"
        )

    def _before(self, place: int) -> str:
        if self._breaks.before[place] < 0:
            return "starts the prompt"
        return f"follows {self._flat.ids[place - 1]}"
