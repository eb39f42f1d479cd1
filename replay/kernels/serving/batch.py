"""The requests an engine is running: joining, growing, finishing, losing their place.

All decoding requests advance one token in every step, so none of them is visited in a step: a
request's tokens follow from the step it joined before, the blocks a step opens from a count by step
modulo block size, the KV it reads from one running sum, and the requests it finishes from a heap.
What a step computes and samples is settled when it is planned, with the time at which it will end.
"""

from __future__ import annotations

from replay.kernels.cache.verbs import publish, release
from replay.kernels.jit import inner
from replay.kernels.layout import (
    ADMISSIONS,
    ASYNC,
    BLOCK_POOL,
    BLOCK_SIZE,
    BLOCKED,
    BUDGET,
    CLOCK_NS,
    COMMIT,
    COMPUTED,
    CONTEXT_TOKENS,
    DECODE_STEP,
    DECODED_NS,
    DECODING,
    DECODING_COUNT,
    EMITTED,
    ENABLED,
    ENDING,
    FINISHING_COUNT,
    FIRST_RUNNING,
    FIRST_TOKEN_NS,
    GONE,
    HELD,
    INPUT_TOKENS,
    ITL_MAX_NS,
    JOINED,
    KIND,
    LAST_RUNNING,
    LAST_TOKEN_NS,
    LONGEST_COUNT,
    LONGEST_START,
    LOST,
    NEW_COUNT,
    NEXT_RUNNING,
    NONE,
    ON_COMPLETION,
    ON_SCHEDULE,
    OUTPUT_TOKENS,
    PHASE,
    PREEMPTIONS,
    PREFILLING,
    PREFILLING_COUNT,
    PREVIOUS_RUNNING,
    RANK,
    RUNNING,
    STEP_PREEMPTIONS,
    TARGET,
    TOTAL_PREEMPTIONS,
    WAITING_COUNT,
)
from replay.kernels.serving.fills import add_fill, drop_fill, opens_at, visible_blocks
from replay.kernels.serving.gaps import forget_new, longest_step_since
from replay.kernels.serving.heap import push, remove
from replay.kernels.serving.links import put_last, take_from
from replay.kernels.serving.waiting import put_back

RUNNING_LIST = (NEXT_RUNNING, PREVIOUS_RUNNING, FIRST_RUNNING, LAST_RUNNING)

# --- the list of running requests, by order of admission ------------------------------------


@inner
def start_running(t, e, request):
    """Put a request at the end of the running list and of the prompts being computed."""
    now = e.now
    put_last(t.state, now, request, RUNNING_LIST)
    now[RUNNING] += 1
    now[ADMISSIONS] += 1
    t.state[request, RANK] = now[ADMISSIONS]
    t.state[request, PHASE] = PREFILLING
    e.prefilling[now[PREFILLING_COUNT]] = request
    now[PREFILLING_COUNT] += 1


@inner
def stop_running(t, e, request):
    """Take a request out of the running list."""
    take_from(t.state, e.now, request, RUNNING_LIST)
    e.now[RUNNING] -= 1
    e.now[BLOCKED] = 0  # its blocks are free: the first waiting request may fit now


# --- the longest context that decodes ------------------------------------------------------


@inner
def _context_start(t, request):
    """Return a decoding request's context less the step: the same for as long as it decodes."""
    return t.state[request, TARGET] + 1 - t.state[request, JOINED]


@inner
def _count_longest(t, e, request):
    """Count a request that has just joined the decodes among the longest, where these are known."""
    now = e.now
    start = _context_start(t, request)
    if now[DECODING_COUNT] == 1 or (now[LONGEST_COUNT] > 0 and start > now[LONGEST_START]):
        now[LONGEST_START] = start
        now[LONGEST_COUNT] = 1
    elif now[LONGEST_COUNT] > 0 and start == now[LONGEST_START]:
        now[LONGEST_COUNT] += 1


@inner
def longest_context(t, e):
    """Return the most keys that one decode of this step attends to.

    The longest are known until the last of them leaves; only then are all running requests seen.
    """
    now = e.now
    request = now[FIRST_RUNNING]
    if now[LONGEST_COUNT] == 0:
        now[LONGEST_START] = -now[DECODE_STEP]
        while request != NONE:
            if t.state[request, PHASE] == DECODING:
                start = _context_start(t, request)
                if start > now[LONGEST_START]:
                    now[LONGEST_START] = start
                    now[LONGEST_COUNT] = 0
                if start == now[LONGEST_START]:
                    now[LONGEST_COUNT] += 1
            request = t.state[request, NEXT_RUNNING]
    return now[LONGEST_START] + now[DECODE_STEP]


# --- joining and leaving the decodes --------------------------------------------------------


@inner
def _blocks_of(t, tokens):
    return (tokens + t.rules[BLOCK_SIZE] - 1) // t.rules[BLOCK_SIZE]


@inner
def opens_block_now(t, e, request):
    """Return whether a decoding request needs a new block in the step being planned."""
    return e.now[DECODE_STEP] % t.rules[BLOCK_SIZE] == opens_at(t, request)


