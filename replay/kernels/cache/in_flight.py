"""What of a prompt other requests are computing at this moment.

A running request has published its path up to PUBLISHED; what it has still to publish of the
blocks that its prompt has in common with another is in flight for that other one.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import (
    INPUT_TOKENS,
    NEXT_RUNNING,
    NONE,
    PATH_PROMPT_STOP,
    PATH_START,
    PROMPT_BLOCKS,
    PUBLISHED,
    STOP_TOKENS,
)


@inner
def shared_blocks(t, one, other, block_size):
    """Return how many leading whole blocks two prompts have in common."""
    depth = 0
    at = t.plan[one, PATH_START]
    to = t.plan[other, PATH_START]
    while at < t.plan[one, PATH_PROMPT_STOP] and to < t.plan[other, PATH_PROMPT_STOP]:
        if t.path_edges[at] != t.path_edges[to]:
            break
        depth = t.edges[t.path_edges[at], STOP_TOKENS]
        at += 1
        to += 1
    return depth // block_size


@inner
def in_flight_tokens(t, request, hit, ideal, oldest, block_size):
    """Return how many tokens of blocks hit..ideal some running request has yet to publish.

    `oldest` starts the list of running requests. The union of their stretches is walked upwards:
    extend what is covered, or jump to the next stretch.
    """
    most = t.plan[request, INPUT_TOKENS] - 1
    tokens = 0
    block = hit
    while block < ideal:
        reach = block
        jump = ideal
        other = oldest
        while other != NONE:
            start = t.holdings[other, PUBLISHED]
            if start < t.plan[other, PROMPT_BLOCKS]:
                stop = shared_blocks(t, request, other, block_size)
                if start <= block:
                    reach = max(reach, stop)
                elif start < stop:
                    jump = min(jump, start)
            other = t.state[other, NEXT_RUNNING]
        reach = min(reach, ideal)
        if reach > block:
            tokens += min(reach * block_size, most) - min(block * block_size, most)
            block = reach
        else:
            block = jump
    return tokens
