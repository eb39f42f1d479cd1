"""The columns of the engine's integer tables.

Kernels keep their state in a few two-dimensional integer arrays, one row a run, a hold, an edge
or a request, so that the fields of one row share a cache line. A column is written
`runs[run, STOP]`; these are the names.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from replay.kernels.cost import CostTables

NONE = -1

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

# edges int32[E, EDGE_FIELDS], int64 where 32 bits are too few for a plan: where an edge lies
FIRST = 0  # index along the prompt of the edge's first block
BLOCKS = 1  # blocks that end on the edge
STOP_TOKENS = 2  # depth of its end in tokens
EDGE_FIELDS = 3

# cuts int32[E, CUT_FIELDS], no rows but for a session store: the edges as it cuts them
PARENT = 0
STORABLE = 1  # 1 where a stored prefix may end
CUT_FIELDS = 2

# seen bool[E]: whether a request that was admitted contains the edge, or one that completed
# generated it; of all requests, whatever a pool still has

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

# watched bool[E], no rows where no prompt is watched: whether that prompt uses the edge, until its
# look-up

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
FIRST_HELD = 17  # ends of the list of requests held in flight, in order of admission; untimed
LAST_HELD = 18
NEXT_STEP = 19  # untimed: what comes next, one of the three below
PINNED_IDLE = 20  # pinned blocks that no running request holds: neither free nor in use
COUNTERS = 21

AN_ARRIVAL, A_COMPLETION, ANOTHER_LOOK = 0, 1, 2

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

BY_RECENCY, BY_FREQUENCY, BY_AGE = 0, 1, 2

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

# state int64[R, STATE_FIELDS]: where a request is
COMPUTED = 0  # tokens whose KV exists, or will once the steps in flight have ended
HELD = 1  # blocks held
PUBLISHED = 2  # blocks of its path that are held and visible to others
CURSOR = 3  # path position of the next block to publish
LAST_HOLD = 4  # set to NONE when it arrives or is looked at first; the other fields start at 0
TARGET = 5  # tokens to compute before the next one can be sampled
EMITTED = 6  # output tokens sampled
JOINED = 7  # decode step it joined the batch before
RANK = 8  # order of admission, 0 for one that never was
NEXT_RUNNING = 9  # neighbours in the list of running or held requests, by order of admission
PREVIOUS_RUNNING = 10  # chains preempted requests too
PHASE = 11  # one of the phases below
LAST_TOKEN_NS = 12
LOST = 13  # tokens it had computed when it was preempted
INSERTED = 14  # blocks of its path it has inserted, radix only
NEXT_DECODING = 15  # this and the next four: SGLANG; neighbours in the list of decodes
PREVIOUS_DECODING = 16
QUEUED = 17  # when it last joined the queue, counted
FILLED = 18  # tokens it had when it was last looked up
LOOKED = 19  # and how many of them were found
STATE_FIELDS = 20
NEXT_FILL = 14  # VLLM: neighbours among the decodes that fill a block in the same step
PREVIOUS_FILL = 15

# ENDING: its last token is sampled by a step in flight; GONE: and it lost its place meanwhile
WAITING, PREFILLING, DECODING, DONE, ENDING, GONE = 0, 1, 2, 3, 4, 5

# outcome int64[R, OUTCOME_FIELDS]: what became of it
STATUS = 0
EVICTED_BY = 1  # 1 + who evicted the first block it then missed; 0: unknown, NONE: no one request
EVICTED_AT_NS = 2  # when, where EVICTED_BY is not 0
HIT = 3
SESSION_HIT = 4
CROSS_REQUEST_HIT = 5
COLD = 6
CAPACITY_MISS = 7
IN_FLIGHT = 8
GRANULARITY = 9
DISABLED = 10
INPUT_BLOCKS = 11
HIT_BLOCKS = 12
FULL_HIT_BLOCKS = 13
EVICTED_BLOCKS = 14
FREE_AFTER = 15  # free blocks once it was admitted (held) or done, untimed only
ADMITTED_NS = 16  # untimed: the clock when it was admitted, or rejected
ATTEMPTS = 17  # look-ups made until it was admitted or rejected
EVICTED_LATER = 18  # evicted when its response was added
RESPONSE = 19  # what became of its response, one of the three below
EVICTABLE_AFTER = 20  # cached and evictable once it was admitted (held) or done
FOUND = 21  # untimed: blocks its last look-up found, whether or not it was admitted
SCHEDULED_NS = 22
FIRST_TOKEN_NS = 23
DONE_NS = 24
ITL_MAX_NS = 25
PREEMPTIONS = 26
RECOMPUTED = 27
POLICY_MISS = 28
SESSION_KEPT = 29  # tokens its session held when it was looked up
LAST_SCHEDULED_NS = 30  # when it was admitted last: again, after a preemption
LAST_HIT = 31  # tokens found in the cache then
ADMISSION = 32  # timed: its place in the order of admissions, from 1; for one never admitted, less
# than 0, the place it would have had when its prompt was counted
OUTCOME_FIELDS = 33

# rows are all 0 until a request is looked up, so that memory goes with those that were
UNFINISHED, COMPLETED, REJECTED = 0, 1, 2

RESPONSE_NONE, RESPONSE_CACHED, RESPONSE_SKIPPED = 0, 1, 2

# rules int64[RULES]: the switches of the cache and the engine
BLOCK_SIZE = 0
ENABLED = 1
PARTIAL_BLOCKS = 2
COMMIT = 3
MAX_BATCHED_TOKENS = 4
MAX_SEQUENCES = 5
CHUNKED_PREFILL = 6
HORIZON_NS = 7
RESPONSES = 8  # generated tokens stay in the cache
ROW_RESERVE = 9  # rows a step may need besides those of its admissions
KIND = 10
SESSION_CACHE = 11  # what a session wrote last is kept for it
PREFIX_STORE = 12  # prefixes are stored for every request
MIN_PREFIX_TOKENS = 13
MAX_ENTRIES = 14
ENTRY_ORDER = 15  # what stored prefixes are evicted by
SESSION_TTL_NS = 16
WHOLE_PROMPTS = 17  # a prompt is stored whole as well
HOLD_NS = 18  # untimed: how long an admitted request stays; 0 for one after another
TTL_NS = 19  # what was idle for longer is dropped; 0 for never
PINS = 20  # some edges are pinned
POLICY = 21  # what a radix cache evicts by, one of the policies below
PROTECTED_HITS = 22  # insertions that make a node protected, slru only
CLASSIC_TREE = 23  # what is split off a radix node counts as created then
WATCH = 24  # the request whose look-up is noted in `watch`, NONE for nobody's
MIXED_STEPS = 25  # 1 where a step computes prompts and decodes, 0 where one or the other
SCHEDULER = 26  # VLLM or SGLANG
ASYNC = 27  # 1 where a step is planned while the one before runs
ORDER = 28  # who is admitted first, one of the orders below
LONG_PREFILL = 29  # most prompt tokens of a request in a step while others are there; 0 for any
LONG_PREFILL_ADAPTIVE = 30  # 1 where that rises to an equal share of the step's token budget
RESERVE_FULL = 31  # 1 where a whole prompt must fit, 0 where its first chunk must
WATERMARK_BLOCKS = 32  # free blocks that an admission must leave while others run
PREFILL_INTERVAL = 33  # steps from one that computes prompts to the next that may
MAX_ACTIVE = 34  # running requests beyond which nobody is admitted
KEEP_STEPS = 35  # 1 where every step is kept in `steps`
MAX_PREFILL_TOKENS = 36  # this and the next five: SGLANG; prompt tokens of a step
CONSERVATIVENESS_PPM = 37  # parts per million
PREFILL_DECODE_INTERVAL = 38  # steps of decodes that must follow one with prompts
PREFILL_MAX_REQUESTS = 39  # prompts of a step; 0 for any number
PREEMPTION_THRESHOLD = 40  # how much more urgent a request must be than one it preempts
IGNORE_EOS = 41  # 1 where each request is known to use all its output tokens
RULES = 42

VLLM, SGLANG = 0, 1

# the places of replay.config.schedulers.ORDERS
FCFS, PRIORITY, LPM, DFS_WEIGHT, LOF, SPF, HRRN = 0, 1, 2, 3, 4, 5, 6

BLOCK_POOL, SESSION_STORE, RADIX = 0, 1, 2

BY_LRU, BY_LFU, BY_FIFO, BY_MRU, BY_FILO, BY_SLRU, BY_PRIORITY = 0, 1, 2, 3, 4, 5, 6

ON_SCHEDULE, INCREMENTAL, ON_COMPLETION = 0, 1, 2

# watch int64[*, WATCH_FIELDS], a row a block of the prompt that is watched, or no rows
HOLDER = 0  # the request that computed the copy in the cache, NONE where there is none
COMPUTING_BY = 1  # a running request that has still to publish it
LOST_TO = 2  # whose allocation evicted a copy of it last; NONE for nobody's
LOST_NS = 3  # when, NONE for never
LOST_WRITER = 4  # the request that had computed that copy
EXPIRED = 5  # 1 where it was idle for too long
WATCH_FIELDS = 6

# now int64[NOW_FIELDS]: where the engine is
CLOCK_NS = 0
DECODE_STEP = 1  # steps so far in which the decoding batch advanced
ARRIVED = 2  # requests that have arrived
NEXT_WAITING = 3  # the first of them never admitted nor rejected
PREEMPTED = 4  # top of the stack of preempted requests, chained by PREVIOUS_RUNNING
PREEMPTED_COUNT = 5
FIRST_RUNNING = 6  # ends of the list of running requests, in order of admission
LAST_RUNNING = 7
RUNNING = 8
DECODING_COUNT = 9
CONTEXT_TOKENS = 10  # KV the decoding batch will read in its next step
PREFILLING_COUNT = 11
ADMISSIONS = 12
BLOCKED = 13  # 1 while the first waiting request is known not to fit
FINISHING_COUNT = 14
PEAKS_FIRST = 15  # the window of step times that can still be a maximum
PEAKS_LAST = 16
TOTAL_PREEMPTIONS = 17
BIN_NS = 18
STARTED = 19  # 1 between the scheduling of a step and its admissions: where a pause resumes
BUDGET = 20  # what is left of the step's token budget
STEP_PREEMPTIONS = 21
NOTED_EVICTIONS = 22  # how many evictions and preemptions are in the intervals of time so far
LONGEST_START = 23  # the longest decode's context at step 0, as all grow by one a step
LONGEST_COUNT = 24  # decodes that long; 0 where they must be counted again
NOTED_PREEMPTIONS = 25
DECODED_NS = 26  # the clock when the decoding batch last advanced
NEW_COUNT = 27  # decodes that joined since then
WAITING_COUNT = 28  # requests that wait, those that were preempted too
FLIGHTS = 29  # steps in flight, and which of the two is the older
FLIGHT = 30
GPU_FREE_NS = 31  # when the step planned last ends
CAP = 32  # most prompt tokens of one request in the step being planned
IS_HELD = 33  # 1 where that computes no prompts, as it is too early
LEFT_NOBODY = 34  # 1 where the last step that was not held left nobody waiting
SINCE_PREFILL = 35  # steps since one computed prompts
STALLED_COUNT = 36  # decodes that got no token in the step being planned
CALL_ADMITTED = 37  # requests admitted in it
CALL_EVICTIONS = 38  # evictions before it
STEPS_KEPT = 39  # rows of `steps` in use
HEAPED = 40  # requests in the heap of those that wait
OPENING = 41  # decodes that open a block in the step being planned
NOW_FIELDS = 42

# flights int64[2, FLIGHT_FIELDS]: the steps in flight, each with rows of `ending` and `bringing`
END_NS = 0
ENDING_COUNT = 1  # requests that it completes
BRINGING_COUNT = 2  # requests that have something to publish once it has ended
HAD_PROMPTS = 3
FLIGHT_FIELDS = 4

# bins int64[*, BIN_FIELDS]: what happened in each interval of time
STEPS = 0
BUSY_NS = 1
PREFILL_TOKENS = 2
DECODE_TOKENS = 3
RUNNING_NS = 4
WAITING_NS = 5
USED_BLOCK_NS = 6
CACHED_BLOCK_NS = 7
BIN_EVICTED = 8
BIN_PREEMPTIONS = 9
WAITING_MAX = 10  # the most that waited during one step; all other fields are sums
BIN_FIELDS = 11

# steps int64[*, STEP_FIELDS], a row a step that is kept, or no rows
STEP_START_NS = 0
STEP_DURATION_NS = 1  # 0 where a plan preempted and computed nothing
STEP_AHEAD_NS = 2  # from its planning to its start
STEP_KIND = 3  # one of the kinds below
STEP_PREFILL_REQUESTS = 4  # requests that computed tokens before their next sample
STEP_PREFILL_TOKENS = 5
STEP_DECODE_TOKENS = 6  # one a decoding request
STEP_DECODE_CONTEXT = 7  # keys that these attended to in sum, their own included
STEP_SAMPLED = 8  # tokens sampled, those of prompts that ended among them
STEP_ADMITTED = 9
STEP_RUNNING = 10  # this and the next two: once the step was planned
STEP_WAITING = 11
STEP_FREE_BLOCKS = 12  # cached idle blocks are free
STEP_PREEMPTED = 13
STEP_EVICTED_BLOCKS = 14
STEP_EVICTABLE_BLOCKS = 15  # cached and idle, among the free ones; as they are once it was planned
STEP_RATIO_E9 = 16  # the new-token ratio times 1e9; SGLANG
STEP_FIELDS = 17

OF_PROMPTS, OF_DECODES, OF_BOTH, OF_NOTHING = 0, 1, 2, 3


class Tables(NamedTuple):
    """The tables of a replay, as the kernels pass them around: flat, in groups by their owner.

    What is of the trace is read only, and one for all pools that replay it. What is of the
    requests is one for all pools as well. The rest is one pool's, and nobody else's: another pool
    has arrays of its own there, or rows of its own in the same arrays.
    """

    # of the trace
    rules: np.ndarray
    plan: np.ndarray
    path_edges: np.ndarray
    edges: np.ndarray
    cuts: np.ndarray
    # of the requests
    state: np.ndarray
    outcome: np.ndarray
    seen: np.ndarray
    # of one pool
    counters: np.ndarray
    heads: np.ndarray
    totals: np.ndarray
    taken: np.ndarray
    pinned: np.ndarray
    runs: np.ndarray
    holds: np.ndarray
    released: np.ndarray
    marks: np.ndarray
    sessions: np.ndarray
    entries: np.ndarray
    by_worth: np.ndarray
    nodes: np.ndarray  # see radix_layout.py
    leaves: np.ndarray
    ages: np.ndarray
    watched: np.ndarray
    watch: np.ndarray


class RadixTables(Tables):
    """The tables of a radix cache: of another type, so that kernels are compiled for it."""

    __slots__ = ()


class StoreTables(Tables):
    """The tables of a session store: of another type, so that kernels are compiled for it."""

    __slots__ = ()


class Engine(NamedTuple):
    """What the timed engine keeps besides the pool, and what a step costs."""

    now: np.ndarray
    finishing: np.ndarray  # heap int64[max_sequences, 3], see heap.py: who decodes
    waiting: np.ndarray  # heap int64[R, 3] of who waits, by priority; no rows where that is fcfs
    prefilling: np.ndarray  # int64[max_sequences], running prompts in order of admission
    chunks: np.ndarray  # int64[max_sequences], tokens of each in this step
    new: np.ndarray  # int64[max_sequences], decodes that joined since the batch last advanced
    phases: np.ndarray  # int64[block_size], decoding requests that open a block, by step modulo
    fills: np.ndarray  # int64[block_size, 2], first and last of those whose responses others have,
    # or no rows where none are
    stalled: np.ndarray  # int64[max_sequences], decodes that got no token in the step
    flights: np.ndarray  # int64[2, FLIGHT_FIELDS]
    ending: np.ndarray  # int64[2, max_sequences], who completes with a flight, by admission
    bringing: np.ndarray  # int64[2, 2 * max_sequences, 2], request and the tokens it may publish
    peaks: np.ndarray  # int64[*, 2], (step, ns): step times no later step has exceeded
    bins: np.ndarray
    cost: CostTables
    chunk_sums: np.ndarray  # float64[K, SUMS], the prompt chunks of the step, see cost.py
    steps: np.ndarray  # int64[*, STEP_FIELDS], the steps that are kept
