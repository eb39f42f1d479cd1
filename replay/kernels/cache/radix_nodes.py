"""The nodes of a radix cache over the edges of a prefix tree, with SGLang's rules.

A node is a stretch of pages of one request's path: it lies on `path_edges` from AT on, from page
FIRST_PAGE up to STOP_PAGE, and may start and end inside an edge. A page lies on the edge that
holds its last token, so two stretches that start with the same page share pages for as long as
they share edges: comparing costs edges, never pages, and splitting a node moves two numbers.

Where its parent ends, a node starts either with the first page of an edge, and the edge knows it
(HEAD), or inside the edge on which its parent ends, and the parent knows it (INSIDE): each place
has room for one, because pages that differ lie on different edges. Worked example, pages of 4
tokens, edge 0 with pages 0-2, edges 1 and 2 below it with page 3 each:

    request 0 inserts edges 0 1    node a: pages 0-3                          HEAD of edge 0
    request 1 uses edges 0 2       node b: pages 0-2, split off a             HEAD of edge 0
                                   node a: page 3                             HEAD of edge 1
                                   node c: page 3 of request 1                HEAD of edge 2
    request 2 stops after page 1   node d: page 0, split off b                HEAD of edge 0
                                   node b: pages 1-2                          INSIDE of d

Uses are counted, two to an operation: what a split cuts off counts as used just before the path
it was cut from. A running request locks its last node and all above it, so locked nodes are never
below unlocked ones. A node on pinned edges has one lock for good. Tables and their columns:
layout/, radix_layout.py.
"""

from __future__ import annotations

from replay.kernels.cache.radix_age import add_youngest, take_out, use_again
from replay.kernels.cache.radix_layout import (
    ABOVE,
    ACCESS,
    AT,
    CHILDREN,
    COUNTED_IN,
    CREATED,
    FIRST_PAGE,
    HEAD,
    HITS,
    INSIDE,
    LOCKS,
    PINNED,
    PLACE,
    PRIORITY,
    STOP_PAGE,
    WRITTEN_BY,
)
from replay.kernels.cache.radix_rank import drop_leaf, rank_again
from replay.kernels.jit import inner
from replay.kernels.layout import (
    BLOCKS,
    CLASSIC_TREE,
    FIRST,
    IDLE,
    NONE,
    PINNED_IDLE,
    PINS,
    PRIORITY_OF,
    RUN_FREE,
    RUN_TOP,
    TTL_NS,
    USES,
)


@inner
def next_use(t):
    """Return the number of an operation's first use; its path gets the number after it."""
    t.counters[USES] += 2
    return t.counters[USES]


@inner
def _new_node(t):
    node = t.counters[RUN_FREE]
    if node == NONE:
        node = t.counters[RUN_TOP]
        t.counters[RUN_TOP] += 1
    else:
        t.counters[RUN_FREE] = t.nodes[node, ABOVE]
    t.nodes[node, INSIDE] = NONE
    t.nodes[node, PLACE] = NONE
    t.nodes[node, COUNTED_IN] = 0
    return node


@inner
def _page_stop(t, edge):
    return t.edges[edge, FIRST] + t.edges[edge, BLOCKS]


@inner
def _hang(t, node):
    """Make a node known where its first page is looked for."""
    edge = t.path_edges[t.nodes[node, AT]]
    if t.edges[edge, FIRST] == t.nodes[node, FIRST_PAGE]:
        t.heads[edge, HEAD] = node
    else:
        t.nodes[t.nodes[node, ABOVE], INSIDE] = node


@inner
def unhang(t, node):
    """Take a node without children out of the tree and give its row back."""
    edge = t.path_edges[t.nodes[node, AT]]
    above = t.nodes[node, ABOVE]
    if t.edges[edge, FIRST] == t.nodes[node, FIRST_PAGE]:
        t.heads[edge, HEAD] = NONE
    else:
        t.nodes[above, INSIDE] = NONE
    if above != NONE:
        t.nodes[above, CHILDREN] -= 1
    if t.rules[TTL_NS] > 0:
        take_out(t, node)
    t.counters[IDLE] -= t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]
    t.nodes[node, ABOVE] = t.counters[RUN_FREE]
    t.counters[RUN_FREE] = node


