"""What is of the requests, whatever pool they use: where each is, and what became of it."""

from __future__ import annotations

# state int64[R, STATE_FIELDS]: where a request is, for whoever runs it; all 0 at first
COMPUTED = 0  # tokens whose KV exists, or will once the steps in flight have ended
TARGET = 1  # tokens to compute before the next one can be sampled
EMITTED = 2  # output tokens sampled
JOINED = 3  # decode step it joined the batch before
RANK = 4  # order of admission, 0 for one that never was
NEXT_RUNNING = 5  # neighbours in the list of running or held requests, by order of admission
PREVIOUS_RUNNING = 6  # chains preempted requests too
PHASE = 7  # one of the phases below
LAST_TOKEN_NS = 8
LOST = 9  # tokens it had computed when it was preempted
NEXT_DECODING = 10  # this and the next four: SGLANG; neighbours in the list of decodes
PREVIOUS_DECODING = 11
QUEUED = 12  # when it last joined the queue, counted
FILLED = 13  # tokens it had when it was last looked up
LOOKED = 14  # and how many of them were found
STATE_FIELDS = 15
NEXT_FILL = 10  # VLLM: neighbours among the decodes that fill a block in the same step
PREVIOUS_FILL = 11

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

# seen bool[E]: whether a request that was admitted contains the edge, or one that completed
# generated it; of all requests, whatever a pool still has
