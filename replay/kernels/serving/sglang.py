"""One replica of SGLang's scheduler over a radix cache, pass by pass.

A pass plans one batch: prompts as long as any can be admitted, else a decode of all that run. Its
step takes its time, and what it sampled is known at its end; with overlap the next pass is made
before, and knows the results of all steps but the one that runs. The rules are those of SGLang
0.5.23; its slow twin in tests/naive says them in order. What SGLang would wait for in vain is
rejected; where it stops for want of memory, the unfinished prompt waits.

The loop can stop between any two passes; calling it again goes on from there.
"""

from __future__ import annotations

from replay.kernels.attention import UNSPLIT, add_chunk, clear_chunks
from replay.kernels.cache.radix import INSERT_ROWS, MATCH_ROWS, node_rows_left
from replay.kernels.cache.verbs import at_time, step_ended
from replay.kernels.cost import step_ns
from replay.kernels.jit import inner, kernel, rare
from replay.kernels.layout import (
    ARRIVAL_NS,
    ARRIVED,
    ASYNC,
    BLOCK_SIZE,
    CAPACITY,
    CLOCK_NS,
    COMPUTED,
    CONTEXT_TOKENS,
    DECODE_STEP,
    DECODING,
    DECODING_COUNT,
    DONE,
    EMITTED,
    EVICTIONS,
    FINISHING_COUNT,
    FIRST_TOKEN_NS,
    HORIZON_NS,
    INPUT_TOKENS,
    ITL_MAX_NS,
    KEEP_STEPS,
    LAST_TOKEN_NS,
    MAX_SEQUENCES,
    NEW_COUNT,
    NEXT_WAITING,
    NONE,
    ORDER,
    OUTPUT_TOKENS,
    PHASE,
    PREEMPTIONS,
    PREFILL_DECODE_INTERVAL,
    PREFILLING,
    PRIORITY,
    RUNNING,
    STEP_PREEMPTIONS,
)
from replay.kernels.serving.gaps import peaks_left, record_step
from replay.kernels.serving.heap import remove
from replay.kernels.serving.intervals import add_losses, add_step
from replay.kernels.serving.kept_steps import keep_step
from replay.kernels.serving.sglang_admit import admit
from replay.kernels.serving.sglang_decode import decode, mix
from replay.kernels.serving.sglang_layout import (
    BUSY_UNTIL_NS,
    CUT,
    DECODES,
    END_NS,
    ENDED,
    EVICTED_BEFORE,
    EXTENDED,
    FULL,
    GREW,
    GROWN_FROM,
    LAST,
    LIFE,
    MOVE_FROM,
    NUMBER,
    PARTS,
    PASS,
    PASS_ADMITTED,
    PROMPT_CLOCK,
    QUEUE_FIRST,
    QUEUE_STOP,
    RATIO,
    RATIO_FIRST,
    REFRESHED,
    SPARE_TOKENS,
    START,
    STUCK,
    TOKENS,
    UNFINISHED_PROMPT,
    WAIT_PASSES,
    WHO,
    WHOLE,
)
from replay.kernels.serving.sglang_order import matches_all, sort_waiting
from replay.kernels.serving.sglang_running import (
    count_unseen,
    counted,
    finish,
    finish_decodes,
    give_up,
    insert_upto,
    join_queue,
    join_running,
    longest_context,
    mixes,
    pages_of,
    refuse,
)

FINISHED, NEEDS_ROWS, PAUSED, NEEDS_PEAKS = 0, 1, 2, 3


@kernel
def replay_sglang(t, e, steps):
    """Make up to `steps` passes; return why it stopped: FINISHED, PAUSED or what must grow."""
    for _ in range(steps):
        _arrive(t, e)
        if e.now[CLOCK_NS] >= t.rules[HORIZON_NS]:
            _stop(t, e)
            return FINISHED
        if not _rows_left(t, e):
            return NEEDS_ROWS
        if not peaks_left(t, e):
            return NEEDS_PEAKS
        if not _advance(t, e):
            _stop(t, e)
            return FINISHED
    return PAUSED


