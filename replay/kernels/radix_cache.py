"""Matching, locking, inserting and evicting: what a request does to a radix cache.

A page is free, held by one request alone, or in the tree. A match changes the tree: what it
touches becomes most recent and a node that holds only part of it is split. An insertion keeps the
tree's copy where there is one and frees the request's own. Only whole leaves are evicted, until
enough pages are free, so an eviction may free more than was asked for.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import (
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
    PATH_START,
    PRIORITY_OF,
    PUBLISHED,
    REUSED,
    RUN_TOP,
    SESSION,
    UNKEYED,
)
from replay.kernels.radix_layout import (
    ABOVE,
    ACCESS,
    AT,
    CHILDREN,
    FIRST_PAGE,
    HITS,
    LEAF,
    LOCKS,
    PLACE,
    PRIORITY,
    STOP_PAGE,
    WRITTEN_BY,
)
from replay.kernels.radix_nodes import add_leaf, descend, next_use, unhang
from replay.kernels.radix_rank import drop_leaf, put_leaf, rank_again


@inner
def node_rows_left(t, wanted):
    """Return whether `wanted` new nodes fit in the table, not counting rows given back."""
    return t.counters[RUN_TOP] + wanted <= t.nodes.shape[0]


# --- making room ----------------------------------------------------------------------------


@inner
def _count_evicted(t, node):
    at = t.nodes[node, AT]
    page = t.nodes[node, FIRST_PAGE]
    stop = t.nodes[node, STOP_PAGE]
    while page < stop:
        edge = t.path_edges[at]
        reached = min(t.edges[edge, FIRST] + t.edges[edge, BLOCKS], stop)
        t.edges[edge, EVICTED] += reached - page
        page = reached
        at += 1


@inner
def _evict_leaf(t, node):
    """Drop an unlocked leaf whole; its parent may be the next."""
    pages = t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]
    above = t.nodes[node, ABOVE]
    _count_evicted(t, node)
    drop_leaf(t, node)
    unhang(t, node)
    t.counters[EVICTIONS] += pages
    t.counters[UNKEYED] += pages
    if above != NONE and t.nodes[above, CHILDREN] == 0 and t.nodes[above, LOCKS] == 0:
        put_leaf(t, above)


@inner
def evict_until_free(t, pages):
    """Evict leaves in order of rank until `pages` are free or nothing can be evicted."""
    while t.counters[UNKEYED] < pages and t.counters[ENTRIES] > 0:
        _evict_leaf(t, t.leaves[0, LEAF])


# --- look-up --------------------------------------------------------------------------------


@inner
def match_pages(t, request, limit):
    """Return (pages, idle, node, at): the longest prefix in the tree, at most `limit` pages.

    `idle` of them are unlocked; it ends with `node`, at place `at` of the path or later.
    """
    use = next_use(t)
    node, pages, at = descend(t, NONE, 0, t.plan[request, PATH_START], limit, use)
    idle = 0
    above = node
    while above != NONE:
        t.nodes[above, ACCESS] = use + 1
        if t.nodes[above, LOCKS] == 0:
            idle += t.nodes[above, STOP_PAGE] - t.nodes[above, FIRST_PAGE]
        above = t.nodes[above, ABOVE]
    if node != NONE and t.nodes[node, PLACE] != NONE:
        rank_again(t, node)
    return pages, idle, node, at


@inner
def _count_reused(t, request, pages):
    at = t.plan[request, PATH_START]
    page = 0
    while page < pages:
        edge = t.path_edges[at]
        reached = min(t.edges[edge, FIRST] + t.edges[edge, BLOCKS], pages)
        t.edges[edge, REUSED] += reached - page
        page = reached
        at += 1


@inner
def lock_match(t, request, pages, node, at):
    """Let a request hold the `pages` that `match_pages` found; return its session's share."""
    own = 0
    session = t.plan[request, SESSION]
    above = node
    while above != NONE:
        length = t.nodes[above, STOP_PAGE] - t.nodes[above, FIRST_PAGE]
        if t.nodes[above, LOCKS] == 0:
            t.counters[IDLE] -= length
        t.nodes[above, LOCKS] += 1
        if session != NONE and t.plan[t.nodes[above, WRITTEN_BY], SESSION] == session:
            own += length
        above = t.nodes[above, ABOVE]
    if node != NONE and t.nodes[node, PLACE] != NONE:
        drop_leaf(t, node)
    _count_reused(t, request, pages)
    t.state[request, LAST_HOLD] = node
    t.state[request, CURSOR] = at
    t.state[request, HELD] = pages
    t.state[request, PUBLISHED] = pages
    t.state[request, INSERTED] = 0
    return own


