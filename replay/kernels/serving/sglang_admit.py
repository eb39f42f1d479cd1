"""A prefill batch under SGLang's rules: who gets in, and what it keeps room for.

The unfinished prompt goes first, then the queue in its order; nobody is overtaken. Four budgets
shrink with everybody who gets in: tokens of the step (CHUNK, INPUT), what is taken now (CURRENT)
and what all that run and get in take until they end (TOTAL, a float, because those that run count
with a share of their output).
"""

from __future__ import annotations

from replay.kernels.cache.causes import attribute, mark_seen
from replay.kernels.cache.pool import name_evictor
from replay.kernels.cache.radix import evict_until_free, lock_match
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ADMISSION,
    ADMISSIONS,
    BLOCK_SIZE,
    CAPACITY_MISS,
    CHUNKED_PREFILL,
    CLOCK_NS,
    COMPUTED,
    DECODING_COUNT,
    ENABLED,
    EVICTED_BLOCKS,
    EVICTIONS,
    FILLED,
    FIRST_RUNNING,
    HELD,
    IDLE,
    IGNORE_EOS,
    LAST_HIT,
    LAST_SCHEDULED_NS,
    LOOKED,
    LOST,
    MAX_BATCHED_TOKENS,
    MAX_PREFILL_TOKENS,
    MAX_SEQUENCES,
    NEXT_DECODING,
    NONE,
    ORDER,
    OUTPUT_TOKENS,
    PHASE,
    PREEMPTIONS,
    PREFILL_MAX_REQUESTS,
    PREFILLING,
    PRIORITY,
    RECOMPUTED,
    RUNNING,
    SCHEDULED_NS,
    SPF,
    TARGET,
    UNKEYED,
)
from replay.kernels.serving.links import put_last
from replay.kernels.serving.sglang_fit import fits_to_the_end
from replay.kernels.serving.sglang_layout import (
    ANY,
    CHOSEN,
    CHUNK,
    CLIP,
    CURRENT,
    CUT,
    EXTENDED,
    FIRST_DECODING,
    FULL,
    GREW,
    INPUT,
    LIFE,
    PARTS,
    PASS_ADMITTED,
    QUEUE_FIRST,
    QUEUE_STOP,
    ROWS,
    START,
    STATES,
    TOKENS,
    TOTAL,
    UNFINISHED_PROMPT,
    WHO,
    WHOLE,
)
from replay.kernels.serving.sglang_order import look_up, tokens_waiting, work
from replay.kernels.serving.sglang_preempt import preempt
from replay.kernels.serving.sglang_running import (
    counted,
    join_queue,
    mixes,
    output_left,
    pages_of,
    reserve,
)

GOES_ON, NO_TOKEN, OTHER = 0, 1, 2


@inner
def remaining(t):
    """Return the tokens that are free, or can be made free."""
    return (t.counters[UNKEYED] + t.counters[IDLE]) * t.rules[BLOCK_SIZE]


@inner
def _paged(t, tokens):
    return pages_of(t, tokens) * t.rules[BLOCK_SIZE]


@inner
def _set_budgets(t, e):
    now = e.now
    mixed = now[DECODING_COUNT] if mixes(t) else 0
    now[CHUNK] = t.rules[MAX_BATCHED_TOKENS] - mixed if t.rules[CHUNKED_PREFILL] else ANY
    now[INPUT] = t.rules[MAX_PREFILL_TOKENS] - mixed
    now[CURRENT] = mixed
    now[STATES] = NONE
    now[CHOSEN] = 0
    now[PASS_ADMITTED] = 0
    total = 0.0
    request = now[FIRST_DECODING]
    while request != NONE:
        total += reserve(t, e, request)
        request = t.state[request, NEXT_DECODING]
    e.ratios[TOTAL] = mixed + total


@inner
def _sign(t, e):
    """Return what speaks against looking at one more request."""
    left = remaining(t)
    if left - e.ratios[TOTAL] <= 0 or left - e.now[CURRENT] <= 0:
        return NO_TOKEN
    return OTHER if e.now[INPUT] <= 0 or e.now[CHUNK] <= 0 else GOES_ON