@inner
def _waiting(e):
    return e.now[QUEUE_STOP] - e.now[QUEUE_FIRST]


@inner
def _rows_left(t, e):
    """Return whether the nodes that one pass can add have room."""
    most = min(t.rules[MAX_SEQUENCES], t.plan.shape[0]) + 1
    waiting = _waiting(e)
    looked_up = waiting if matches_all(t, waiting) else min(waiting, REFRESHED)
    return node_rows_left(t, MATCH_ROWS * (looked_up + most) + 2 * INSERT_ROWS * most)


# --- the loop -------------------------------------------------------------------------------


@inner
def _arrive(t, e):
    """Let arrivals up to the clock join the queue; who could never be admitted is rejected."""
    now = e.now
    first = now[QUEUE_FIRST]
    count = now[QUEUE_STOP] - first
    if first >= max(count, MOVE_FROM):
        for at in range(count):
            e.queue[at] = e.queue[first + at]
        now[QUEUE_FIRST] = 0
        now[QUEUE_STOP] = count
    requests = t.plan.shape[0]
    while now[ARRIVED] < requests and t.plan[now[ARRIVED], ARRIVAL_NS] <= now[CLOCK_NS]:
        request = now[ARRIVED]
        now[ARRIVED] += 1
        if _fits_alone(t, request):
            join_queue(t, e, request)
        else:
            refuse(t, e, request)


@inner
def _fits_alone(t, request):
    page = t.rules[BLOCK_SIZE]
    capacity = t.counters[CAPACITY] * page
    prompt = t.plan[request, INPUT_TOKENS]
    most = (pages_of(t, prompt) + 1) * page + 1 + t.plan[request, OUTPUT_TOKENS]
    return prompt < capacity - SPARE_TOKENS and most <= capacity


@inner
def _advance(t, e):
    """Make one pass and let steps end; False when all is done."""
    now = e.now
    at_time(t, now[CLOCK_NS])
    before = now[LAST]
    batch = 0 if before == NONE else 1 - before
    planned = _plan(t, e, batch)
    if planned:
        _launch(t, e, batch)
    after = batch if planned else NONE
    ends = before if t.rules[ASYNC] else after
    if ends != NONE:
        _end(t, e, ends)
    now[LAST] = after
    while now[NEXT_WAITING] < now[ARRIVED] and counted(t, now[NEXT_WAITING]):
        now[NEXT_WAITING] += 1
    if planned or ends != NONE:
        now[STUCK] = 0
        return True
    if _waiting(e) > 0 or now[DECODING_COUNT] > 0 or now[UNFINISHED_PROMPT] != NONE:
        _unstick(t, e)
        return True
    e.ratios[RATIO] = e.ratios[RATIO_FIRST]
    if now[ARRIVED] == t.plan.shape[0]:
        return False
    now[CLOCK_NS] = max(now[CLOCK_NS], t.plan[now[ARRIVED], ARRIVAL_NS])
    return True


@rare
def _unstick(t, e):
    """Reject one that SGLang would wait for in vain: nothing runs, and it is not admitted."""
    now = e.now
    if now[DECODING_COUNT] == 0:  # passes to go without prompts come to nothing: all at once
        now[PASS] += now[WAIT_PASSES]
        now[STUCK] += now[WAIT_PASSES]
        now[WAIT_PASSES] = 0
    now[STUCK] += 1
    if now[STUCK] <= t.rules[PREFILL_DECODE_INTERVAL] + 1:
        return
    request = now[UNFINISHED_PROMPT]
    if request != NONE:
        now[UNFINISHED_PROMPT] = NONE
        give_up(t, e, request)
        refuse(t, e, request)
    elif _waiting(e) > 0:
        request = e.queue[now[QUEUE_FIRST]]
        now[QUEUE_FIRST] += 1
        refuse(t, e, request)


