"""Decodes that fill a block in the same step, where others have the response too.

A block that a decode fills becomes visible while the request runs: when the step that fills it is
planned, or, where steps are planned ahead and its last token is not known yet, when the request's
next one is. Nobody is visited for that in other steps: those that open a block in one step fill
one in the step before. Each such list is in order of admission, as engines publish.

A response that no other request has is published when its request completes: nobody could tell.
"""

from __future__ import annotations

from replay.kernels.cache.verbs import publish
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ASYNC,
    BLOCK_SIZE,
    BLOCKED,
    DECODE_STEP,
    INPUT_TOKENS,
    JOINED,
    NEXT_FILL,
    NONE,
    PARTIAL_BLOCKS,
    PATH_BLOCKS,
    PREVIOUS_FILL,
    PROMPT_BLOCKS,
    RANK,
    SHARES,
    TARGET,
)
from replay.kernels.serving.links import put_between, take_from

FIRST, LAST = 0, 1
FILL_LIST = (NEXT_FILL, PREVIOUS_FILL, FIRST, LAST)  # the columns of links.py


@inner
def visible_blocks(t, request, computed):
    """Return how many blocks of a request's path can be shared once `computed` tokens are."""
    blocks = computed // t.rules[BLOCK_SIZE]
    if t.rules[PARTIAL_BLOCKS] and computed >= t.plan[request, INPUT_TOKENS]:
        blocks = t.plan[request, PROMPT_BLOCKS]
    return min(blocks, t.plan[request, PATH_BLOCKS])


@inner
def opens_at(t, request):
    """Return the step, modulo the block size, in which a decoding request opens a block.

    With c tokens computed when it joined before step j it computes token c + s - j in step s.
    """
    return (t.state[request, JOINED] - t.state[request, TARGET]) % t.rules[BLOCK_SIZE]


@inner
def add_fill(t, e, request):
    """Put a request that joins the decodes into its list, if others have its response."""
    if t.plan[request, SHARES] == 0:
        return
    phase = opens_at(t, request)
    before = e.fills[phase, LAST]
    after = NONE
    while before != NONE and t.state[before, RANK] > t.state[request, RANK]:
        after = before
        before = t.state[before, PREVIOUS_FILL]
    put_between(t.state, e.fills[phase], request, before, after, FILL_LIST)


@inner
def drop_fill(t, e, request):
    """Take a request that leaves the decodes out of its list."""
    if t.plan[request, SHARES] == 0:
        return
    take_from(t.state, e.fills[opens_at(t, request)], request, FILL_LIST)


@inner
def first_fill(t, e, ahead):
    """Return the first request that fills a block in the step being planned, or just before it.

    `ahead` is 1 for those that have filled one with the tokens computed so far.
    """
    size = e.fills.shape[0]
    if size == 0:  # nobody has what others generate
        return NONE
    return e.fills[(e.now[DECODE_STEP] + 1 - ahead) % size, FIRST]


@inner
def filled_tokens(t, e, request, ahead):
    """Return how many tokens a decode has computed with the step being planned, or without it."""
    return t.state[request, TARGET] + e.now[DECODE_STEP] - t.state[request, JOINED] + 1 - ahead


@rare
def publish_fills(t, e, fill, rank):
    """Publish the blocks of a list from `fill` on, of requests admitted before one of that rank.

    Returns the first one left.
    """
    while fill != NONE and t.state[fill, RANK] < rank:
        publish_fill(t, e, fill)
        fill = t.state[fill, NEXT_FILL]
    return fill


@inner
def publish_fill(t, e, request):
    """Publish the block that a decode fills, as far as its tokens are known when it is planned."""
    tokens = filled_tokens(t, e, request, t.rules[ASYNC])
    publish(t, request, visible_blocks(t, request, tokens))
    e.now[BLOCKED] = 0
