"""Who decodes under SGLang's rules: joining, leaving, and what is known of whom.

Nobody is visited in a decode. All that run advance together, so a request's tokens follow from the
decode it joined at, the pages a decode opens from a count by decode modulo page size, the keys it
attends to from one sum, and who ends from a heap.

With overlap a pass knows the results of all steps but the last: `LAUNCHED` counts the decodes
launched, `DECODE_STEP` those whose results are known. A request that joined at decode j with t
tokens has t + LAUNCHED - j with a slot. Whose last token is in flight leaves the decodes at once,
and gives its row and pages back when that token is known.
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_response_seen
from replay.kernels.cache.radix import drop_pages, evict_until_free, insert_pages
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ADMISSION,
    ADMISSIONS,
    BLOCK_SIZE,
    CHUNKED_PREFILL,
    CLOCK_NS,
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
    ENTRIES,
    FINISHING_COUNT,
    HELD,
    IGNORE_EOS,
    INPUT_BLOCKS,
    INPUT_TOKENS,
    ITL_MAX_NS,
    JOINED,
    LAST_HOLD,
    LAST_TOKEN_NS,
    LONGEST_COUNT,
    LONGEST_START,
    LOOKED,
    LOST,
    MIXED_STEPS,
    NEXT_DECODING,
    NONE,
    OUTPUT_TOKENS,
    PATH_BLOCKS,
    PHASE,
    PREEMPTIONS,
    PREFILLING,
    PREVIOUS_DECODING,
    QUEUED,
    RANK,
    REJECTED,
    RUNNING,
    STATUS,
    STEP_PREEMPTIONS,
    TARGET,
    TOTAL_PREEMPTIONS,
    UNKEYED,
    WAITING,
    WATCH,
)
from replay.kernels.serving.gaps import forget_new, longest_step_since
from replay.kernels.serving.heap import STEP, WHO, pop, push, remove
from replay.kernels.serving.links import put_first, put_last, take_from
from replay.kernels.serving.sglang_layout import (
    CLIP,
    DECODING_LIST,
    ENDED,
    FIRST_DECODING,
    FIRST_RANK,
    JOINS,
    LAST_RANK,
    LAUNCHED,
    OUT,
    PROMPT_CLOCK,
    QUEUE_STOP,
    QUEUED_CLOCK,
    RATIO,
    RETRACT_TOKENS,
    ROWS,
)

# --- what is known --------------------------------------------------------------------------


@inner
def pages_of(t, tokens):
    """Return the pages that so many tokens take."""
    return (tokens + t.rules[BLOCK_SIZE] - 1) // t.rules[BLOCK_SIZE]


@inner
def mixes(t):
    """Return whether decodes may share a step with prompts: SGLang's do where prompts are cut."""
    return t.rules[MIXED_STEPS] != 0 and t.rules[CHUNKED_PREFILL] != 0


@inner
def counted(t, request):
    """Return whether it was said of a request what of it was found and why the rest was not."""
    return t.outcome[request, INPUT_BLOCKS] > 0


@inner
def generated(t, e, request):
    """Return the tokens a request is known to have sampled."""
    if t.state[request, PHASE] != DECODING:
        return t.state[request, EMITTED]
    return t.state[request, EMITTED] + max(e.now[DECODE_STEP] - t.state[request, JOINED], 0)


@inner
def output_left(t, e, request):
    """Return the output tokens to come, as far as they count."""
    return min(t.plan[request, OUTPUT_TOKENS] - generated(t, e, request), CLIP)


@inner
def reserve(t, e, request):
    """Return the tokens that are kept for what a running request may yet generate."""
    ratio = 1.0 if t.rules[IGNORE_EOS] else e.ratios[RATIO]
    return output_left(t, e, request) * ratio


@inner
def ends_at(t, request):
    """Return the decode that makes a request's last token."""
    before = t.state[request, TARGET] - t.plan[request, INPUT_TOKENS]
    return t.state[request, JOINED] + t.plan[request, OUTPUT_TOKENS] - before - 1


@inner
def _opens_at(t, request):
    return (t.state[request, JOINED] - t.state[request, TARGET]) % t.rules[BLOCK_SIZE]