@rare
def _stop(t, e):
    """End the replay: the step that runs ends, and who waits is accounted for."""
    now = e.now
    if t.rules[ASYNC] and now[LAST] != NONE:
        _end(t, e, now[LAST])
        now[LAST] = NONE
    for request in range(now[NEXT_WAITING], t.plan.shape[0]):
        count_unseen(t, e, request)
    add_losses(t, e, now[CLOCK_NS])


# --- a pass ---------------------------------------------------------------------------------


@inner
def _plan(t, e, batch):
    """Plan a batch; return whether there is one."""
    now = e.now
    now[PASS] += 1
    now[PASS_ADMITTED] = 0
    now[STEP_PREEMPTIONS] = 0
    now[EVICTED_BEFORE] = t.counters[EVICTIONS]
    e.batches[batch, PARTS] = 0
    e.batches[batch, DECODES] = 0
    e.batches[batch, CUT] = NONE
    _tidy_up(t, e)
    planned = False
    if now[WAIT_PASSES] > 0:
        now[WAIT_PASSES] -= 1
    elif _may_admit(t, e):
        sort_waiting(t, e)
        planned = admit(t, e, batch)
    if planned:
        now[WAIT_PASSES] = t.rules[PREFILL_DECODE_INTERVAL]
        if mixes(t) and now[DECODING_COUNT] > 0:
            mix(t, e, batch)
    elif now[DECODING_COUNT] > 0:
        planned = decode(t, e, batch)
    if not planned and now[STEP_PREEMPTIONS] > 0:
        start_ns = max(now[CLOCK_NS], now[BUSY_UNTIL_NS])
        _keep_step(t, e, batch, start_ns, 0, 0, 0)
    return planned


@inner
def _tidy_up(t, e):
    """Insert what the unfinished prompt has computed, and let the last batch's prompts decode."""
    now = e.now
    request = now[UNFINISHED_PROMPT]
    if request != NONE and now[GREW]:
        insert_upto(t, request, t.state[request, COMPUTED])
        now[GREW] = 0
    last = now[LAST]
    if last != NONE and e.batches[last, PARTS] > 0:
        _merge(t, e, last)
    if now[ENDED] > 0:
        now[FULL] = 0
        now[ENDED] = 0


@inner
def _merge(t, e, last):
    """Let the prompts of a batch decode: after all that run, or before those of a mixed batch."""
    now = e.now
    parts = e.batches[last, PARTS]
    mixed = e.batches[last, DECODES] > 0
    alone = mixed or now[DECODING_COUNT] + now[ENDED] == 0
    joined = 0
    for at in range(parts):
        place = parts - 1 - at if mixed else at
        request = e.parts[last, place, WHO]
        there = t.state[request, PHASE] == PREFILLING
        if there and request != now[UNFINISHED_PROMPT] and request != e.batches[last, CUT]:
            join_running(t, e, request, mixed)
            joined += 1
    if joined < parts or mixed:
        now[FULL] = 0
    if alone and now[DECODING_COUNT] > 0:
        now[FULL] = 0
        now[GROWN_FROM] = e.batches[last, EXTENDED]


@inner
def _may_admit(t, e):
    """Return whether prompts are looked at in this pass."""
    now = e.now
    urgent = t.rules[ORDER] == PRIORITY
    if urgent or now[DECODING_COUNT] == 0:
        now[FULL] = 0
    if now[UNFINISHED_PROMPT] != NONE:
        return True
    if now[FULL] or _waiting(e) == 0:
        return False
    most = t.rules[MAX_SEQUENCES] - max(now[DECODING_COUNT], now[RUNNING])
    if most <= 0 and not urgent:
        now[FULL] = 1
        return False
    return True


# --- its step -------------------------------------------------------------------------------


