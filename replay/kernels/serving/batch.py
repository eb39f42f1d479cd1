"""The requests an engine is running: joining, growing, finishing, losing their place.

All decoding requests advance one token in every step, so none of them is visited in a step: a
request's tokens follow from the step it joined at, the blocks a step opens from a count by step
modulo block size, the KV it reads from one running sum, and the requests it finishes from a heap.
"""

from __future__ import annotations

from replay.kernels.cache.causes import mark_response_seen
from replay.kernels.cache.verbs import publish, release
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ADMISSIONS,
    BLOCK_SIZE,
    BLOCKED,
    CLOCK_NS,
    COMMIT,
    COMPLETED,
    COMPUTED,
    CONTEXT_TOKENS,
    DECODE_STEP,
    DECODED_NS,
    DECODING,
    DECODING_COUNT,
    DONE,
    DONE_NS,
    EMITTED,
    ENABLED,
    FINISHING_COUNT,
    FIRST_RUNNING,
    FIRST_TOKEN_NS,
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
    OUTPUT_TOKENS,
    PARTIAL_BLOCKS,
    PATH_BLOCKS,
    PEAKS_FIRST,
    PEAKS_LAST,
    PHASE,
    PREEMPTED,
    PREEMPTED_COUNT,
    PREEMPTIONS,
    PREFILLING,
    PREFILLING_COUNT,
    PREVIOUS_RUNNING,
    PROMPT_BLOCKS,
    RADIX,
    RANK,
    RUNNING,
    STATUS,
    STEP_PREEMPTIONS,
    TARGET,
    TOTAL_PREEMPTIONS,
    WAITING,
)
from replay.kernels.serving.heap import STEP, WHO, pop, push, remove

# --- the list of running requests, by order of admission ------------------------------------


@inner
def start_running(t, e, request):
    """Put a request at the end of the running list and of the prompts being computed."""
    now = e.now
    last = now[LAST_RUNNING]
    t.state[request, PREVIOUS_RUNNING] = last
    t.state[request, NEXT_RUNNING] = NONE
    if last == NONE:
        now[FIRST_RUNNING] = request
    else:
        t.state[last, NEXT_RUNNING] = request
    now[LAST_RUNNING] = request
    now[RUNNING] += 1
    now[ADMISSIONS] += 1
    t.state[request, RANK] = now[ADMISSIONS]
    t.state[request, PHASE] = PREFILLING
    e.prefilling[now[PREFILLING_COUNT]] = request
    now[PREFILLING_COUNT] += 1


@inner
def _stop_running(t, e, request):
    now = e.now
    before = t.state[request, PREVIOUS_RUNNING]
    after = t.state[request, NEXT_RUNNING]
    if before == NONE:
        now[FIRST_RUNNING] = after
    else:
        t.state[before, NEXT_RUNNING] = after
    if after == NONE:
        now[LAST_RUNNING] = before
    else:
        t.state[after, PREVIOUS_RUNNING] = before
    now[RUNNING] -= 1
    now[BLOCKED] = 0  # its blocks are free: the first waiting request may fit now


# --- step times that can still be somebody's longest gap ------------------------------------


@inner
def record_step(t, e):
    """Remember the time since the batch last advanced; forget what is nobody's maximum now.

    Those that joined since then waited from a token of their own on: that gap is theirs alone.
    """
    now = e.now
    gap_ns = now[CLOCK_NS] - now[DECODED_NS]
    now[DECODED_NS] = now[CLOCK_NS]
    last = now[PEAKS_LAST]
    while last > now[PEAKS_FIRST] and e.peaks[last - 1, 1] <= gap_ns:
        last -= 1
    e.peaks[last, 0] = now[DECODE_STEP]
    e.peaks[last, 1] = gap_ns
    now[PEAKS_LAST] = last + 1
    for at in range(now[NEW_COUNT]):
        request = e.new[at]
        first_ns = now[CLOCK_NS] - t.state[request, LAST_TOKEN_NS]
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], first_ns)
    now[NEW_COUNT] = 0


