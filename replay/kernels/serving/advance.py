"""One replica of a continuous-batching engine, step by step, with vLLM's scheduling rules.

A step computes one token of every decoding request and, with what is left of its token budget,
chunks of prompts, in order of admission (schedule.py). A waiting request is admitted in its turn
when its whole prompt would fit beside what runs; prefixes are looked up at that moment
(admission.py). A running request that cannot grow takes the place of the one admitted last, which
goes back to the head of the queue and is computed again; nothing is admitted in such a step.

Planned ahead (asynchronous scheduling), the step that follows is planned while one runs: a request
that arrives during step k is computed in step k + 2, and who certainly samples its last token in
step k is left out of step k + 1, but keeps its place and its blocks until step k has ended.

The loop can stop between any two steps, and before any admission, to let its caller draw a
progress bar or grow a table; calling it again goes on from there.
"""

from __future__ import annotations

from replay.kernels.attention import UNSPLIT, add_chunk, clear_chunks
from replay.kernels.cache.verbs import at_time, rows_left
from replay.kernels.cost import step_ns
from replay.kernels.jit import inner, kernel, rare
from replay.kernels.layout import (
    ARRIVAL_NS,
    ARRIVED,
    CALL_ADMITTED,
    CALL_EVICTIONS,
    CLOCK_NS,
    COMMIT,
    COMPUTED,
    CONTEXT_TOKENS,
    DECODE_STEP,
    DECODING_COUNT,
    ENABLED,
    ENDING,
    FINISHING_COUNT,
    FLIGHTS,
    GPU_FREE_NS,
    HORIZON_NS,
    INCREMENTAL,
    IS_HELD,
    KEEP_STEPS,
    LEFT_NOBODY,
    NEXT_FILL,
    NEXT_WAITING,
    NONE,
    PHASE,
    PREFILLING_COUNT,
    RANK,
    ROW_RESERVE,
    RUNNING,
    SINCE_PREFILL,
    STALLED_COUNT,
    STARTED,
    STEP_PREEMPTIONS,
    TARGET,
    WAITING_COUNT,
)
from replay.kernels.serving.admission import admit
from replay.kernels.serving.batch import (
    join_decodes,
    leave_decodes,
    longest_context,
    sample_first,
)
from replay.kernels.serving.fills import filled_tokens, first_fill
from replay.kernels.serving.flights import bring, end_with, is_full, land, newest, take_off
from replay.kernels.serving.gaps import peaks_left, record_step
from replay.kernels.serving.heap import STEP, WHO, pop
from replay.kernels.serving.intervals import add_losses, add_step
from replay.kernels.serving.kept_steps import keep_step
from replay.kernels.serving.schedule import begin_step, schedule_running
from replay.kernels.serving.waiting import count_unseen, let_in

FINISHED, NEEDS_ROWS, PAUSED, NEEDS_PEAKS = 0, 1, 2, 3


@kernel
def replay_timed(t, e, steps):
    """Run up to `steps` steps; return why it stopped: FINISHED, PAUSED or what must grow.

    Where steps are kept, `e.steps` has a row for each of them.
    """
    now = e.now
    for _ in range(steps):
        if now[STARTED] == 0:
            if not _wake(t, e) or now[CLOCK_NS] >= t.rules[HORIZON_NS]:
                _stop(t, e)
                return FINISHED
            if not rows_left(t, t.rules[ROW_RESERVE]):
                return NEEDS_ROWS
            if not peaks_left(t, e):
                return NEEDS_PEAKS
            begin_step(t, e)
            schedule_running(t, e)
            now[STARTED] = 1
        if not admit(t, e):
            return NEEDS_ROWS
        now[STARTED] = 0
        if not now[IS_HELD]:
            now[LEFT_NOBODY] = now[WAITING_COUNT] == 0
        launched = _launch(t, e)
        if now[FLIGHTS] > 0 and (is_full(t, e) or not launched):
            land(t, e)
    return PAUSED


@inner
def _wake(t, e):
    """Let arrivals up to the clock join the queue, or jump to the next; False when all is done."""
    now = e.now
    while True:
        if now[RUNNING] + now[WAITING_COUNT] + now[FLIGHTS] == 0:
            if now[ARRIVED] == t.plan.shape[0]:
                return False
            now[CLOCK_NS] = max(now[CLOCK_NS], t.plan[now[ARRIVED], ARRIVAL_NS])
        let_in(t, e)
        at_time(t, now[CLOCK_NS])
        busy = now[RUNNING] + now[WAITING_COUNT] + now[FLIGHTS] > 0
        if busy or now[CLOCK_NS] >= t.rules[HORIZON_NS]:
            return True


@rare
def _stop(t, e):
    """Let the steps in flight end, and account for the prompts that were never looked up."""
    now = e.now
    while now[FLIGHTS] > 0:
        land(t, e)
    for request in range(now[NEXT_WAITING], t.plan.shape[0]):
        if t.state[request, RANK] == 0:
            count_unseen(t, e, request)
    add_losses(t, e, now[CLOCK_NS])


