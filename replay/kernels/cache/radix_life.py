"""The life of a request in a radix cache without an engine: admitted whole, then completed.

Match, lock what matched, evict until the prompt fits, take its pages, insert it; later take the
pages of the response, step by step, insert prompt and response, unlock. With pages of several
tokens every step wants one page more than it takes: a prefill evicts until a spare page is free,
and so does each decode step, whether or not it opens a page.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_response_seen, mark_seen
from replay.kernels.cache.pool import free_blocks, name_evictor
from replay.kernels.cache.radix import (
    INSERT_ROWS,
    MATCH_ROWS,
    drop_pages,
    insert_pages,
    lock_match,
    match_pages,
    node_rows_left,
    take_pages,
)
from replay.kernels.jit import inner
from replay.kernels.layout import (
    ATTEMPTS,
    BLOCK_SIZE,
    CAPACITY_MISS,
    ENABLED,
    EVICTED_BLOCKS,
    EVICTED_LATER,
    EVICTIONS,
    FIRST_HELD,
    FOUND,
    HELD,
    INPUT_TOKENS,
    MATCH_BLOCKS,
    OUTPUT_TOKENS,
    PATH_BLOCKS,
    PROMPT_BLOCKS,
    RESPONSE,
    RESPONSE_CACHED,
    RESPONSE_SKIPPED,
    RESPONSES,
)


@inner
def rows_for_radix(t):
    """Return whether the table of nodes has room for admitting and completing one request."""
    return node_rows_left(t, MATCH_ROWS + 2 * INSERT_ROWS)


@inner
def admit_radix(t, request):
    """Admit a request if its whole prompt fits; return whether it did. A failure touches too."""
    size = t.rules[BLOCK_SIZE]
    prompt = (t.plan[request, INPUT_TOKENS] + size - 1) // size
    hit = 0
    idle = 0
    if t.rules[ENABLED]:
        hit, idle = match_pages(t, request, t.plan[request, MATCH_BLOCKS])
    t.outcome[request, ATTEMPTS] += 1
    t.outcome[request, FOUND] = hit
    if prompt - hit + idle > free_blocks(t):
        return False
    own = lock_match(t, request, hit)
    attribute(t, request, hit, own, t.untimed[FIRST_HELD])
    if t.outcome[request, CAPACITY_MISS] > 0:
        name_evictor(t, request, hit)
    mark_seen(t, request)
    evictions = t.counters[EVICTIONS]
    take_pages(t, prompt - hit, 1, request)
    t.holdings[request, HELD] = prompt
    t.outcome[request, EVICTED_BLOCKS] = t.counters[EVICTIONS] - evictions
    if t.rules[ENABLED]:
        insert_pages(t, request, t.plan[request, PROMPT_BLOCKS])
    return True


@inner
def complete_radix(t, request):
    """Add the response where it fits, all of it or nothing, and give everything back."""
    upto = t.plan[request, PROMPT_BLOCKS]
    if t.rules[RESPONSES] and _decode(t, request):
        upto = t.plan[request, PATH_BLOCKS]
    mark_response_seen(t, request)
    if t.rules[ENABLED]:
        insert_pages(t, request, upto)
    drop_pages(t, request)


@inner
def _decode(t, request):
    """Take the pages of a response; return whether they could be taken."""
    size = t.rules[BLOCK_SIZE]
    steps = t.plan[request, OUTPUT_TOKENS] - 1
    tokens = t.plan[request, INPUT_TOKENS] + steps
    grown = (tokens + size - 1) // size - t.holdings[request, HELD]
    if grown > free_blocks(t):
        t.outcome[request, RESPONSE] = RESPONSE_SKIPPED
        return False
    t.outcome[request, RESPONSE] = RESPONSE_CACHED
    evictions = t.counters[EVICTIONS]
    if steps > 0:  # the last step keeps no spare page if it opens one
        take_pages(t, grown, 0 if tokens % size == 1 else 1, request)
    t.outcome[request, EVICTED_LATER] = t.counters[EVICTIONS] - evictions
    t.holdings[request, HELD] += grown
    return True