@rare
def forget_new(e, request):
    """Take a request that leaves before its first decode from those that wait for it."""
    kept = 0
    for at in range(e.now[NEW_COUNT]):
        if e.new[at] != request:
            e.new[kept] = e.new[at]
            kept += 1
    e.now[NEW_COUNT] = kept


@inner
def peaks_left(t, e):
    """Drop what no running request can need and return whether there is room for more steps."""
    now = e.now
    if now[PEAKS_LAST] < e.peaks.shape[0]:
        return True
    needed = now[DECODE_STEP]
    request = now[FIRST_RUNNING]
    while request != NONE:
        if t.state[request, PHASE] == DECODING:
            needed = min(needed, t.state[request, JOINED])
        request = t.state[request, NEXT_RUNNING]
    kept = 0
    for at in range(now[PEAKS_FIRST], now[PEAKS_LAST]):
        if e.peaks[at, 0] > needed:
            e.peaks[kept, 0] = e.peaks[at, 0]
            e.peaks[kept, 1] = e.peaks[at, 1]
            kept += 1
    now[PEAKS_FIRST] = 0
    now[PEAKS_LAST] = kept
    return 2 * kept < e.peaks.shape[0]


@inner
def longest_step_since(e, step):
    """Return the longest step after `step`: the first one remembered, as they only get shorter."""
    low = e.now[PEAKS_FIRST]
    high = e.now[PEAKS_LAST]
    while low < high:
        middle = (low + high) // 2
        if e.peaks[middle, 0] > step:
            high = middle
        else:
            low = middle + 1
    return e.peaks[low, 1] if low < e.now[PEAKS_LAST] else 0


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


# --- a request's way through the batch ------------------------------------------------------


@inner
def visible_blocks(t, request, computed):
    """Return how many blocks of a request's path can be shared once `computed` tokens are."""
    blocks = computed // t.rules[BLOCK_SIZE]
    if t.rules[PARTIAL_BLOCKS] and computed >= t.plan[request, INPUT_TOKENS]:
        blocks = t.plan[request, PROMPT_BLOCKS]
    return min(blocks, t.plan[request, PATH_BLOCKS])


@inner
def _blocks_of(t, tokens):
    return (tokens + t.rules[BLOCK_SIZE] - 1) // t.rules[BLOCK_SIZE]


@inner
def _opens_at(t, e, request):
    """Return the step, modulo the block size, in which a decoding request opens a block.

    With c tokens computed when it joined at step j it computes token c + s - j in step s.
    """
    size = t.rules[BLOCK_SIZE]
    return (t.state[request, JOINED] - t.state[request, TARGET]) % size


@inner
def opens_block_now(t, e, request):
    """Return whether a decoding request needs a new block in the step being scheduled."""
    return e.now[DECODE_STEP] % t.rules[BLOCK_SIZE] == _opens_at(t, e, request)


@inner
def _leave_batch(t, e, request, opened):
    """Take a decoding request out of the running sums and settle how far it came.

    `opened` says whether the step being scheduled has taken its new block already.
    """
    now = e.now
    state = t.state
    steps = now[DECODE_STEP] - state[request, JOINED]
    state[request, COMPUTED] = state[request, TARGET] + steps
    state[request, EMITTED] += steps
    state[request, HELD] = _blocks_of(t, state[request, COMPUTED] + opened)
    now[DECODING_COUNT] -= 1
    now[CONTEXT_TOKENS] -= state[request, COMPUTED] + 1
    if _context_start(t, request) == now[LONGEST_START]:
        now[LONGEST_COUNT] = max(now[LONGEST_COUNT] - 1, 0)
    e.phases[_opens_at(t, e, request)] -= 1
    if steps > 0:
        longest = longest_step_since(e, state[request, JOINED] + 1)
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], longest)
        state[request, LAST_TOKEN_NS] = now[DECODED_NS]