@inner
def pages_opened(t, e):
    """Return the pages that the next decode of all that run opens."""
    return e.phases[e.now[LAUNCHED] % t.rules[BLOCK_SIZE]]


@inner
def _context_start(t, request):
    return t.state[request, TARGET] + 1 - t.state[request, JOINED]


@inner
def longest_context(t, e):
    """Return the most keys that one decode of this step attends to."""
    now = e.now
    if now[LONGEST_COUNT] == 0:
        now[LONGEST_START] = -now[LAUNCHED]
        request = now[FIRST_DECODING]
        while request != NONE:
            start = _context_start(t, request)
            if start > now[LONGEST_START]:
                now[LONGEST_START] = start
                now[LONGEST_COUNT] = 0
            if start == now[LONGEST_START]:
                now[LONGEST_COUNT] += 1
            request = t.state[request, NEXT_DECODING]
    return now[LONGEST_START] + now[LAUNCHED]


# --- joining and leaving --------------------------------------------------------------------


@inner
def join_running(t, e, request, first):
    """Let a computed prompt decode on, last in `running`, or first."""
    now = e.now
    state = t.state
    state[request, PHASE] = DECODING
    state[request, JOINED] = now[LAUNCHED]
    if first:
        put_first(state, now, request, DECODING_LIST)
        now[FIRST_RANK] -= 1
        state[request, RANK] = now[FIRST_RANK]
    else:
        put_last(state, now, request, DECODING_LIST)
        now[LAST_RANK] += 1
        state[request, RANK] = now[LAST_RANK]
    now[DECODING_COUNT] += 1
    now[CONTEXT_TOKENS] += state[request, TARGET] + 1
    e.phases[_opens_at(t, request)] += 1
    start = _context_start(t, request)
    if now[DECODING_COUNT] == 1 or (now[LONGEST_COUNT] > 0 and start > now[LONGEST_START]):
        now[LONGEST_START] = start
        now[LONGEST_COUNT] = 1
    elif now[LONGEST_COUNT] > 0 and start == now[LONGEST_START]:
        now[LONGEST_COUNT] += 1
    now[FINISHING_COUNT] = push(
        e.finishing, now[FINISHING_COUNT], ends_at(t, request), state[request, RANK], request
    )


@inner
def leave_running(t, e, request):
    """Take a request out of `running` and settle how many tokens of it have a slot."""
    now = e.now
    state = t.state
    state[request, COMPUTED] = state[request, TARGET] + now[LAUNCHED] - state[request, JOINED]
    t.holdings[request, HELD] = pages_of(t, state[request, COMPUTED])
    take_from(state, now, request, DECODING_LIST)
    state[request, PREVIOUS_DECODING] = OUT
    now[DECODING_COUNT] -= 1
    now[CONTEXT_TOKENS] -= state[request, COMPUTED] + 1
    e.phases[_opens_at(t, request)] -= 1
    if _context_start(t, request) == now[LONGEST_START]:
        now[LONGEST_COUNT] = max(now[LONGEST_COUNT] - 1, 0)


@inner
def leave_out(t, e):
    """Take those whose last token is in flight out of `running`; return whether there are any."""
    now = e.now
    some = False
    request = now[FIRST_DECODING]
    if now[FINISHING_COUNT] == 0 or e.finishing[0, STEP] > now[LAUNCHED]:
        return False
    while request != NONE:
        following = t.state[request, NEXT_DECODING]
        if ends_at(t, request) <= now[LAUNCHED]:
            leave_running(t, e, request)
            some = True
        request = following
    return some


@inner
def _settle_gaps(t, e, request):
    """Note the longest gap between tokens of a request that has decoded; it decodes no more."""
    if t.state[request, PHASE] == DECODING and e.now[DECODE_STEP] > t.state[request, JOINED]:
        longest = longest_step_since(e, t.state[request, JOINED] + 1)
        t.outcome[request, ITL_MAX_NS] = max(t.outcome[request, ITL_MAX_NS], longest)
        t.state[request, LAST_TOKEN_NS] = e.now[DECODED_NS]


