"""What is of the trace: what each request asks for, and where edges lie in the prefix tree.

Nobody writes it, so any number of pools and replays go by the same.
"""

from __future__ import annotations

# plan int64[R, PLAN_FIELDS]: what a request asks for
ARRIVAL_NS = 0
INPUT_TOKENS = 1
OUTPUT_TOKENS = 2
SESSION = 3  # counted from 0, NONE where it has none
PATH_START = 4  # its edges in path_edges: prompt first, then response
PATH_PROMPT_STOP = 5  # end of the edges that can be looked up
PATH_STOP = 6
PROMPT_BLOCKS = 7  # blocks of the prompt that can be cached
MATCH_BLOCKS = 8  # the most that may be reused
PATH_BLOCKS = 9  # prompt and response blocks that can be cached
PRIORITY_OF = 10  # of the request; a cache keeps higher longer, SGLANG runs it first, VLLM last
SKIPS = 11  # 1 where no look-up is made: it reuses nothing, and leaves what it computes
SHARES = 12  # 1 where others have tokens of its response, so that it matters when it is published
PLAN_FIELDS = 13

# path_edges int32[*]: the edges of one request after the other, see PATH_START

# edges int32[E, EDGE_FIELDS], int64 where 32 bits are too few for a plan: where an edge lies
FIRST = 0  # index along the prompt of the edge's first block
BLOCKS = 1  # blocks that end on the edge
STOP_TOKENS = 2  # depth of its end in tokens
EDGE_FIELDS = 3

# cuts int32[E, CUT_FIELDS], no rows but for a session store: the edges as it cuts them
PARENT = 0
STORABLE = 1  # 1 where a stored prefix may end
CUT_FIELDS = 2