# --- the step itself ------------------------------------------------------------------------


@inner
def _launch(t, e):
    """Let the planned step take its time; return whether it computes anything.

    What it makes is settled now, but for what the rest of the engine may not see before it ends.
    """
    now = e.now
    prompts, prompt_tokens, sampled, prefills = _sum_chunks(t, e)
    decoding = now[DECODING_COUNT]
    start_ns = max(now[CLOCK_NS], now[GPU_FREE_NS])
    duration_ns = 0
    context = now[CONTEXT_TOKENS] if decoding > 0 else 0
    launched = decoding + prompt_tokens > 0
    if launched:
        longest = 0
        if decoding > 0 and e.cost.attention.shape[0] > 0 and e.cost.attention[0, UNSPLIT] > 0.0:
            longest = longest_context(t, e)
        duration_ns = step_ns(e.cost, e.chunk_sums, decoding, context, longest, decoding + sampled)
        now[GPU_FREE_NS] = start_ns + duration_ns
        now[SINCE_PREFILL] = 0 if prefills else now[SINCE_PREFILL] + 1
        add_step(t, e, now[GPU_FREE_NS], duration_ns, prompt_tokens, decoding, now[WAITING_COUNT])
    if t.rules[KEEP_STEPS] and (launched or now[STEP_PREEMPTIONS] > 0):
        computes = (prompts, prompt_tokens, decoding, context, decoding + sampled)
        around = (now[CALL_ADMITTED], now[WAITING_COUNT], now[CALL_EVICTIONS], 0)
        keep_step(t, e, start_ns, duration_ns, computes, around)
    if launched:
        _settle(t, e, decoding, prompt_tokens)
    return launched


@inner
def _sum_chunks(t, e):
    """Sum the chunks of prompts; return (prompts, tokens, sampled, whether it counts as prefill).

    Computing nothing but the last token of a prompt does not.
    """
    prompts = 0
    tokens = 0
    sampled = 0
    prefills = False
    clear_chunks(e.chunk_sums)
    for at in range(e.now[PREFILLING_COUNT]):
        chunk = e.chunks[at]
        if chunk > 0:
            request = e.prefilling[at]
            computed = t.state[request, COMPUTED]
            prompts += 1
            tokens += chunk
            add_chunk(e.cost.attention, e.chunk_sums, chunk, computed)
            if computed + chunk == t.state[request, TARGET]:
                sampled += 1
            if computed + 1 < t.state[request, TARGET]:
                prefills = True
    return prompts, tokens, sampled, prefills


@inner
def _settle(t, e, decoding, prompt_tokens):
    """Count what the step makes, and let it run until the GPU is free again."""
    now = e.now
    end_ns = now[GPU_FREE_NS]
    flight = newest(e)
    if decoding > 0:
        if t.rules[COMMIT] == INCREMENTAL:
            fill = first_fill(t, e, 0)
            while fill != NONE:
                bring(t, e, flight, fill, filled_tokens(t, e, fill, 0))
                fill = t.state[fill, NEXT_FILL]
        now[DECODE_STEP] += 1
        now[CONTEXT_TOKENS] += decoding
        record_step(t, e, end_ns)
        while now[FINISHING_COUNT] > 0 and e.finishing[0, STEP] == now[DECODE_STEP]:
            request = e.finishing[0, WHO]
            now[FINISHING_COUNT] = pop(e.finishing, now[FINISHING_COUNT])
            leave_decodes(t, e, request, 0)
            t.state[request, PHASE] = ENDING
            end_with(t, e, flight, request)
    if prompt_tokens > 0:
        _settle_chunks(t, e, flight, end_ns)
    if now[STALLED_COUNT] > 0:
        _go_on(t, e)
    take_off(e, end_ns)


@rare
def _go_on(t, e):
    """Let the decodes that got no token in the step have theirs from the next one on."""
    for at in range(e.now[STALLED_COUNT]):
        request = e.stalled[at]
        t.state[request, TARGET] = t.state[request, COMPUTED]
        join_decodes(t, e, request)


@inner
def _settle_chunks(t, e, flight, end_ns):
    now = e.now
    kept = 0
    for at in range(now[PREFILLING_COUNT]):
        request = e.prefilling[at]
        t.state[request, COMPUTED] += e.chunks[at]
        computed = t.state[request, COMPUTED]
        if e.chunks[at] > 0 and t.rules[ENABLED] and t.rules[COMMIT] == INCREMENTAL:
            bring(t, e, flight, request, computed)
        if computed < t.state[request, TARGET]:
            e.prefilling[kept] = request
            kept += 1
        elif sample_first(t, e, request, end_ns):
            join_decodes(t, e, request)
        else:
            t.state[request, PHASE] = ENDING
            end_with(t, e, flight, request)
    now[PREFILLING_COUNT] = kept