@inner
def _free_row(t, e, request):
    drop_pages(t, request)
    take_from(t.state, e.now, request, ROWS)
    e.now[RUNNING] -= 1


@rare
def finish(t, e, request):
    """Put a request that has all its tokens into the tree and give back what it held."""
    now = e.now
    if t.state[request, PHASE] == DECODING:
        if t.state[request, PREVIOUS_DECODING] != OUT:
            leave_running(t, e, request)
            now[ENDED] += 1
        _settle_gaps(t, e, request)
    insert_upto(t, request, t.state[request, COMPUTED])
    mark_response_seen(t, request)
    _free_row(t, e, request)
    t.state[request, PHASE] = DONE
    t.state[request, EMITTED] = t.plan[request, OUTPUT_TOKENS]
    t.outcome[request, STATUS] = COMPLETED
    t.outcome[request, DONE_NS] = now[CLOCK_NS]


@inner
def finish_decodes(t, e):
    """Finish those whose last token the decode that has just ended made, in their order."""
    now = e.now
    while now[FINISHING_COUNT] > 0 and e.finishing[0, STEP] <= now[DECODE_STEP]:
        request = e.finishing[0, WHO]
        now[FINISHING_COUNT] = pop(e.finishing, now[FINISHING_COUNT])
        finish(t, e, request)


@inner
def make_free(t, pages):
    """Evict until so many pages are free, or nothing can be evicted; return whether they are."""
    if t.counters[UNKEYED] < pages and t.counters[ENTRIES] > 0:
        _evict(t, pages)
    return t.counters[UNKEYED] >= pages


@rare
def _evict(t, pages):
    evict_until_free(t, pages, NONE)


@rare
def insert_upto(t, request, tokens):
    """Put the whole pages of a request's first tokens into the tree."""
    if t.rules[ENABLED]:
        insert_pages(t, request, min(tokens // t.rules[BLOCK_SIZE], t.plan[request, PATH_BLOCKS]))


# --- losing one's place ---------------------------------------------------------------------


@inner
def join_queue(t, e, request):
    """Put a request at the end of the queue."""
    now = e.now
    now[JOINS] += 1
    t.state[request, PHASE] = WAITING
    t.state[request, QUEUED] = now[JOINS]
    t.state[request, QUEUED_CLOCK] = now[PROMPT_CLOCK]
    t.holdings[request, LAST_HOLD] = NONE
    e.queue[now[QUEUE_STOP]] = request
    now[QUEUE_STOP] += 1


@rare
def give_up(t, e, request):
    """Take the place of a running request, or of an unfinished one, for good or for now.

    Its response is not inserted; a token of it in flight is thrown away.
    """
    now = e.now
    state = t.state
    if state[request, PHASE] == DECODING:
        state[request, EMITTED] = generated(t, e, request)
        now[FINISHING_COUNT] = remove(e.finishing, now[FINISHING_COUNT], request)
        forget_new(e, request)
        _settle_gaps(t, e, request)
        leave_running(t, e, request)
    state[request, LOST] = state[request, COMPUTED]
    state[request, COMPUTED] = 0
    state[request, PHASE] = PREFILLING
    _free_row(t, e, request)


@rare
def retract(t, e, request, others):
    """Send a running request away, and make room for those that stay; it has to be queued again."""
    give_up(t, e, request)
    t.state[request, LOOKED] = 0
    t.outcome[request, PREEMPTIONS] += 1
    e.now[STEP_PREEMPTIONS] += 1
    e.now[TOTAL_PREEMPTIONS] += 1
    make_free(t, pages_of(t, RETRACT_TOKENS * others))


@rare
def count_unseen(t, e, request):
    """Count the prompt of a request that was never looked up to be admitted, unless it was."""
    if not counted(t, request):
        t.outcome[request, ADMISSION] = -1 - e.now[ADMISSIONS]
        if t.rules[WATCH] == request:
            t.holdings[request, LAST_HOLD] = NONE  # it holds nothing
        attribute(t, request, 0, 0, NONE)


@rare
def refuse(t, e, request):
    """Reject a request that holds nothing."""
    count_unseen(t, e, request)
    t.outcome[request, STATUS] = REJECTED
    t.state[request, PHASE] = DONE
