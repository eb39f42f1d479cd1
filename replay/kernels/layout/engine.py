"""What is of one engine: where it is in time, and the steps it made."""

from __future__ import annotations

# untimed int64[UNTIMED_FIELDS]: where a replay without a GPU is
FIRST_HELD = 0  # ends of the list of requests held in flight, in order of admission
LAST_HELD = 1
NEXT_STEP = 2  # what comes next, one of the three below
UNTIMED_FIELDS = 3

AN_ARRIVAL, A_COMPLETION, ANOTHER_LOOK = 0, 1, 2

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
FLIGHT_FIELDS = 3

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