@inner
def _charge(t, e, tokens, may_generate):
    page = t.rules[BLOCK_SIZE]
    paged = _paged(t, tokens)
    e.ratios[TOTAL] += paged + page + may_generate
    e.now[CURRENT] += paged + page
    e.now[INPUT] -= paged
    e.now[CHUNK] -= paged


@inner
def _add_part(t, e, batch, request, tokens):
    """Let a request compute so many of its tokens in this batch."""
    at = e.batches[batch, PARTS]
    e.batches[batch, PARTS] = at + 1
    start = t.state[request, COMPUTED]
    whole = start + tokens == t.state[request, TARGET]
    e.parts[batch, at, WHO] = request
    e.parts[batch, at, START] = start
    e.parts[batch, at, TOKENS] = tokens
    e.parts[batch, at, WHOLE] = whole
    e.parts[batch, at, LIFE] = t.outcome[request, PREEMPTIONS]
    if not whole:
        e.batches[batch, CUT] = request
    may_generate = min(t.plan[request, OUTPUT_TOKENS], CLIP) if whole else 0
    _charge(t, e, tokens, may_generate)


@rare
def admit(t, e, batch):
    """Plan a batch of prompts; return whether there is one."""
    now = e.now
    e.batches[batch, PARTS] = 0
    e.batches[batch, CUT] = NONE
    _set_budgets(t, e)
    goes_on = now[UNFINISHED_PROMPT] != NONE
    if goes_on and not _go_on(t, e, batch):
        return False
    at = now[QUEUE_FIRST]
    while at < now[QUEUE_STOP] and _sign(t, e) != OTHER:
        request = e.queue[at]
        free_rows = t.rules[MAX_SEQUENCES] - now[RUNNING] + now[PASS_ADMITTED]
        most = min(t.rules[MAX_SEQUENCES] - now[DECODING_COUNT], free_rows + goes_on)
        if e.batches[batch, PARTS] >= most:
            now[FULL] = 1
        if now[FULL] and not (t.rules[ORDER] == PRIORITY and preempt(t, e, request, remaining(t))):
            break
        if not _try(t, e, batch, request):
            break
        at += 1
        sign = _sign(t, e)
        if sign == NO_TOKEN:
            now[FULL] = 1
        if sign != GOES_ON:
            break
    now[QUEUE_FIRST] = at
    for place in range(now[CHOSEN]):
        join_queue(t, e, e.chosen[place])
    if e.batches[batch, PARTS] == 0:
        return False
    now[UNFINISHED_PROMPT] = e.batches[batch, CUT]
    now[GREW] = 1
    _take(t, e, batch)
    return True


# --- the unfinished prompt ------------------------------------------------------------------


@inner
def _go_on(t, e, batch):
    """Let the unfinished prompt go on, whatever the memory; False if it has to wait.

    Where no token of the step is left to it, or no page is there, SGLang itself stops for good.
    """
    now = e.now
    request = now[UNFINISHED_PROMPT]
    computed = t.state[request, COMPUTED]
    rest = t.state[request, TARGET] - computed
    most = min(now[CHUNK], int(remaining(t) - e.ratios[TOTAL]))
    if most <= 0:
        most = now[CHUNK]
    room = _room_beside_others(t, e, rest)
    if room > 0:
        most = min(most, room)
    tokens = min(rest, most)
    pages = pages_of(t, computed + tokens) - pages_of(t, computed)
    if tokens <= 0 or pages > t.counters[UNKEYED] + t.counters[IDLE]:
        return False
    _add_part(t, e, batch, request, tokens)
    return True


@inner
def _room_beside_others(t, e, rest):
    """Return the most that the order spf lets the unfinished prompt take, 0 for any number."""
    page = t.rules[BLOCK_SIZE]
    chunk = e.now[CHUNK]
    if t.rules[ORDER] != SPF or t.rules[ENABLED] == 0 or chunk < 2 * page:
        return 0
    kept = 0
    for at in range(e.now[QUEUE_FIRST], e.now[QUEUE_STOP]):
        own = work(t, e.queue[at])
        if own >= rest or kept + _paged(t, own) > chunk - page:
            break
        kept += _paged(t, own)
    return (chunk - kept) // page * page if kept > 0 else 0


# --- the queue ------------------------------------------------------------------------------


