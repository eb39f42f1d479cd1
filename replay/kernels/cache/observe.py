"""Note block by block what one prompt finds in the cache: for telling the story of its hits.

One request of a replay can be watched (WATCH). Of each block of its prompt the table `watch` says
who computed the copy in the cache at the moment of the look-up, which running request computes
one, and, of the last copy that was evicted before that, who had computed it, whose allocation
took it, and when. Nothing in the replay depends on it, and a replay that watches nobody has no
rows here. Worked example, request 3 looks up four blocks at 90 ns:

    block  HOLDER  COMPUTING  LOST_TO  LOST_NS  LOST_WRITER
    0      0       NONE       NONE     NONE     NONE           request 0 put it there
    1      0       NONE       1        40       0              evicted, and put there again since
    2      NONE    NONE       2        70       0              evicted for request 2
    3      NONE    2          NONE     NONE     NONE           request 2 is computing it

After the look-up no more evictions are noted.
"""

from __future__ import annotations

from replay.kernels.cache.in_flight import shared_blocks
from replay.kernels.cache.radix_layout import ABOVE, FIRST_PAGE, STOP_PAGE, WRITTEN_BY
from replay.kernels.jit import by_tables, inner, rare
from replay.kernels.layout import (
    BLOCK_SIZE,
    COMPUTING_BY,
    EXPIRED,
    FIRST,
    HOLDER,
    LAST_HOLD,
    LOST_NS,
    LOST_TO,
    LOST_WRITER,
    NEXT_RUNNING,
    NONE,
    NOW_NS,
    OLDEST_RUN,
    OWNER,
    PATH_PROMPT_STOP,
    PATH_START,
    PROMPT_BLOCKS,
    PUBLISHED,
    SIBLING,
    START,
    STOP,
    RadixTables,
)


@inner
def note_loss(t, edge, first, stop, writer, request, now_ns):
    """Note that blocks first..stop of an edge, computed by `writer`, were evicted for `request`.

    Blocks are counted from the edge's first. What expired was lost before the clock came to now.
    """
    if t.watched.size > 0 and t.watched[edge]:
        _note_loss(t, edge, first, stop, writer, request, now_ns)


@rare
def _note_loss(t, edge, first, stop, writer, request, now_ns):
    for block in range(t.edges[edge, FIRST] + first, t.edges[edge, FIRST] + stop):
        t.watch[block, LOST_TO] = request
        t.watch[block, LOST_NS] = now_ns
        t.watch[block, LOST_WRITER] = writer
        t.watch[block, EXPIRED] = now_ns < t.counters[NOW_NS]


@rare
def observe(t, request, oldest):
    """Note who put there, or computes, the blocks of the watched request's prompt.

    `oldest` starts the list of running requests, the request itself not among them yet.
    """
    _observe_holders(t, request)
    other = oldest
    while other != NONE:
        start = t.holdings[other, PUBLISHED]
        if start < t.plan[other, PROMPT_BLOCKS]:
            stop = shared_blocks(t, request, other, t.rules[BLOCK_SIZE])
            for block in range(start, min(stop, t.watch.shape[0])):
                if t.watch[block, COMPUTING_BY] == NONE:
                    t.watch[block, COMPUTING_BY] = other
        other = t.state[other, NEXT_RUNNING]
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_PROMPT_STOP]):
        t.watched[t.path_edges[at]] = False


@by_tables
def _observe_holders(kind):
    return _observe_nodes if kind is RadixTables else _observe_runs


@inner
def _observe_runs(t, request):
    """Note the runs of a block pool; of several copies of a block the oldest, which comes first."""
    for at in range(t.plan[request, PATH_START], t.plan[request, PATH_PROMPT_STOP]):
        edge = t.path_edges[at]
        first = t.edges[edge, FIRST]
        run = t.heads[edge, OLDEST_RUN]
        while run != NONE:
            for block in range(first + t.runs[run, START], first + t.runs[run, STOP]):
                if t.watch[block, HOLDER] == NONE:
                    t.watch[block, HOLDER] = t.runs[run, OWNER]
            run = t.runs[run, SIBLING]


@inner
def _observe_nodes(t, request):
    """Note the nodes of a radix cache that the request has just locked."""
    node = t.holdings[request, LAST_HOLD]
    while node != NONE:
        for page in range(t.nodes[node, FIRST_PAGE], t.nodes[node, STOP_PAGE]):
            t.watch[page, HOLDER] = t.nodes[node, WRITTEN_BY]
        node = t.nodes[node, ABOVE]