@inner
def split(t, node, page, at, use):
    """Cut a node at `page`, which lies on its path at `at` or later; return the part above."""
    while _page_stop(t, t.path_edges[at]) <= page:
        at += 1
    above = _new_node(t)
    for field in (WRITTEN_BY, AT, FIRST_PAGE, ABOVE, LOCKS, HITS, PRIORITY, CREATED, PINNED):
        t.nodes[above, field] = t.nodes[node, field]
    t.nodes[above, STOP_PAGE] = page
    t.nodes[above, CHILDREN] = 1
    if t.rules[CLASSIC_TREE]:
        t.nodes[above, CREATED] = use
    _hang(t, above)
    t.nodes[node, AT] = at
    t.nodes[node, FIRST_PAGE] = page
    t.nodes[node, ABOVE] = above
    t.nodes[node, ACCESS] = use
    _hang(t, node)
    if t.nodes[node, PLACE] != NONE:
        rank_again(t, node)
    if t.rules[TTL_NS] > 0 and t.nodes[node, LOCKS] == 0:
        use_again(t, node)
        add_youngest(t, above)
    return above


@inner
def descend(t, node, page, at, limit, use):
    """Return (node, page, at): how far a path is in the tree below `node`, at most to `limit`.

    `page` is where `node` ends (NONE and 0: the root), `at` the path's place there or before. A
    node that holds only the beginning of what follows is split.
    """
    while page < limit:
        edge = t.path_edges[at]
        while _page_stop(t, edge) <= page:
            at += 1
            edge = t.path_edges[at]
        child = t.heads[edge, HEAD] if t.edges[edge, FIRST] == page else t.nodes[node, INSIDE]
        if child == NONE:
            break
        stop = t.nodes[child, STOP_PAGE]
        wanted = min(stop, limit)
        along = t.nodes[child, AT]
        page = min(_page_stop(t, edge), wanted)
        while page < wanted and t.path_edges[along + 1] == t.path_edges[at + 1]:
            along += 1
            at += 1
            page = min(_page_stop(t, t.path_edges[at]), wanted)
        if page < stop:
            node = split(t, child, page, along, use)
            break
        node = child
    return node, page, at


@inner
def add_leaf(t, request, node, page, at, limit, use):
    """Add pages `page` to `limit` of a request's path below `node`, unlocked; return the leaf.

    What lies on pinned edges, always the beginning of a path, becomes a node of its own.
    """
    edge = t.path_edges[at]
    while _page_stop(t, edge) <= page:
        at += 1
        edge = t.path_edges[at]
    if t.rules[PINS] and t.pinned[edge] != NONE:
        start = page
        first = at
        while page < limit and t.pinned[edge] != NONE:
            page = min(_page_stop(t, edge), limit)
            if page < limit:
                at += 1
                edge = t.path_edges[at]
        node = _add_node(t, request, node, start, first, page, use)
        t.nodes[node, PINNED] = 1
        t.nodes[node, LOCKS] = 1
        t.counters[PINNED_IDLE] += page - start
        if page == limit:
            return node
        while _page_stop(t, edge) <= page:
            at += 1
            edge = t.path_edges[at]
    leaf = _add_node(t, request, node, page, at, limit, use)
    t.counters[IDLE] += limit - page
    if t.rules[TTL_NS] > 0:
        add_youngest(t, leaf)
    return leaf


@inner
def _add_node(t, request, above, page, at, limit, use):
    node = _new_node(t)
    t.nodes[node, WRITTEN_BY] = request
    t.nodes[node, AT] = at
    t.nodes[node, FIRST_PAGE] = page
    t.nodes[node, STOP_PAGE] = limit
    t.nodes[node, ABOVE] = above
    t.nodes[node, CHILDREN] = 0
    t.nodes[node, LOCKS] = 0
    t.nodes[node, HITS] = 0
    t.nodes[node, PRIORITY] = t.plan[request, PRIORITY_OF]
    t.nodes[node, CREATED] = use + 1
    t.nodes[node, PINNED] = 0
    if above != NONE:
        t.nodes[above, CHILDREN] += 1
        if t.nodes[above, PLACE] != NONE:
            drop_leaf(t, above)
    _hang(t, node)
    return node
