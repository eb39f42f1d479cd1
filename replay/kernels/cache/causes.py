"""Say where the hit tokens of a request came from and why its other tokens missed.

For one request at the moment it is admitted, in depth order along its prompt:

    0 ...... hit ...... ideal ...... seen ...... input
    |  reused  | capacity or  |  granularity  |  cold  |
    |          |  in flight   |               |

`seen` is how deep earlier requests contained this prompt, `ideal` what of that an infinite cache
would reuse in whole blocks with one token left to compute. Between `hit` and `ideal` a block that
a running request has still to publish is in flight; anything else was evicted, or, in a session
store, is not for this request to have.
"""

from __future__ import annotations

from replay.kernels.cache.in_flight import in_flight_tokens
from replay.kernels.cache.observe import observe
from replay.kernels.jit import by_tables, inner
from replay.kernels.layout import (
    BLOCK_SIZE,
    CAPACITY_MISS,
    COLD,
    COMPUTING,
    CROSS_REQUEST_HIT,
    DISABLED,
    ENABLED,
    EVER,
    FIRST,
    FULL_HIT_BLOCKS,
    GRANULARITY,
    HIT,
    HIT_BLOCKS,
    HOLDERS,
    IN_FLIGHT,
    INPUT_BLOCKS,
    INPUT_TOKENS,
    MATCH_BLOCKS,
    NONE,
    PARTIAL_BLOCKS,
    PATH_PROMPT_STOP,
    PATH_START,
    PATH_STOP,
    POLICY_MISS,
    SESSION_HIT,
    SKIPS,
    STOP_TOKENS,
    USERS,
    WATCH,
    StoreTables,
)


@inner
def seen_tokens(t, request):
    """Return (depth, whole): how deep admitted requests contained this prompt, and if all of it.

    With partial blocks a prompt's tail is an edge of its own, seen only if another ended there.
    """
    depth = 0
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_PROMPT_STOP]):
        edge = t.path_edges[at]
        if not t.seen[edge]:
            return depth, False
        depth = t.edges[edge, STOP_TOKENS]
    return depth, True


@inner
def mark_seen(t, request):
    """Count the prompt of an admitted request as seen."""
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_PROMPT_STOP]):
        t.seen[t.path_edges[at]] = True


@inner
def mark_response_seen(t, request):
    """Count the response of a completed request as seen: later prompts may contain it."""
    for at in range(t.plan[request, PATH_PROMPT_STOP], t.plan[request, PATH_STOP]):
        t.seen[t.path_edges[at]] = True


@inner
def _blame_store(t, request, hit, ideal, oldest):
    """Say why tokens hit..ideal of a prompt were not reused from a session store, edge by edge.

    What is in memory but neither its session's nor a stored prefix of it is a miss of policy, and
    so is what nobody ever shared; what a running request computes is in flight; the rest was
    evicted.
    """
    most = t.plan[request, INPUT_TOKENS] - 1
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_PROMPT_STOP]):
        edge = t.path_edges[at]
        stop = min(t.edges[edge, STOP_TOKENS], ideal, most)
        tokens = stop - max(t.edges[edge, FIRST], min(hit, most))
        if tokens <= 0:
            continue
        shared = t.marks[edge, HOLDERS] + t.marks[edge, USERS] > 0
        if not shared and t.marks[edge, COMPUTING] > 0:
            t.outcome[request, IN_FLIGHT] += tokens
        elif not shared and t.marks[edge, EVER]:
            t.outcome[request, CAPACITY_MISS] += tokens
        else:
            t.outcome[request, POLICY_MISS] += tokens


@inner
def attribute(t, request, hit, session, oldest):
    """Fill the hit and miss columns of a request that reuses `hit` blocks, `session` its own.

    Every token of the prompt lands in exactly one column. Call it before the prompt is marked
    seen and before the request joins the list that starts at `oldest`.
    """
    size = t.rules[BLOCK_SIZE]
    tokens = t.plan[request, INPUT_TOKENS]
    seen, whole = seen_tokens(t, request)
    hit_tokens = min(hit * size, tokens - 1)
    session_tokens = min(session * size, hit_tokens)
    ideal = min(seen // size, t.plan[request, MATCH_BLOCKS])
    if t.rules[PARTIAL_BLOCKS] and whole:
        ideal = t.plan[request, MATCH_BLOCKS]
    ideal = max(ideal, hit)
    ideal_tokens = min(ideal * size, tokens - 1)
    seen = max(seen, ideal_tokens)
    t.outcome[request, INPUT_BLOCKS] = (tokens + size - 1) // size
    t.outcome[request, HIT_BLOCKS] = hit
    t.outcome[request, FULL_HIT_BLOCKS] = min(hit, tokens // size)
    t.outcome[request, COLD] = tokens - seen
    if not t.rules[ENABLED] or t.plan[request, SKIPS]:
        t.outcome[request, DISABLED] = seen
        return
    t.outcome[request, HIT] = hit_tokens
    t.outcome[request, SESSION_HIT] = session_tokens
    t.outcome[request, CROSS_REQUEST_HIT] = hit_tokens - session_tokens
    t.outcome[request, GRANULARITY] = seen - ideal_tokens
    _blame(t, request, hit, ideal, oldest)


@by_tables
def _blame(kind):
    """Say why what an infinite cache would reuse, blocks hit..ideal, was not reused."""
    return _blame_store if kind is StoreTables else _blame_blocks


@inner
def _blame_blocks(t, request, hit, ideal, oldest):
    size = t.rules[BLOCK_SIZE]
    most = t.plan[request, INPUT_TOKENS] - 1
    missed = min(ideal * size, most) - min(hit * size, most)
    if t.rules[WATCH] == request:
        observe(t, request, oldest)
    in_flight = 0
    if ideal > hit and oldest != NONE:
        in_flight = in_flight_tokens(t, request, hit, ideal, oldest, size)
    t.outcome[request, IN_FLIGHT] = in_flight
    t.outcome[request, CAPACITY_MISS] = missed - in_flight
