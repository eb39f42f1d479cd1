"""What is of one pool: the blocks that it has, by run, by edge and by request, and how they go.

Another pool has all of this for itself. The nodes of a radix cache, which stand in the place of
runs and holds, have their columns in replay/kernels/cache/radix_layout.py.
"""

from __future__ import annotations

# counters int64[COUNTERS]: the pool as a whole
CAPACITY = 0  # blocks
UNKEYED = 1  # free blocks without content: they are taken first
IDLE = 2  # free blocks with content, in the recency list
OLDEST = 3  # ends of the recency list
YOUNGEST = 4
EVICTIONS = 5
RUN_TOP = 6  # rows ever used, and the chain of those given back
RUN_FREE = 7
HOLD_TOP = 8
HOLD_FREE = 9
NOW_NS = 10  # the clock, for what expires
USES = 11  # counts every use of a session or stored prefix: the order of recency
OLDEST_SESSION = 12  # ends of the sessions' recency list
YOUNGEST_SESSION = 13
ENTRIES = 14  # stored prefixes, the first rows of the heap over them
ENTRY_TOP = 15  # rows ever used, and the chain of those given back
ENTRY_FREE = 16
PINNED_IDLE = 17  # pinned blocks that no running request holds: neither free nor in use
COUNTERS = 18

# holdings int64[R, HOLDING_FIELDS]: what a request has of a pool, for the cache's kernels
HELD = 0  # blocks held
PUBLISHED = 1  # blocks of its path that are held and visible to others
CURSOR = 2  # path position of the next block to publish
LAST_HOLD = 3  # set to NONE when it arrives or is looked at first; the other fields start at 0
INSERTED = 4  # blocks of its path it has inserted, radix only
HOLDING_FIELDS = 5

# heads int32[E, HEAD_FIELDS], no rows for a session store: where what a pool has of an edge starts
OLDEST_RUN = 0
YOUNGEST_RUN = 1
HEAD_FIELDS = 2

# totals int64[E, TOTAL_FIELDS]: what a pool did with the edge in all, in blocks
REUSED = 0  # hit
EVICTED = 1
TOTAL_FIELDS = 2

# taken int64[E, TAKEN_FIELDS]: what an edge lost last
TAKEN_BY = 0  # whose allocation evicted it; NONE for nobody's
TAKEN_NS = 1  # when
TAKEN_FROM = 2  # which blocks, counted from the edge's first; all 0 while it lost nothing
TAKEN_TO = 3
TAKEN_FIELDS = 4

# pinned int64[E], no rows where nothing is pinned: how many blocks of the edge are, from its first
# one on; NONE where the edge is not to be pinned

# runs int32[*, RUN_FIELDS]: neighbouring blocks of one edge with the same history
EDGE = 0  # the edge they lie on
START = 1  # first block, counted from the edge's first block
STOP = 2  # one past the last block; eviction trims from here
REFERENCES = 3  # running requests that hold the run
OWNER = 4  # request that computed it
OLDER = 5  # neighbour towards the least recently used end
NEWER = 6  # neighbour towards the most recently used end; chains free rows too
SIBLING = 7  # next run on the same edge, in order of creation
UPPER = 8  # the run split off above this one; what held this before the split holds that too
PINNED = 9  # 1 where it is never evicted
RUN_FIELDS = 10

# released int64[*], a row a run, or no rows where nothing expires: when it was last given back

# holds int32[*, HOLD_FIELDS]: a request's claim on blocks FROM..TO of a run and of its uppers
RUN = 0
FROM = 1
TO = 2
BELOW = 3  # the claim made before this one; chains free rows too
HOLD_FIELDS = 4

# marks int32[E, MARK_FIELDS]: what a session store knows of an edge
HOLDERS = 0  # sessions and stored prefixes that hold it
USERS = 1  # running requests that share it
COMPUTING = 2  # running requests that compute it for themselves
ENTRY = 3  # the stored prefix that ends with it
EVER = 4  # 1 once it was shared
MARK_FIELDS = 5

# sessions int64[S, SESSION_FIELDS]: the sequence each session wrote last
HELD_EDGE = 0  # the last edge of it that is kept, NONE for nothing
WRITER = 1  # the request whose path it is
USED_NS = 2
USED = 3
OLDER_SESSION = 4
NEWER_SESSION = 5
SESSION_FIELDS = 6

# entries int64[N, ENTRY_FIELDS]: the stored prefixes; `by_worth` int64[N] is a heap of their rows
LAST_EDGE = 0
RANK_FIRST = 1  # what the policy evicts by, smallest first: RANK_FIRST, then RANK_NEXT
RANK_NEXT = 2
LAST_USED = 3
PLACE = 4  # in the heap; chains free rows too
ENTRY_FIELDS = 5

# watched bool[E], no rows where no prompt is watched: whether that prompt uses the edge, until its
# look-up

# watch int64[*, WATCH_FIELDS], a row a block of the prompt that is watched, or no rows
HOLDER = 0  # the request that computed the copy in the cache, NONE where there is none
COMPUTING_BY = 1  # a running request that has still to publish it
LOST_TO = 2  # whose allocation evicted a copy of it last; NONE for nobody's
LOST_NS = 3  # when, NONE for never
LOST_WRITER = 4  # the request that had computed that copy
EXPIRED = 5  # 1 where it was idle for too long
WATCH_FIELDS = 6
