"""The two ceilings of a trace: what its content allows any cache, and what whole blocks allow.

Requests come one after another and nothing is ever evicted. The *content ceiling* counts token by
token what earlier requests contained, responses included where they are known; a request that skips
the look-up has none of it. The *block ceiling* is what an engine can have of that: whole blocks of
one size, with one token left to compute. What lies between is lost to granularity. Worked example,
blocks of 4 tokens:

    request 0: prompt of 10, response of 4    leaves 13 tokens: the last one is never computed
    request 1: those 13, then 5 more          content 13, blocks 12: granularity 1
    request 2: the prompt of request 1        content 18, blocks 16: granularity 2

Every command that names one of them calls these functions or replays what equals them, so it gives
the same integer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from replay.trace.tree import PrefixTree

GLOBAL_SHARE = 0.5  # a prefix that more than this share of requests starts with is global
_REQUESTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Hit tokens of a whole trace under both ceilings, out of `input_tokens`."""

    input_tokens: int
    block_size: int
    content_ceiling_tokens: int
    block_ceiling_tokens: int

    @property
    def granularity_tokens(self) -> int:
        """What whole blocks, and the token that is always computed, lose of the content's."""
        return self.content_ceiling_tokens - self.block_ceiling_tokens


def ceilings(tree: PrefixTree, block_size: int) -> Ceilings:
    """Return both ceilings of a trace with blocks of `block_size` tokens."""
    content = content_hit_tokens(tree)
    return Ceilings(
        input_tokens=int(tree.input_tokens.sum()),
        block_size=block_size,
        content_ceiling_tokens=int(content.sum()),
        block_ceiling_tokens=int(block_hit_tokens(tree, content, block_size).sum()),
    )


def content_hit_tokens(tree: PrefixTree) -> np.ndarray:
    """Return how deep earlier requests contained each prompt that is looked up, int64[R] tokens."""
    first = first_users(tree)
    return _prompt_tokens(tree, lambda edge, owner: first[edge] < owner)


def block_hit_tokens(tree: PrefixTree, content: np.ndarray, block_size: int) -> np.ndarray:
    """Return what whole blocks leave of `content` tokens of each prompt, int64[R]."""
    return np.minimum(content, tree.input_tokens - 1) // block_size * block_size


def session_hit_tokens(tree: PrefixTree, session: np.ndarray) -> np.ndarray:
    """Return what of the content ceiling each prompt's own session put there, int64[R].

    `session` int64[R] are ids, -1 where there is none. Who put a token there is the first request
    that contained it, as in the table `requests` of a run.
    """
    first = first_users(tree)

    def own(edge: np.ndarray, owner: np.ndarray) -> np.ndarray:
        by = first[edge]
        return (by < owner) & (session[by] == session[owner]) & (session[owner] >= 0)

    return _prompt_tokens(tree, own)


def global_prefix_tokens(tree: PrefixTree) -> np.ndarray:
    """Return how deep each prompt is what more than half of all prompts start with, int64[R]."""
    uses = np.bincount(tree.prompts_only().path_edges, minlength=tree.edges)
    common = uses > GLOBAL_SHARE * tree.requests
    return _prompt_tokens(tree, lambda edge, owner: common[edge])


def first_users(tree: PrefixTree) -> np.ndarray:
    """Return the first request whose prompt or response uses each edge, int64[E]; R for none."""
    first = np.full(tree.edges, tree.requests, np.int64)
    starts = range(0, tree.requests, _REQUESTS_AT_ONCE)
    for start in reversed(starts):  # of several assignments to one place the last one stands
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        path = slice(int(tree.path_offsets[start]), int(tree.path_offsets[stop]))
        owner = np.repeat(np.arange(start, stop), np.diff(tree.path_offsets[start : stop + 1]))
        first[tree.path_edges[path][::-1]] = owner[::-1]
    return first


def _prompt_tokens(
    tree: PrefixTree, wanted: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the tokens of each prompt on the edges that `wanted(edge, owner)` picks, int64[R].

    None of a prompt that is not looked up. Walks so many requests at once that memory does not go
    with the length of the trace.
    """
    lengths, looks_up = tree.edge_stop - tree.edge_start, tree.looks_up
    tree = tree.prompts_only()
    found = np.zeros(tree.requests, np.int64)
    for start in range(0, tree.requests, _REQUESTS_AT_ONCE):
        stop = min(start + _REQUESTS_AT_ONCE, tree.requests)
        edge = tree.path_edges[tree.path_offsets[start] : tree.path_offsets[stop]]
        owner = np.repeat(np.arange(start, stop), np.diff(tree.path_offsets[start : stop + 1]))
        tokens = np.zeros(len(edge) + 1, np.int64)
        counted = wanted(edge, owner) & looks_up[owner]
        np.cumsum(np.where(counted, lengths[edge], 0), out=tokens[1:])
        found[start:stop] = np.diff(
            tokens[tree.path_offsets[start : stop + 1] - tree.path_offsets[start]]
        )
    return found
