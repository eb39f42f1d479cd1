"""The columns of a radix cache's nodes and of the heap of those that can be evicted."""

from __future__ import annotations

# nodes int64[*, NODE_FIELDS]: stretches of pages that came into the cache together
WRITTEN_BY = 0  # the request on whose path it lies: the one that inserted it
AT = 1  # place in path_edges of the edge that holds its first page
FIRST_PAGE = 2  # counted from the start of the prompt
STOP_PAGE = 3
ABOVE = 4  # its parent, NONE below the root; chains free rows too
INSIDE = 5  # the child that goes on inside the edge on which it ends
CHILDREN = 6
LOCKS = 7  # running requests that use it
HITS = 8  # requests that inserted it, or what it was split from
PRIORITY = 9  # the highest of those
ACCESS = 10  # the number of its last use
CREATED = 11  # the number of the use that made it
PLACE = 12  # row in the heap; NONE while it cannot be evicted
PINNED = 13  # 1 where it stays for good: it has a lock that is never taken away
WEIGHT = 14  # waiting requests whose prefix ends in its subtree, for an order of the queue
COUNTED_IN = 15  # the pass in which that was counted
NODE_FIELDS = 16  # a row is two cache lines

# ages int64[*, AGE_FIELDS], a row a node, or no rows where nothing expires: the unlocked nodes in
# order of last use, a child before its parent
USED_NS = 0
OLDER = 1  # neighbour towards the one used longest ago
NEWER = 2
AGE_FIELDS = 3

# heads int32[E, RADIX_HEAD_FIELDS]
HEAD = 0  # the node that starts with the edge's first page
RADIX_HEAD_FIELDS = 1

# leaves int64[*, LEAF_FIELDS]: a heap of the unlocked nodes without children, smallest rank first
RANK_FIRST = 0
RANK_NEXT = 1
LEAF = 2
LEAF_FIELDS = 3
