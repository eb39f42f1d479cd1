"""What a replay goes by: the switches of the cache and of the engine. Nobody writes them."""

from __future__ import annotations

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

BY_RECENCY, BY_FREQUENCY, BY_AGE = 0, 1, 2

BY_LRU, BY_LFU, BY_FIFO, BY_MRU, BY_FILO, BY_SLRU, BY_PRIORITY = 0, 1, 2, 3, 4, 5, 6

ON_SCHEDULE, INCREMENTAL, ON_COMPLETION = 0, 1, 2