@inner
def _complete(t, e, request):
    """Give back what a finished request holds, its cacheable blocks published."""
    if t.rules[ENABLED]:
        publish(t, request, visible_blocks(t, request, t.state[request, COMPUTED]))
    mark_response_seen(t, request)
    release(t, request)
    _stop_running(t, e, request)
    t.state[request, PHASE] = DONE
    t.outcome[request, STATUS] = COMPLETED
    t.outcome[request, DONE_NS] = e.now[CLOCK_NS]


@inner
def finish_decoding(t, e):
    """Complete the decoding requests whose last token the step just made."""
    now = e.now
    while now[FINISHING_COUNT] > 0 and e.finishing[0, STEP] == now[DECODE_STEP]:
        request = e.finishing[0, WHO]
        now[FINISHING_COUNT] = pop(e.finishing, now[FINISHING_COUNT])
        _leave_batch(t, e, request, 0)
        _complete(t, e, request)


@inner
def emit_first(t, e, request):
    """Count the token sampled from a computed prompt; the request decodes on, or is complete."""
    now = e.now
    state = t.state
    clock = now[CLOCK_NS]
    if state[request, EMITTED] == 0:
        t.outcome[request, FIRST_TOKEN_NS] = clock
    else:  # preempted while decoding: everything since its last token was one long gap
        gap = clock - state[request, LAST_TOKEN_NS]
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], gap)
    state[request, EMITTED] += 1
    state[request, LAST_TOKEN_NS] = clock
    left = t.plan[request, OUTPUT_TOKENS] - state[request, EMITTED]
    if left == 0:
        _complete(t, e, request)
        return
    step = now[DECODE_STEP]
    state[request, PHASE] = DECODING
    state[request, JOINED] = step
    now[DECODING_COUNT] += 1
    now[CONTEXT_TOKENS] += state[request, TARGET] + 1
    _count_longest(t, e, request)
    e.phases[_opens_at(t, e, request)] += 1
    e.new[now[NEW_COUNT]] = request
    now[NEW_COUNT] += 1
    now[FINISHING_COUNT] = push(
        e.finishing, now[FINISHING_COUNT], step + left, state[request, RANK], request
    )


@inner
def preempt(t, e, request, opened):
    """Send a running request back to the head of the queue without its KV.

    What it had computed stays in the cache until evicted, as in vLLM; nothing does where blocks
    are shared only on completion. A radix cache keeps what was inserted: the prompt, as computed so
    far, without the response.
    """
    now = e.now
    state = t.state
    if state[request, PHASE] == DECODING:
        now[FINISHING_COUNT] = remove(e.finishing, now[FINISHING_COUNT], request)
        forget_new(e, request)
        _leave_batch(t, e, request, opened)
    else:
        kept = 0
        for at in range(now[PREFILLING_COUNT]):
            if e.prefilling[at] != request:
                e.prefilling[kept] = e.prefilling[at]
                e.chunks[kept] = e.chunks[at]
                kept += 1
        now[PREFILLING_COUNT] = kept
    keeps = t.rules[COMMIT] != ON_COMPLETION and t.rules[KIND] != RADIX
    if t.rules[ENABLED] and keeps:
        publish(t, request, visible_blocks(t, request, state[request, COMPUTED]))
    release(t, request)
    _stop_running(t, e, request)
    state[request, PHASE] = WAITING
    state[request, LOST] = state[request, COMPUTED]
    state[request, COMPUTED] = 0
    state[request, TARGET] = t.plan[request, INPUT_TOKENS] + state[request, EMITTED]
    state[request, PREVIOUS_RUNNING] = now[PREEMPTED]
    now[PREEMPTED] = request
    now[PREEMPTED_COUNT] += 1
    now[STEP_PREEMPTIONS] += 1
    now[TOTAL_PREEMPTIONS] += 1
    t.outcome[request, PREEMPTIONS] += 1
