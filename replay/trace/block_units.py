"""Block ids of prompts and of responses as units that every request uses whole: exact to the token.

A response fills up the block its prompt ends in. So the id of that block says more than the id of
the prompt's partial last block, which only prompts that are equal up to there have:

    blocks of 4     prompt of 6: ids A, t        response of 7: ids X, Y of blocks 4-8 and 8-12
    units           A (4) t (2)                  X less t (2)  Y (4)
    a follow-up     A X Y Z: its units           A (4) t (2) X less t (2) Y (4) Z

Blocks in which prompts end are cut there wherever they stand, so that a follow-up shares what its
earlier turn had of them. What a response leaves beyond its last full block nobody else has.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from replay.trace.blocks import FlatBlocks, codes_as_seen, flat_blocks
from replay.trace.problems import ProblemList
from replay.trace.units import FlatUnits

if TYPE_CHECKING:
    from replay.trace.frame import Trace


@dataclass(frozen=True, slots=True)
class NamedUnits:
    """Units of block ids: u is (part of) the block `names[u]`, uint64, 0 where it has no id."""

    flat: FlatUnits
    names: np.ndarray


def units_of_blocks(trace: Trace) -> NamedUnits:
    """Return the content of a trace with block ids of prompts and of responses.

    Raises TraceError where a response has another number of ids than full blocks it completes,
    none at all standing for a response that is unknown, and where ids contradict each other.
    """
    size = trace.meta.block_size
    assert size is not None
    prompts = flat_blocks(trace.frame["block_ids"])
    responses = flat_blocks(trace.frame["response_block_ids"].fill_null([]))
    input_tokens, last = trace.column("input_tokens"), _last_tokens(trace)
    _check_counts(trace, responses.counts, last // size - input_tokens // size)
    ids = np.concatenate([prompts.ids, responses.ids]).astype(np.uint64)
    codes, count = codes_as_seen(ids)
    of_prompt, of_response = codes[: len(prompts.ids)], codes[len(prompts.ids) :]
    ends = np.where(prompts.counts > 0, prompts.offsets[1:] - 1, 0)
    tail = input_tokens % size
    tokens = np.full(count, size, np.int64)
    ended = (tail > 0) & (prompts.counts > 0)
    tokens[of_prompt[ends[ended]]] = tail[ended]
    cut = ended & (responses.counts > 0)
    whole, part = of_response[responses.offsets[:-1][cut]], of_prompt[ends[cut]]
    pieces = _Pieces.of(tokens, whole.tolist(), part.tolist())
    own = np.where(responses.counts > 0, last - last // size * size, 0)
    flat = _joined(prompts, of_prompt, responses, of_response, pieces, own, cut, part)
    _check_sums(trace, flat, np.where(responses.counts > 0, last, input_tokens))
    names = np.zeros(count + trace.requests, np.uint64)
    names[codes] = ids
    return NamedUnits(flat, names)


def _last_tokens(trace: Trace) -> np.ndarray:
    """Return how many tokens of prompt and response leave KV, int64[R]: all but the last one."""
    return trace.column("input_tokens") + trace.column("output_tokens") - 1


def _check_counts(trace: Trace, given: np.ndarray, wanted: np.ndarray) -> None:
    problems = ProblemList(trace.meta.path)
    problems.add_rows(
        np.flatnonzero((given != wanted) & (given > 0)),
        lambda row: (
            f"request {row}: its response completes {wanted[row]} blocks of "
            f"{trace.meta.block_size} (got {given[row]} response_block_ids)"
        ),
        lines=None,
    )
    problems.raise_any()


def _check_sums(trace: Trace, flat: FlatUnits, last: np.ndarray) -> None:
    """Raise TraceError unless units add up to prompts and to all that leaves KV.

    They do not where an id stands for blocks of two lengths, or begins in two ways.
    """
    upto = np.zeros(len(flat.units) + 1, np.int64)
    np.cumsum(flat.unit_tokens, out=upto[1:])
    start = upto[flat.offsets[:-1]]
    wrong = upto[flat.prompt_stops] - start != trace.column("input_tokens")
    wrong |= upto[flat.offsets[1:]] - start != last
    owner = np.repeat(np.arange(trace.requests), np.diff(flat.offsets))
    wrong[owner[flat.unit_tokens < 1]] = True
    problems = ProblemList(trace.meta.path)
    problems.add_rows(
        np.flatnonzero(wrong),
        lambda row: f"request {row}: a block id of it stands for two lengths or begins in two ways",
        lines=None,
    )
    problems.hint("block ids must be prefix-chained: an id names a block and all that precedes it")
    problems.raise_any()


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What each code is cut into: `codes` and `tokens`, int64, from `offsets[code]` on."""

    offsets: np.ndarray
    codes: np.ndarray
    tokens: np.ndarray

    @classmethod
    def of(cls, tokens: np.ndarray, whole: list[int], part: list[int]) -> _Pieces:
        """Return the pieces of codes of so many tokens, `part` being the start of `whole`."""
        parent = _parents(tokens, whole, part)
        chains = {code: _chain(code, parent) for code in parent}
        counts = np.ones(len(tokens), np.int64)
        for code, chain in chains.items():
            counts[code] = len(chain)
        offsets = np.zeros(len(tokens) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        codes = np.repeat(np.arange(len(tokens)), counts)
        for code, chain in chains.items():
            codes[offsets[code] : offsets[code + 1]] = chain
        before = np.array([parent.get(code, -1) for code in codes.tolist()], np.int64)
        own = tokens[codes] - np.where(before >= 0, tokens[np.maximum(before, 0)], 0)
        return cls(offsets, codes, own)

    def cut(self, flat: FlatBlocks, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (places of the pieces of all codes of a list end to end, whose each is)."""
        counts = np.diff(self.offsets)[codes]
        upto = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) - np.repeat(upto - self.offsets[codes], counts)
        return places, np.repeat(flat.requests, counts)


def _parents(tokens: np.ndarray, whole: list[int], part: list[int]) -> dict[int, int]:
    """Return the longest known start of each block and of each end of a prompt that has one.

    Of two starts of one block the shorter is a start of the longer.
    """
    starts: dict[int, set[int]] = {}
    for one, other in zip(whole, part, strict=True):
        starts.setdefault(one, set()).add(other)
    parent: dict[int, int] = {}
    order = [(-int(tokens[code]), code) for code in starts]
    heapify(order)
    while order:
        length, code = heappop(order)
        known = sorted((one for one in starts[code] if tokens[one] < -length), key=tokens.item)
        if code in parent or not known:
            continue
        *shorter, longest = known
        parent[code] = longest
        if shorter:
            starts.setdefault(longest, set()).update(shorter)
            heappush(order, (-int(tokens[longest]), longest))
    return parent


def _chain(code: int, parent: dict[int, int]) -> list[int]:
    """Return a code behind all that it starts with."""
    chain = [code]
    while chain[-1] in parent:
        chain.append(parent[chain[-1]])
    return chain[::-1]


def _joined(
    prompts: FlatBlocks,
    of_prompt: np.ndarray,
    responses: FlatBlocks,
    of_response: np.ndarray,
    pieces: _Pieces,
    own: np.ndarray,
    cut: np.ndarray,
    part: np.ndarray,
) -> FlatUnits:
    """Return prompt, response and what the response leaves of its own, request by request.

    `own` int64[R] are the tokens of the last; where `cut`, bool[R], the first block of the response
    starts with `part`, which is in the prompt.
    """
    first, first_owner = pieces.cut(prompts, of_prompt)
    second, second_owner = pieces.cut(responses, of_response)
    skipped = np.zeros(len(cut), np.int64)
    skipped[cut] = np.diff(pieces.offsets)[part]
    place = np.arange(len(second_owner)) - np.searchsorted(second_owner, second_owner)
    kept = place >= skipped[second_owner]
    second, second_owner = second[kept], second_owner[kept]
    third = np.flatnonzero(own > 0)
    count = len(pieces.offsets) - 1
    units = np.concatenate([pieces.codes[first], pieces.codes[second], count + third])
    tokens = np.concatenate([pieces.tokens[first], pieces.tokens[second], own[third]])
    owner = np.concatenate([first_owner, second_owner, third])
    kind = np.repeat([0, 1, 2], [len(first), len(second), len(third)])
    order = np.argsort(owner * 3 + kind, kind="stable")
    offsets = np.zeros(len(own) + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=len(own)), out=offsets[1:])
    return FlatUnits(
        offsets=offsets,
        prompt_stops=offsets[:-1] + np.bincount(first_owner, minlength=len(own)),
        units=units[order].astype(np.uint64),
        unit_tokens=tokens[order].astype(np.int32),
    )