# --- inserting and giving back --------------------------------------------------------------


@inner
def _insert_below(t, request, upto, use):
    """Insert a request's pages below `upto` where its locked path ends; return their last node.

    Pages the tree had already are freed: the request goes on with the tree's.
    """
    held = t.state[request, LAST_HOLD]
    done = t.state[request, PUBLISHED]
    at = t.state[request, CURSOR]
    node, present, at = descend(t, held, done, at, upto, use)
    t.counters[UNKEYED] += present - done
    if present < upto:
        node = add_leaf(t, request, node, present, at, upto, use)
    t.state[request, CURSOR] = at
    return node


@inner
def insert_pages(t, request, upto):
    """Put a request's pages below `upto` into the tree and let it hold them there."""
    use = next_use(t)
    held = t.state[request, LAST_HOLD]
    node = _insert_below(t, request, upto, use)
    if node != NONE and t.nodes[node, PLACE] != NONE:
        drop_leaf(t, node)
    inserted = t.state[request, INSERTED]
    priority = t.plan[request, PRIORITY_OF]
    below = True
    above = node
    while above != NONE:
        below = below and above != held
        if below:
            if t.nodes[above, LOCKS] == 0:
                t.counters[IDLE] -= t.nodes[above, STOP_PAGE] - t.nodes[above, FIRST_PAGE]
            t.nodes[above, LOCKS] += 1
        t.nodes[above, ACCESS] = use + 1
        t.nodes[above, PRIORITY] = max(t.nodes[above, PRIORITY], priority)
        if t.nodes[above, STOP_PAGE] > inserted:
            t.nodes[above, HITS] += 1
        above = t.nodes[above, ABOVE]
    t.state[request, LAST_HOLD] = node
    t.state[request, PUBLISHED] = max(upto, t.state[request, PUBLISHED])
    t.state[request, INSERTED] = max(upto, inserted)


@inner
def finish_pages(t, request, upto, prompt):
    """Insert what a request leaves behind, `upto` pages, and unlock its path.

    Where there is more than its `prompt` pages the prompt is inserted once more, one priority
    higher, so that it outlives the response.
    """
    use = next_use(t)
    held = t.state[request, LAST_HOLD]
    node = _insert_below(t, request, upto, use)
    inserted = t.state[request, INSERTED]
    priority = t.plan[request, PRIORITY_OF]
    twice = 0 < prompt < upto
    locked = False
    above = node
    while above != NONE:
        locked = locked or above == held
        if t.nodes[above, STOP_PAGE] > inserted:
            t.nodes[above, HITS] += 1
        raised = priority
        if twice and t.nodes[above, STOP_PAGE] <= prompt:
            raised += 1
        t.nodes[above, PRIORITY] = max(t.nodes[above, PRIORITY], raised)
        t.nodes[above, ACCESS] = use + 1
        if locked:
            _unlock(t, above)
        above = t.nodes[above, ABOVE]
    _rank_end(t, node)
    _let_go(t, request, max(upto, t.state[request, PUBLISHED]))


@inner
def drop_pages(t, request):
    """Take a request's hold away and leave what it has inserted; nothing is touched."""
    node = t.state[request, LAST_HOLD]
    above = node
    while above != NONE:
        _unlock(t, above)
        above = t.nodes[above, ABOVE]
    _rank_end(t, node)
    _let_go(t, request, t.state[request, PUBLISHED])


@inner
def _unlock(t, node):
    t.nodes[node, LOCKS] -= 1
    if t.nodes[node, LOCKS] == 0:
        t.counters[IDLE] += t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]


@inner
def _rank_end(t, node):
    """Let the heap know of a path's last node, touched or unlocked since it was looked at."""
    if node == NONE or t.nodes[node, LOCKS] > 0 or t.nodes[node, CHILDREN] > 0:
        return
    if t.nodes[node, PLACE] == NONE:
        put_leaf(t, node)
    else:
        rank_again(t, node)


@inner
def _let_go(t, request, shared):
    """Free the pages a request holds alone, all but `shared`."""
    t.counters[UNKEYED] += t.state[request, HELD] - shared
    t.state[request, LAST_HOLD] = NONE
    t.state[request, HELD] = 0
    t.state[request, PUBLISHED] = 0
    t.state[request, CURSOR] = 0
