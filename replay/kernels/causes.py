"""Say where the hit tokens of a request came from and why its other tokens missed.

For one request at the moment it is admitted, in depth order along its prompt:

    0 ...... hit ...... ideal ...... seen ...... input
    |  reused  | capacity or  |  granularity  |  cold  |
    |          |  in flight   |               |

`seen` is how deep earlier requests contained this prompt, `ideal` what of that an infinite cache
would reuse in whole blocks with one token left to compute. Between `hit` and `ideal` a block that
a running request has still to publish is in flight; anything else was evicted.
"""

from __future__ import annotations

from replay.kernels.jit import jit
from replay.kernels.layout import (
    AHEAD,
    BLOCK_SIZE,
    CAPACITY_MISS,
    COLD,
    CROSS_REQUEST_HIT,
    DISABLED,
    ENABLED,
    FULL_HIT_BLOCKS,
    GRANULARITY,
    HIT,
    HIT_BLOCKS,
    IN_FLIGHT,
    INPUT_BLOCKS,
    INPUT_TOKENS,
    MATCH_BLOCKS,
    NONE,
    PARTIAL_BLOCKS,
    PATH_PROMPT_STOP,
    PATH_START,
    PROMPT_BLOCKS,
    PUBLISHED,
    SEEN,
    SESSION_HIT,
    STOP_TOKENS,
)


@jit
def seen_tokens(edges, plan, path_edges, request):
    """Return (depth, whole): how deep admitted requests contained this prompt, and if all of it.

    With partial blocks a prompt's tail is an edge of its own, seen only if another ended there.
    """
    depth = 0
    for at in range(plan[request, PATH_START], plan[request, PATH_PROMPT_STOP]):
        edge = path_edges[at]
        if edges[edge, SEEN] == 0:
            return depth, False
        depth = edges[edge, STOP_TOKENS]
    return depth, True


@jit
def mark_seen(edges, plan, path_edges, request):
    """Count the prompt of an admitted request as seen."""
    for at in range(plan[request, PATH_START], plan[request, PATH_PROMPT_STOP]):
        edges[path_edges[at], SEEN] = 1


@jit
def _shared_blocks(edges, plan, path_edges, one, other, block_size):
    """Return how many leading whole blocks two prompts have in common."""
    depth = 0
    at = plan[one, PATH_START]
    to = plan[other, PATH_START]
    while at < plan[one, PATH_PROMPT_STOP] and to < plan[other, PATH_PROMPT_STOP]:
        if path_edges[at] != path_edges[to]:
            break
        depth = edges[path_edges[at], STOP_TOKENS]
        at += 1
        to += 1
    return depth // block_size


@jit
def _in_flight_tokens(edges, plan, state, path_edges, request, hit, ideal, oldest, block_size):
    """Return how many tokens of blocks hit..ideal some running request has yet to publish.

    `oldest` starts the list of running requests. The union of their stretches is walked upwards:
    extend what is covered, or jump to the next stretch.
    """
    most = plan[request, INPUT_TOKENS] - 1
    tokens = 0
    block = hit
    while block < ideal:
        reach = block
        jump = ideal
        other = oldest
        while other != NONE:
            start = state[other, PUBLISHED]
            if start < plan[other, PROMPT_BLOCKS]:
                stop = _shared_blocks(edges, plan, path_edges, request, other, block_size)
                if start <= block:
                    reach = max(reach, stop)
                elif start < stop:
                    jump = min(jump, start)
            other = state[other, AHEAD]
        reach = min(reach, ideal)
        if reach > block:
            tokens += min(reach * block_size, most) - min(block * block_size, most)
            block = reach
        else:
            block = jump
    return tokens


@jit
def attribute(edges, plan, state, outcome, path_edges, rules, request, hit, session, oldest):
    """Fill the hit and miss columns of a request that reuses `hit` blocks, `session` of them its own.

    Every token of the prompt lands in exactly one column. Call it before the prompt is marked
    seen and before the request joins the list that starts at `oldest`.
    """
    size = rules[BLOCK_SIZE]
    tokens = plan[request, INPUT_TOKENS]
    seen, whole = seen_tokens(edges, plan, path_edges, request)
    hit_tokens = min(hit * size, tokens - 1)
    session_tokens = min(session * size, hit_tokens)
    ideal = min(seen // size, plan[request, MATCH_BLOCKS])
    if rules[PARTIAL_BLOCKS] and whole:
        ideal = plan[request, MATCH_BLOCKS]
    ideal = max(ideal, hit)
    ideal_tokens = min(ideal * size, tokens - 1)
    seen = max(seen, ideal_tokens)
    outcome[request, INPUT_BLOCKS] = (tokens + size - 1) // size
    outcome[request, HIT_BLOCKS] = hit
    outcome[request, FULL_HIT_BLOCKS] = min(hit, tokens // size)
    outcome[request, COLD] = tokens - seen
    if not rules[ENABLED]:
        outcome[request, DISABLED] = seen
        return
    in_flight = 0
    if ideal > hit and oldest != NONE:
        in_flight = _in_flight_tokens(
            edges, plan, state, path_edges, request, hit, ideal, oldest, size
        )
    outcome[request, HIT] = hit_tokens
    outcome[request, SESSION_HIT] = session_tokens
    outcome[request, CROSS_REQUEST_HIT] = hit_tokens - session_tokens
    outcome[request, GRANULARITY] = seen - ideal_tokens
    outcome[request, IN_FLIGHT] = in_flight
    outcome[request, CAPACITY_MISS] = ideal_tokens - hit_tokens - in_flight
