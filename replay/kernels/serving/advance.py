"""One replica of a continuous-batching engine, step by step, with vLLM's scheduling rules.

A step computes one token of every decoding request and, with what is left of its token budget,
chunks of prompts in order of admission. A waiting request is admitted in order of arrival when
its whole prompt would fit beside what runs; prefixes are looked up at that moment. A running
request that cannot grow takes the place of the one admitted last, which goes back to the head of
the queue and is computed again; nothing is admitted in such a step.

Where several prompts are chunked at once (`prefill_chunk_tokens`), decoding requests come first.
Where steps are not mixed, a step computes prompts as long as there are any that fit, with the whole
token budget, and decodes wait; otherwise it computes the decodes.
The loop can stop between any two steps, and before any admission, to let its caller draw a
progress bar or grow a table; calling it again goes on from there.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_seen
from replay.kernels.cache.pool import free_blocks
from replay.kernels.cache.verbs import (
    acquire,
    admitted,
    at_time,
    match,
    name_evictor,
    publish,
    rows_left,
    step_ended,
    take_blocks,
    take_spare,
)
from replay.kernels.cost import UNSPLIT, add_chunk, clear_chunks, step_ns
from replay.kernels.jit import inner, kernel
from replay.kernels.layout import (
    ARRIVAL_NS,
    ARRIVED,
    BIN_EVICTED,
    BIN_FIELDS,
    BIN_NS,
    BIN_PREEMPTIONS,
    BLOCK_SIZE,
    BLOCKED,
    BUDGET,
    BUSY_NS,
    CACHED_BLOCK_NS,
    CAPACITY,
    CAPACITY_MISS,
    CHUNKED_PREFILL,
    CLOCK_NS,
    COMMIT,
    COMPUTED,
    CONTEXT_TOKENS,
    DECODE_STEP,
    DECODE_TOKENS,
    DECODING,
    DECODING_COUNT,
    DONE,
    ENABLED,
    EVICTED_BLOCKS,
    EVICTIONS,
    FIRST_RUNNING,
    HELD,
    HORIZON_NS,
    IDLE,
    INCREMENTAL,
    INPUT_TOKENS,
    KIND,
    LAST_HOLD,
    LAST_RUNNING,
    LOST,
    MATCH_BLOCKS,
    MAX_BATCHED_TOKENS,
    MAX_SEQUENCES,
    MIXED_STEPS,
    NEXT_RUNNING,
    NEXT_WAITING,
    NONE,
    NOTED_EVICTIONS,
    NOTED_PREEMPTIONS,
    ON_SCHEDULE,
    OUTPUT_TOKENS,
    PARTIAL_BLOCKS,
    PATH_BLOCKS,
    PATH_START,
    PATH_STOP,
    PHASE,
    PINNED_IDLE,
    PINS,
    PREEMPTED,
    PREEMPTED_COUNT,
    PREFILL_CHUNK_TOKENS,
    PREFILL_TOKENS,
    PREFILLING_COUNT,
    PREVIOUS_RUNNING,
    RADIX,
    RECOMPUTED,
    REJECTED,
    ROW_RESERVE,
    RUNNING,
    RUNNING_NS,
    SCHEDULED_NS,
    SESSION_STORE,
    SKIPS,
    STARTED,
    STATUS,
    STEP_PREEMPTIONS,
    STEPS,
    TARGET,
    TOTAL_PREEMPTIONS,
    TTL_NS,
    USED_BLOCK_NS,
    WAITING_MAX,
    WAITING_NS,
)
from replay.kernels.serving.batch import (
    emit_first,
    finish_decoding,
    longest_context,
    opens_block_now,
    peaks_left,
    preempt,
    record_step,
    start_running,
    visible_blocks,
)

FINISHED, NEEDS_ROWS, PAUSED, NEEDS_PEAKS = 0, 1, 2, 3


@kernel
def replay_timed(t, e, steps):
    """Run up to `steps` steps; return why it stopped: FINISHED, PAUSED or what must grow."""
    for _ in range(steps):
        if e.now[STARTED] == 0:
            if not _wake(t, e) or e.now[CLOCK_NS] >= t.rules[HORIZON_NS]:
                _leave_waiting(t, e)
                _record_losses(t, e)
                return FINISHED
            if not rows_left(t, t.rules[ROW_RESERVE]):
                return NEEDS_ROWS
            if not peaks_left(t, e):
                return NEEDS_PEAKS
            _schedule_running(t, e)
            e.now[STARTED] = 1
        if not _admit(t, e):
            return NEEDS_ROWS
        e.now[STARTED] = 0
        _compute(t, e)
    return PAUSED


@inner
def _wake(t, e):
    """Let arrivals up to the clock join the queue, or jump to the next; False when all is done."""
    now = e.now
    requests = t.plan.shape[0]
    idle = now[RUNNING] == 0 and now[PREEMPTED_COUNT] == 0
    if idle and now[ARRIVED] == now[NEXT_WAITING]:
        if now[ARRIVED] == requests:
            return False
        now[CLOCK_NS] = max(now[CLOCK_NS], t.plan[now[ARRIVED], ARRIVAL_NS])
    while now[ARRIVED] < requests and t.plan[now[ARRIVED], ARRIVAL_NS] <= now[CLOCK_NS]:
        now[ARRIVED] += 1
    at_time(t, now[CLOCK_NS])
    return True


@inner
def _leave_waiting(t, e):
    """Account for the prompts that were never looked up because the clock stopped first."""
    for request in range(e.now[NEXT_WAITING], t.plan.shape[0]):
        attribute(t, request, 0, 0, NONE)


# --- what runs already ----------------------------------------------------------------------


@inner
def _schedule_running(t, e):
    """Give every running request its tokens and blocks for this step, decodes if they are mixed."""
    now = e.now
    now[STEP_PREEMPTIONS] = 0
    now[BUDGET] = t.rules[MAX_BATCHED_TOKENS]
    if t.rules[MIXED_STEPS]:
        _open_blocks(t, e)
        now[BUDGET] -= now[DECODING_COUNT]
    at = 0
    while at < now[PREFILLING_COUNT]:
        request = e.prefilling[at]
        e.chunks[at] = 0
        if _schedule_chunk(t, e, request, at):
            at += 1


@inner
def _open_blocks(t, e):
    """Open the blocks that the decoding requests need in this step."""
    opened = e.phases[e.now[DECODE_STEP] % t.rules[BLOCK_SIZE]]
    if opened <= free_blocks(t):
        take_spare(t, opened, NONE, e.now[DECODING_COUNT] - opened)
    else:
        _open_one_by_one(t, e)


@inner
def _open_one_by_one(t, e):
    """Open the blocks this step needs in order of admission, preempting from the other end."""
    request = e.now[FIRST_RUNNING]
    while request != NONE:
        if t.state[request, PHASE] == DECODING and opens_block_now(t, e, request):
            if not _make_room(t, e, request, 1, 0):
                return  # it was the last one running
            take_blocks(t, 1, NONE)
        request = t.state[request, NEXT_RUNNING]


@inner
def _make_room(t, e, request, blocks, opened):
    """Preempt the last admitted until `blocks` are free; False if that was `request` itself."""
    while free_blocks(t) < blocks:
        victim = e.now[LAST_RUNNING]
        preempt(t, e, victim, opened)
        if victim == request:
            return False
    return True


@inner
def _schedule_chunk(t, e, request, at):
    """Give a prompt that is being computed its next chunk; False if it was preempted instead."""
    left = t.state[request, TARGET] - t.state[request, COMPUTED]
    chunk = min(left, e.now[BUDGET], t.rules[PREFILL_CHUNK_TOKENS])
    if chunk <= 0:
        return True
    wanted = _blocks_wanted(t, request, chunk)
    if not _make_room(t, e, request, wanted, t.rules[MIXED_STEPS]):
        return False
    _take_chunk(t, e, request, at, chunk, wanted)
    return True


@inner
def _blocks_wanted(t, request, chunk):
    size = t.rules[BLOCK_SIZE]
    tokens = t.state[request, COMPUTED] + chunk
    return max((tokens + size - 1) // size - t.state[request, HELD], 0)


@inner
def _take_chunk(t, e, request, at, chunk, wanted):
    evictions = t.counters[EVICTIONS]
    take_spare(t, wanted, request, 1)
    t.outcome[request, EVICTED_BLOCKS] += t.counters[EVICTIONS] - evictions
    t.state[request, HELD] += wanted
    e.chunks[at] = chunk
    e.now[BUDGET] -= chunk
    if t.rules[ENABLED] and t.rules[COMMIT] == ON_SCHEDULE:
        publish(t, request, visible_blocks(t, request, t.state[request, COMPUTED] + chunk))


# --- who joins ------------------------------------------------------------------------------


@inner
def _admit(t, e):
    """Admit waiting requests in order while they fit; False if a table must grow first."""
    now = e.now
    if now[STEP_PREEMPTIONS] > 0:
        return True
    while now[RUNNING] < t.rules[MAX_SEQUENCES] and now[BUDGET] > 0 and now[BLOCKED] == 0:
        again = now[PREEMPTED_COUNT] > 0
        if not again and now[NEXT_WAITING] == now[ARRIVED]:
            return True
        request = now[PREEMPTED] if again else now[NEXT_WAITING]
        if not again:
            t.state[request, LAST_HOLD] = NONE
        if not again and _never_fits(t, request):
            _reject(t, e, request, again)
            continue
        if not again:
            t.state[request, TARGET] = t.plan[request, INPUT_TOKENS]
        hit, idle, pieces = _look_up(t, request, again)
        if now[RUNNING] == 0 and _last_block(t, request) - hit + idle > free_blocks(t):
            _reject(t, e, request, again)  # what is pinned leaves it too little even alone
            continue
        computed = _tokens_of(t, request, hit)
        left = t.state[request, TARGET] - computed
        if not again and t.rules[CHUNKED_PREFILL] == 0 and left > now[BUDGET]:
            return True
        size = t.rules[BLOCK_SIZE]
        blocks = (t.state[request, TARGET] + size - 1) // size
        if blocks - hit + idle > free_blocks(t):
            now[BLOCKED] = not _looking_matters(t)
            return True
        path = t.plan[request, PATH_STOP] - t.plan[request, PATH_START]
        if not rows_left(t, t.rules[ROW_RESERVE] + 2 * (pieces + path)):
            return False
        _start(t, e, request, hit, computed, again)
    return True


@inner
def _looking_matters(t):
    """Return whether looking up again may matter although nothing was given back since.

    It does where KV expires: in a radix cache a look-up that fails still touches, and in a pool an
    older copy of a pinned block may have gone, so that one which is not free anyway is found.
    """
    return t.rules[TTL_NS] > 0 and (t.rules[KIND] == RADIX or t.rules[PINS] != 0)


@inner
def _never_fits(t, request):
    """Return whether a request could not run even alone."""
    prompt = t.plan[request, INPUT_TOKENS]
    if t.rules[CHUNKED_PREFILL] == 0 and prompt > t.rules[MAX_BATCHED_TOKENS]:
        return True
    return _last_block(t, request) > t.counters[CAPACITY]


@inner
def _last_block(t, request):
    """Return how many blocks a request holds in the end, its last token excluded."""
    size = t.rules[BLOCK_SIZE]
    last = t.plan[request, INPUT_TOKENS] + t.plan[request, OUTPUT_TOKENS] - 1
    return (last + size - 1) // size


@inner
def _reject(t, e, request, again):
    """Give up on a request that cannot run even alone; it may have been preempted before."""
    t.outcome[request, STATUS] = REJECTED
    t.state[request, PHASE] = DONE
    if again:
        e.now[PREEMPTED] = t.state[request, PREVIOUS_RUNNING]
        e.now[PREEMPTED_COUNT] -= 1
    else:
        attribute(t, request, 0, 0, NONE)
        e.now[NEXT_WAITING] += 1


@inner
def _look_up(t, request, again):
    if t.rules[ENABLED] == 0:
        return 0, 0, 0
    limit = t.plan[request, MATCH_BLOCKS]
    if again and t.rules[PARTIAL_BLOCKS] == 0 and not t.plan[request, SKIPS]:
        known = (t.state[request, TARGET] - 1) // t.rules[BLOCK_SIZE]
        limit = min(known, t.plan[request, PATH_BLOCKS])
        if t.rules[KIND] == SESSION_STORE:  # it keeps responses once they are whole
            limit = min(known, t.plan[request, INPUT_TOKENS])
    return match(t, request, limit)


@inner
def _tokens_of(t, request, hit):
    """Return the tokens `hit` blocks save; the last one before the next sample is computed."""
    tokens = hit * t.rules[BLOCK_SIZE]
    if t.rules[PARTIAL_BLOCKS]:
        tokens = min(tokens, t.plan[request, INPUT_TOKENS])
    return min(tokens, t.state[request, TARGET] - 1)


@inner
def _start(t, e, request, hit, computed, again):
    """Admit a request that fits: hold its hit, take its first chunk, count what it missed."""
    now = e.now
    session = acquire(t, request, hit)
    if again:
        lost = min(t.state[request, LOST], t.state[request, TARGET])
        t.outcome[request, RECOMPUTED] += max(lost - computed, 0)
        now[PREEMPTED] = t.state[request, PREVIOUS_RUNNING]
        now[PREEMPTED_COUNT] -= 1
    else:
        attribute(t, request, hit, session, now[FIRST_RUNNING])
        if t.outcome[request, CAPACITY_MISS] > 0:
            name_evictor(t, request, hit)
        mark_seen(t, request)
        t.outcome[request, SCHEDULED_NS] = now[CLOCK_NS]
        now[NEXT_WAITING] += 1
    admitted(t, request)
    t.state[request, COMPUTED] = computed
    left = t.state[request, TARGET] - computed
    chunk = min(left, now[BUDGET])
    if t.rules[CHUNKED_PREFILL]:
        chunk = min(chunk, t.rules[PREFILL_CHUNK_TOKENS])
    at = now[PREFILLING_COUNT]
    start_running(t, e, request)
    _take_chunk(t, e, request, at, chunk, _blocks_wanted(t, request, chunk))


# --- the step itself ------------------------------------------------------------------------


@inner
def _compute(t, e):
    """Let the scheduled step take its time, then count what it made."""
    now = e.now
    prompt_tokens = 0
    sampled = 0
    clear_chunks(e.chunk_sums)
    for at in range(now[PREFILLING_COUNT]):
        chunk = e.chunks[at]
        if chunk > 0:
            request = e.prefilling[at]
            computed = t.state[request, COMPUTED]
            prompt_tokens += chunk
            add_chunk(e.cost.attention, e.chunk_sums, chunk, computed)
            if computed + chunk == t.state[request, TARGET]:
                sampled += 1
    decoding = _decoding_now(t, e, prompt_tokens)
    if decoding + prompt_tokens == 0:
        return  # the only running request preempted itself: try again at the same instant
    longest = 0
    if decoding > 0 and e.cost.attention[0, UNSPLIT] > 0.0:
        longest = longest_context(t, e)
    context = now[CONTEXT_TOKENS] if decoding > 0 else 0
    duration_ns = step_ns(e.cost, e.chunk_sums, decoding, context, longest, decoding + sampled)
    now[CLOCK_NS] += duration_ns
    step_ended(t, now[CLOCK_NS])
    _record_interval(t, e, duration_ns, prompt_tokens, decoding)
    if decoding > 0:
        now[DECODE_STEP] += 1
        now[CONTEXT_TOKENS] += decoding
        record_step(t, e)
        finish_decoding(t, e)
    if prompt_tokens > 0:
        _finish_chunks(t, e)
        now[BLOCKED] = 0  # what they published may be what the first waiting request lacks


@inner
def _decoding_now(t, e, prompt_tokens):
    """Return how many requests decode in this step: none beside prompts where steps are not mixed.

    Where they are not, those that do get their blocks only now.
    """
    if t.rules[MIXED_STEPS] == 0:
        if prompt_tokens > 0:
            return 0
        _open_blocks(t, e)
    return e.now[DECODING_COUNT]


@inner
def _finish_chunks(t, e):
    now = e.now
    kept = 0
    for at in range(now[PREFILLING_COUNT]):
        request = e.prefilling[at]
        t.state[request, COMPUTED] += e.chunks[at]
        computed = t.state[request, COMPUTED]
        if e.chunks[at] > 0 and t.rules[ENABLED] and t.rules[COMMIT] == INCREMENTAL:
            publish(t, request, visible_blocks(t, request, computed))
        if computed < t.state[request, TARGET]:
            e.prefilling[kept] = request
            kept += 1
        else:
            emit_first(t, e, request)
    now[PREFILLING_COUNT] = kept


@inner
def _record_interval(t, e, duration_ns, prompt_tokens, decoding):
    """Add a step to the interval of time in which it ended, widening intervals when time grows."""
    now = e.now
    count = e.bins.shape[0]
    while now[CLOCK_NS] // now[BIN_NS] >= count:
        now[BIN_NS] *= 2
        for at in range(count):
            for field in range(BIN_FIELDS):
                first, second = 0, 0
                if 2 * at < count:
                    first = e.bins[2 * at, field]
                if 2 * at + 1 < count:
                    second = e.bins[2 * at + 1, field]
                e.bins[at, field] = max(first, second) if field == WAITING_MAX else first + second
    at = now[CLOCK_NS] // now[BIN_NS]
    idle = t.counters[IDLE] + t.counters[PINNED_IDLE]
    waiting = now[ARRIVED] - now[NEXT_WAITING] + now[PREEMPTED_COUNT]
    e.bins[at, STEPS] += 1
    e.bins[at, BUSY_NS] += duration_ns
    e.bins[at, PREFILL_TOKENS] += prompt_tokens
    e.bins[at, DECODE_TOKENS] += decoding
    e.bins[at, RUNNING_NS] += now[RUNNING] * duration_ns
    e.bins[at, WAITING_NS] += waiting * duration_ns
    e.bins[at, WAITING_MAX] = max(e.bins[at, WAITING_MAX], waiting)
    used = t.counters[CAPACITY] - free_blocks(t) - t.counters[PINNED_IDLE]
    e.bins[at, USED_BLOCK_NS] += used * duration_ns
    e.bins[at, CACHED_BLOCK_NS] += idle * duration_ns
    _record_losses(t, e)


@inner
def _record_losses(t, e):
    """Add what was evicted and preempted since the last time to the interval of the clock.

    That includes what expired between two steps, and a step that computed nothing.
    """
    now = e.now
    at = min(now[CLOCK_NS] // now[BIN_NS], e.bins.shape[0] - 1)
    e.bins[at, BIN_EVICTED] += t.counters[EVICTIONS] - now[NOTED_EVICTIONS]
    e.bins[at, BIN_PREEMPTIONS] += now[TOTAL_PREEMPTIONS] - now[NOTED_PREEMPTIONS]
    now[NOTED_EVICTIONS] = t.counters[EVICTIONS]
    now[NOTED_PREEMPTIONS] = now[TOTAL_PREEMPTIONS]
