"""Matching, locking, inserting and evicting: what a request does to a radix cache.

A page is free, held by one request alone, or in the tree. A match changes the tree: what it
touches becomes most recent and a node that holds only part of it is split. An insertion keeps the
tree's copy where there is one and frees the request's own. Only whole leaves are evicted, until
enough pages are free, so an eviction may free more than was asked for.
"""

from __future__ import annotations

from replay.kernels.cache.observe import note_loss
from replay.kernels.cache.radix_age import add_youngest, take_out, use_again
from replay.kernels.cache.radix_layout import (
    ABOVE,
    ACCESS,
    AT,
    CHILDREN,
    FIRST_PAGE,
    HITS,
    LEAF,
    LOCKS,
    PINNED,
    PLACE,
    PRIORITY,
    STOP_PAGE,
    USED_NS,
    WRITTEN_BY,
)
from replay.kernels.cache.radix_nodes import add_leaf, descend, next_use, split, unhang
from replay.kernels.cache.radix_rank import drop_leaf, put_leaf, rank_again
from replay.kernels.jit import inner
from replay.kernels.layout import (
    BLOCK_SIZE,
    BLOCKS,
    CURSOR,
    ENTRIES,
    EVICTED,
    EVICTIONS,
    FIRST,
    HELD,
    IDLE,
    INSERTED,
    LAST_HOLD,
    NONE,
    NOW_NS,
    OLDEST,
    PATH_START,
    PINNED_IDLE,
    PRIORITY_OF,
    PROMPT_BLOCKS,
    PUBLISHED,
    REUSED,
    RUN_TOP,
    SESSION,
    TAKEN_BY,
    TAKEN_FROM,
    TAKEN_NS,
    TAKEN_TO,
    TTL_NS,
    UNKEYED,
)

MATCH_ROWS = 1  # a look-up splits one node
INSERT_ROWS = 4  # an insertion splits one, adds up to two, and splits at the prompt's end


@inner
def node_rows_left(t, wanted):
    """Return whether `wanted` new nodes fit in the table, not counting rows given back."""
    return t.counters[RUN_TOP] + wanted <= t.nodes.shape[0]


# --- making room ----------------------------------------------------------------------------


@inner
def _count_evicted(t, node, request, now_ns):
    """Count a node as evicted on its edges, and note for whom and when.

    Only the end of what is resident on an edge goes, so the last note is of its first missing page.
    """
    at = t.nodes[node, AT]
    page = t.nodes[node, FIRST_PAGE]
    stop = t.nodes[node, STOP_PAGE]
    writer = t.nodes[node, WRITTEN_BY]
    while page < stop:
        edge = t.path_edges[at]
        reached = min(t.edges[edge, FIRST] + t.edges[edge, BLOCKS], stop)
        t.totals[edge, EVICTED] += reached - page
        first = t.edges[edge, FIRST]
        t.taken[edge, TAKEN_BY] = request
        t.taken[edge, TAKEN_NS] = now_ns
        t.taken[edge, TAKEN_FROM] = page - first
        t.taken[edge, TAKEN_TO] = reached - first
        note_loss(t, edge, page - first, reached - first, writer, request, now_ns)
        page = reached
        at += 1


@inner
def _evict_leaf(t, node, request, now_ns):
    """Drop an unlocked leaf whole; its parent may be the next."""
    pages = t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]
    above = t.nodes[node, ABOVE]
    _count_evicted(t, node, request, now_ns)
    drop_leaf(t, node)
    unhang(t, node)
    t.counters[EVICTIONS] += pages
    t.counters[UNKEYED] += pages
    if above != NONE and t.nodes[above, CHILDREN] == 0 and t.nodes[above, LOCKS] == 0:
        put_leaf(t, above)


@inner
def evict_until_free(t, pages, request):
    """Evict leaves in order of rank until `pages` are free or nothing can be evicted.

    `request` is whom they are for, NONE for several at once.
    """
    while t.counters[UNKEYED] < pages and t.counters[ENTRIES] > 0:
        _evict_leaf(t, t.leaves[0, LEAF], request, t.counters[NOW_NS])


@inner
def take_pages(t, wanted, spare, request):
    """Take `wanted` pages, evicting until `spare` more are free where pages hold several tokens.

    The caller has checked that `wanted` can be taken.
    """
    if t.rules[BLOCK_SIZE] == 1:
        spare = 0
    evict_until_free(t, wanted + spare, request)
    t.counters[UNKEYED] -= wanted


@inner
def expire(t):
    """Drop what has been idle for longer than TTL_NS, from the leaves up."""
    node = t.counters[OLDEST]
    while node != NONE and t.counters[NOW_NS] - t.ages[node, USED_NS] > t.rules[TTL_NS]:
        _evict_leaf(t, node, NONE, t.ages[node, USED_NS] + t.rules[TTL_NS])
        node = t.counters[OLDEST]


# --- locks ----------------------------------------------------------------------------------


@inner
def _count_idle(t, node, sign):
    pages = sign * (t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE])
    if t.nodes[node, PINNED]:
        t.counters[PINNED_IDLE] += pages
    else:
        t.counters[IDLE] += pages


@inner
def _lock(t, node):
    if t.nodes[node, LOCKS] == t.nodes[node, PINNED]:
        _count_idle(t, node, -1)
        if t.rules[TTL_NS] > 0 and t.nodes[node, PINNED] == 0:
            take_out(t, node)
    t.nodes[node, LOCKS] += 1


