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
below unlocked ones. Tables and their columns: layout.py, radix_layout.py.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import (
    BLOCKS,
    CLASSIC_TREE,
    FIRST,
    IDLE,
    NONE,
    PRIORITY_OF,
    RUN_FREE,
    RUN_TOP,
    USES,
)
from replay.kernels.radix_layout import (
    ABOVE,
    ACCESS,
    AT,
    CHILDREN,
    CREATED,
    FIRST_PAGE,
    HEAD,
    HITS,
    INSIDE,
    LOCKS,
    PLACE,
    PRIORITY,
    STOP_PAGE,
    WRITTEN_BY,
)
from replay.kernels.radix_rank import drop_leaf, rank_again


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
    return node


@inner
def _page_stop(t, edge):
    return t.edges[edge, FIRST] + t.edges[edge, BLOCKS]


@inner
def _hang(t, node):
    """Make a node known where its first page is looked for."""
    edge = t.path_edges[t.nodes[node, AT]]
    if t.edges[edge, FIRST] == t.nodes[node, FIRST_PAGE]:
        t.edges[edge, HEAD] = node
    else:
        t.nodes[t.nodes[node, ABOVE], INSIDE] = node


@inner
def unhang(t, node):
    """Take a node without children out of the tree and give its row back."""
    edge = t.path_edges[t.nodes[node, AT]]
    above = t.nodes[node, ABOVE]
    if t.edges[edge, FIRST] == t.nodes[node, FIRST_PAGE]:
        t.edges[edge, HEAD] = NONE
    else:
        t.nodes[above, INSIDE] = NONE
    if above != NONE:
        t.nodes[above, CHILDREN] -= 1
    t.counters[IDLE] -= t.nodes[node, STOP_PAGE] - t.nodes[node, FIRST_PAGE]
    t.nodes[node, ABOVE] = t.counters[RUN_FREE]
    t.counters[RUN_FREE] = node


@inner
def split(t, node, page, at, use):
    """Cut a node at `page`, which lies on its path at `at` or later; return the part above."""
    while _page_stop(t, t.path_edges[at]) <= page:
        at += 1
    above = _new_node(t)
    for field in (WRITTEN_BY, AT, FIRST_PAGE, ABOVE, LOCKS, HITS, PRIORITY, CREATED):
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
        child = t.edges[edge, HEAD] if t.edges[edge, FIRST] == page else t.nodes[node, INSIDE]
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
    """Add pages `page` to `limit` of a request's path below `node`, unlocked; return the leaf."""
    while _page_stop(t, t.path_edges[at]) <= page:
        at += 1
    leaf = _new_node(t)
    t.nodes[leaf, WRITTEN_BY] = request
    t.nodes[leaf, AT] = at
    t.nodes[leaf, FIRST_PAGE] = page
    t.nodes[leaf, STOP_PAGE] = limit
    t.nodes[leaf, ABOVE] = node
    t.nodes[leaf, CHILDREN] = 0
    t.nodes[leaf, LOCKS] = 0
    t.nodes[leaf, HITS] = 0
    t.nodes[leaf, PRIORITY] = t.plan[request, PRIORITY_OF]
    t.nodes[leaf, CREATED] = use + 1
    if node != NONE:
        t.nodes[node, CHILDREN] += 1
        if t.nodes[node, PLACE] != NONE:
            drop_leaf(t, node)
    _hang(t, leaf)
    t.counters[IDLE] += limit - page
    return leaf