@inner
def join_decodes(t, e, request):
    """Let a request with tokens left decode from the next step on."""
    now = e.now
    left = t.plan[request, OUTPUT_TOKENS] - t.state[request, EMITTED]
    t.state[request, PHASE] = DECODING
    t.state[request, JOINED] = now[DECODE_STEP]
    now[DECODING_COUNT] += 1
    now[CONTEXT_TOKENS] += t.state[request, TARGET] + 1
    _count_longest(t, e, request)
    e.phases[opens_at(t, request)] += 1
    add_fill(t, e, request)
    e.new[now[NEW_COUNT]] = request
    now[NEW_COUNT] += 1
    now[FINISHING_COUNT] = push(
        e.finishing,
        now[FINISHING_COUNT],
        now[DECODE_STEP] + left,
        t.state[request, RANK],
        request,
    )


@inner
def leave_decodes(t, e, request, scheduled):
    """Take a decoding request out of the running sums and settle how far it came.

    It is in the heap no more. `scheduled` is 1 where the step being planned has given it a block
    already, if it opens one.
    """
    now = e.now
    state = t.state
    steps = now[DECODE_STEP] - state[request, JOINED]
    state[request, COMPUTED] = state[request, TARGET] + steps
    state[request, EMITTED] += steps
    t.holdings[request, HELD] = _blocks_of(t, state[request, COMPUTED] + scheduled)
    now[DECODING_COUNT] -= 1
    now[CONTEXT_TOKENS] -= state[request, COMPUTED] + 1
    if _context_start(t, request) == now[LONGEST_START]:
        now[LONGEST_COUNT] = max(now[LONGEST_COUNT] - 1, 0)
    e.phases[opens_at(t, request)] -= 1
    drop_fill(t, e, request)
    if steps > 0:
        longest = longest_step_since(e, state[request, JOINED] + 1)
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], longest)
        state[request, LAST_TOKEN_NS] = now[DECODED_NS]
    else:
        forget_new(e, request)


@inner
def sample_first(t, e, request, end_ns):
    """Count the token that a computed prompt samples at `end_ns`; return whether more follow."""
    state = t.state
    if state[request, EMITTED] == 0:
        t.outcome[request, FIRST_TOKEN_NS] = end_ns
    else:  # preempted while decoding: everything since its last token was one long gap
        gap = end_ns - state[request, LAST_TOKEN_NS]
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], gap)
    state[request, EMITTED] += 1
    state[request, LAST_TOKEN_NS] = end_ns
    return state[request, EMITTED] < t.plan[request, OUTPUT_TOKENS]


# --- losing one's place ---------------------------------------------------------------------


@inner
def _published_tokens(t, e, request, scheduled):
    """Return how many tokens of a decode's KV are published when it is preempted.

    Its last token is unknown while the step that samples it is in flight, and what a step fills
    is published when it is planned, or, planned ahead, when the next one is.
    """
    computed = t.state[request, COMPUTED]
    in_flight = t.rules[ASYNC] and t.state[request, LAST_TOKEN_NS] > e.now[CLOCK_NS]
    if t.rules[COMMIT] == ON_SCHEDULE and scheduled:
        return computed + 1 - t.rules[ASYNC]
    return computed - in_flight


@inner
def _keep_computed(t, e, request, scheduled):
    """Publish the blocks that a decode has filled so far, which stay in the cache until evicted."""
    decoded = t.state[request, COMPUTED] - t.state[request, TARGET] + scheduled
    keeps = t.rules[KIND] == BLOCK_POOL and t.rules[COMMIT] != ON_COMPLETION
    if t.rules[ENABLED] and keeps and decoded > 0:
        tokens = _published_tokens(t, e, request, scheduled)
        publish(t, request, visible_blocks(t, request, tokens))


@inner
def preempt(t, e, request, scheduled):
    """Send a running request back to the head of the queue without its KV.

    What it had published stays in the cache until evicted, as in vLLM, also what it published in
    the step being planned, where `scheduled` is 1 if that had given it tokens: they are given back.
    One whose last token is in flight waits for nothing but that.
    """
    now = e.now
    state = t.state
    phase = state[request, PHASE]
    if phase == PREFILLING:
        kept = 0
        for at in range(now[PREFILLING_COUNT]):
            if e.prefilling[at] == request:
                now[BUDGET] += e.chunks[at]
            else:
                e.prefilling[kept] = e.prefilling[at]
                e.chunks[kept] = e.chunks[at]
                kept += 1
        now[PREFILLING_COUNT] = kept
    else:
        if phase == DECODING:
            now[FINISHING_COUNT] = remove(e.finishing, now[FINISHING_COUNT], request)
            leave_decodes(t, e, request, scheduled)
            now[BUDGET] += scheduled
        _keep_computed(t, e, request, scheduled * (phase == DECODING))
    release(t, request)
    stop_running(t, e, request)
    now[WAITING_COUNT] += 1
    if phase == ENDING:
        state[request, PHASE] = GONE
    else:
        put_back(t, e, request)
        state[request, LOST] = state[request, COMPUTED]
        state[request, COMPUTED] = 0
        state[request, TARGET] = t.plan[request, INPUT_TOKENS] + state[request, EMITTED]
    now[STEP_PREEMPTIONS] += 1
    now[TOTAL_PREEMPTIONS] += 1
    t.outcome[request, PREEMPTIONS] += 1