@inner
def _try(t, e, batch, request):
    """Admit the next waiting request if it may be; return whether it was."""
    now = e.now
    page = t.rules[BLOCK_SIZE]
    tokens = tokens_waiting(t, request)
    hit = 0
    idle = 0
    if t.rules[ENABLED]:
        hit, idle = look_up(t, request, tokens - 1)
    t.state[request, FILLED] = tokens
    t.state[request, LOOKED] = hit * page
    limit = t.rules[PREFILL_MAX_REQUESTS]
    if limit > 0 and e.batches[batch, PARTS] >= limit:
        return False
    need = tokens - hit * page
    simulates = t.rules[IGNORE_EOS] and t.rules[ENABLED] == 0
    if simulates:
        fits = fits_to_the_end(t, e, batch, request, need)
    else:
        reserved = need + output_left(t, e, request) + page
        fits = reserved < remaining(t) - idle * page - e.ratios[TOTAL]
    if not fits:
        now[FULL] = e.batches[batch, PARTS] > 0 or now[DECODING_COUNT] > 0
        return False
    tokens = _tokens_now(t, e, batch, need, simulates)
    if tokens <= 0:
        return False
    _start(t, e, request, hit)
    _add_part(t, e, batch, request, tokens)
    return True


@inner
def _tokens_now(t, e, batch, need, simulates):
    """Return how many of the tokens it needs a request computes in this batch; 0 for none."""
    page = t.rules[BLOCK_SIZE]
    chunk = e.now[CHUNK]
    if simulates:
        return min(need, chunk)
    if t.rules[CHUNKED_PREFILL] == 0:
        first = e.batches[batch, PARTS] == 0
        return need if first or _paged(t, need) < e.now[INPUT] else 0
    if _paged(t, need) <= chunk:
        return need
    if t.rules[ORDER] == SPF and t.rules[ENABLED] and e.batches[batch, CUT] != NONE:
        return 0
    return chunk // page * page


@inner
def _start(t, e, request, hit):
    """Give a request a row and the prefix that was found, and count what it missed."""
    now = e.now
    state = t.state
    outcome = t.outcome
    computed = hit * t.rules[BLOCK_SIZE]
    state[request, TARGET] = tokens_waiting(t, request)
    state[request, COMPUTED] = computed
    state[request, PHASE] = PREFILLING
    session = lock_match(t, request, hit)
    if not counted(t, request):
        attribute(t, request, hit, session, now[FIRST_RUNNING])
        if outcome[request, CAPACITY_MISS] > 0:
            name_evictor(t, request, hit)
        mark_seen(t, request)
        now[ADMISSIONS] += 1
        outcome[request, ADMISSION] = now[ADMISSIONS]
        outcome[request, SCHEDULED_NS] = now[CLOCK_NS]
    else:
        outcome[request, RECOMPUTED] += max(state[request, LOST] - computed, 0)
    outcome[request, LAST_SCHEDULED_NS] = now[CLOCK_NS]
    outcome[request, LAST_HIT] = computed
    put_last(state, now, request, ROWS)
    now[RUNNING] += 1
    now[PASS_ADMITTED] += 1


@inner
def _take(t, e, batch):
    """Take the pages of a batch of prompts.

    Room is made for all of them first, and with pages of several tokens for one page more each.
    """
    page = t.rules[BLOCK_SIZE]
    extended = 0
    wanted = 0
    for at in range(e.batches[batch, PARTS]):
        request = e.parts[batch, at, WHO]
        extended += e.parts[batch, at, TOKENS]
        wanted += e.parts[batch, at, TOKENS] + (page if page > 1 else 0)
        evictions = t.counters[EVICTIONS]
        evict_until_free(t, pages_of(t, wanted), request)
        t.outcome[request, EVICTED_BLOCKS] += t.counters[EVICTIONS] - evictions
    for at in range(e.batches[batch, PARTS]):
        request = e.parts[batch, at, WHO]
        computed = t.state[request, COMPUTED] + e.parts[batch, at, TOKENS]
        pages = pages_of(t, computed)
        t.counters[UNKEYED] -= pages - t.holdings[request, HELD]
        t.holdings[request, HELD] = pages
        t.state[request, COMPUTED] = computed
    e.batches[batch, EXTENDED] = extended