@inner
def _unlock(t, node):
    t.nodes[node, LOCKS] -= 1
    if t.nodes[node, LOCKS] == t.nodes[node, PINNED]:
        _count_idle(t, node, 1)
        if t.rules[TTL_NS] > 0 and t.nodes[node, PINNED] == 0:
            add_youngest(t, node)


# --- look-up --------------------------------------------------------------------------------


@inner
def match_pages(t, request, limit):
    """Return (pages, idle): the longest prefix in the tree, at most `limit` pages.

    `idle` of them are unlocked. Leaves the node where it ends in LAST_HOLD, not locked yet.
    """
    use = next_use(t)
    node, pages, at = descend(t, NONE, 0, t.plan[request, PATH_START], limit, use)
    idle = 0
    above = node
    while above != NONE:
        t.nodes[above, ACCESS] = use + 1
        if t.nodes[above, LOCKS] == 0:
            idle += t.nodes[above, STOP_PAGE] - t.nodes[above, FIRST_PAGE]
            if t.rules[TTL_NS] > 0:
                use_again(t, above)
        above = t.nodes[above, ABOVE]
    if node != NONE and t.nodes[node, PLACE] != NONE:
        rank_again(t, node)
    t.holdings[request, LAST_HOLD] = node
    t.holdings[request, CURSOR] = at
    return pages, idle


@inner
def _count_reused(t, request, pages):
    at = t.plan[request, PATH_START]
    page = 0
    while page < pages:
        edge = t.path_edges[at]
        reached = min(t.edges[edge, FIRST] + t.edges[edge, BLOCKS], pages)
        t.totals[edge, REUSED] += reached - page
        page = reached
        at += 1


@inner
def lock_match(t, request, pages):
    """Let a request hold the `pages` that `match_pages` found; return its session's share."""
    own = 0
    session = t.plan[request, SESSION]
    node = t.holdings[request, LAST_HOLD]
    if node != NONE and t.nodes[node, PLACE] != NONE:
        drop_leaf(t, node)
    while node != NONE:
        _lock(t, node)
        if session != NONE and t.plan[t.nodes[node, WRITTEN_BY], SESSION] == session:
            own += t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]
        node = t.nodes[node, ABOVE]
    _count_reused(t, request, pages)
    t.holdings[request, HELD] = pages
    t.holdings[request, PUBLISHED] = pages
    t.holdings[request, INSERTED] = 0
    return own


# --- inserting and giving back --------------------------------------------------------------


@inner
def insert_pages(t, request, upto):
    """Put a request's pages below `upto` into the tree and let it hold them there.

    Pages the tree had already are freed: the request goes on with the tree's. A node counts the
    request once, however often it is inserted. With more than the prompt, the prompt is inserted
    once more, one priority higher, so that a response is never kept longer than its prompt.
    """
    use = next_use(t)
    held = t.holdings[request, LAST_HOLD]
    done = t.holdings[request, PUBLISHED]
    node, there, at = descend(t, held, done, t.holdings[request, CURSOR], upto, use)
    t.counters[UNKEYED] += there - done
    if there < upto:
        node = add_leaf(t, request, node, there, at, upto, use)
    elif node != NONE and t.nodes[node, PLACE] != NONE:
        drop_leaf(t, node)
    inserted = t.holdings[request, INSERTED]
    priority = t.plan[request, PRIORITY_OF]
    above = node
    while above != held:
        _lock(t, above)
        above = t.nodes[above, ABOVE]
    above = node
    while above != NONE:
        t.nodes[above, ACCESS] = use + 1
        t.nodes[above, PRIORITY] = max(t.nodes[above, PRIORITY], priority)
        if t.nodes[above, STOP_PAGE] > inserted:
            t.nodes[above, HITS] += 1
        above = t.nodes[above, ABOVE]
    if 0 < t.plan[request, PROMPT_BLOCKS] < upto:
        _insert_prompt(t, request, node)
    t.holdings[request, CURSOR] = at
    t.holdings[request, LAST_HOLD] = node
    t.holdings[request, PUBLISHED] = upto
    t.holdings[request, INSERTED] = max(upto, inserted)


@inner
def _insert_prompt(t, request, node):
    """Insert the prompt of a request that has just inserted a path ending with `node`."""
    use = next_use(t)
    prompt = t.plan[request, PROMPT_BLOCKS]
    while t.nodes[node, FIRST_PAGE] >= prompt:
        node = t.nodes[node, ABOVE]
    if t.nodes[node, STOP_PAGE] > prompt:
        node = split(t, node, prompt, t.nodes[node, AT], use)
    priority = t.plan[request, PRIORITY_OF] + 1
    while node != NONE:
        t.nodes[node, ACCESS] = use + 1
        t.nodes[node, PRIORITY] = max(t.nodes[node, PRIORITY], priority)
        node = t.nodes[node, ABOVE]


@inner
def drop_pages(t, request):
    """Unlock a request's path and free what it holds alone; nothing is touched or inserted."""
    node = t.holdings[request, LAST_HOLD]
    above = node
    while above != NONE:
        _unlock(t, above)
        above = t.nodes[above, ABOVE]
    if node != NONE and t.nodes[node, LOCKS] == 0 and t.nodes[node, CHILDREN] == 0:
        put_leaf(t, node)
    t.counters[UNKEYED] += t.holdings[request, HELD] - t.holdings[request, PUBLISHED]
    t.holdings[request, LAST_HOLD] = NONE
    t.holdings[request, HELD] = 0
    t.holdings[request, PUBLISHED] = 0
    t.holdings[request, CURSOR] = 0