@inner
def _launch(t, e, batch):
    """Let the planned batch take its time, once the step before has ended."""
    now = e.now
    prompt_tokens = 0
    sampled = 0
    clear_chunks(e.chunk_sums)
    for at in range(e.batches[batch, PARTS]):
        tokens = e.parts[batch, at, TOKENS]
        prompt_tokens += tokens
        sampled += e.parts[batch, at, WHOLE]
        add_chunk(e.cost.attention, e.chunk_sums, tokens, e.parts[batch, at, START])
    decoding = e.batches[batch, DECODES]
    context = now[CONTEXT_TOKENS] if decoding > 0 else 0
    longest = 0
    if decoding > 0 and e.cost.attention[0, UNSPLIT] > 0.0:
        longest = longest_context(t, e)
    duration_ns = step_ns(e.cost, e.chunk_sums, decoding, context, longest, decoding + sampled)
    start_ns = max(now[CLOCK_NS], now[BUSY_UNTIL_NS])
    end_ns = start_ns + duration_ns
    _keep_step(t, e, batch, start_ns, duration_ns, prompt_tokens, context)
    add_step(t, e, end_ns, duration_ns, prompt_tokens, decoding, _waiting(e))
    now[CONTEXT_TOKENS] += decoding
    now[BUSY_UNTIL_NS] = end_ns
    now[PROMPT_CLOCK] += e.batches[batch, EXTENDED]
    e.batches[batch, END_NS] = end_ns


@inner
def _end(t, e, batch):
    """Count the tokens that a step sampled, once it has ended: prompts first, then decodes."""
    now = e.now
    now[CLOCK_NS] = e.batches[batch, END_NS]
    step_ended(t, now[CLOCK_NS])
    if e.batches[batch, DECODES] > 0:
        now[DECODE_STEP] = e.batches[batch, NUMBER]
        record_step(t, e, now[CLOCK_NS])
    for at in range(e.batches[batch, PARTS]):
        request = e.parts[batch, at, WHO]
        same = e.parts[batch, at, LIFE] == t.outcome[request, PREEMPTIONS]
        if e.parts[batch, at, WHOLE] and same and t.state[request, PHASE] != DONE:
            _emit_first(t, e, request, e.parts[batch, at, START] + e.parts[batch, at, TOKENS])
    if e.batches[batch, DECODES] > 0:
        finish_decodes(t, e)


@inner
def _emit_first(t, e, request, tokens):
    """Count the token sampled from a computed prompt, and make the prompt visible to others."""
    now = e.now
    state = t.state
    if state[request, EMITTED] == 0:
        t.outcome[request, FIRST_TOKEN_NS] = now[CLOCK_NS]
    else:  # retracted before: everything since its last token was one long gap
        gap_ns = now[CLOCK_NS] - state[request, LAST_TOKEN_NS]
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], gap_ns)
    state[request, EMITTED] += 1
    state[request, LAST_TOKEN_NS] = now[CLOCK_NS]
    if state[request, EMITTED] == t.plan[request, OUTPUT_TOKENS]:
        if state[request, PHASE] == DECODING:
            now[FINISHING_COUNT] = remove(e.finishing, now[FINISHING_COUNT], request)
        finish(t, e, request)
        return
    insert_upto(t, request, tokens)
    e.new[now[NEW_COUNT]] = request
    now[NEW_COUNT] += 1


@inner
def _keep_step(t, e, batch, start_ns, duration_ns, prompt_tokens, context):
    """Keep what a pass and its step came to, where steps are kept."""
    if t.rules[KEEP_STEPS] == 0:
        return
    parts = e.batches[batch, PARTS]
    decoding = e.batches[batch, DECODES]
    sampled = decoding
    for at in range(parts):
        sampled += e.parts[batch, at, WHOLE]
    ratio = round(e.ratios[RATIO] * 1e9)
    computes = (parts, prompt_tokens, decoding, context, sampled)
    around = (e.now[PASS_ADMITTED], _waiting(e), e.now[EVICTED_BEFORE], ratio)
    keep_step(t, e, start_ns, duration_ns, computes, around)
