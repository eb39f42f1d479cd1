"""A decode under SGLang's rules: a page for all that need one, or some of them retracted.

Who is retracted gives back its pages without inserting its response and comes last in the queue;
it is computed again as a prompt of its own prompt and what it has generated.
"""

from __future__ import annotations

from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    ASYNC,
    DECODING_COUNT,
    FILLED,
    FINISHING_COUNT,
    INPUT_TOKENS,
    NEXT_DECODING,
    NONE,
    ORDER,
    OUTPUT_TOKENS,
    PRIORITY,
    RANK,
    UNKEYED,
)
from replay.kernels.serving.heap import push
from replay.kernels.serving.links import put_last
from replay.kernels.serving.sglang_layout import (
    DECAY,
    DECODES,
    DECODING_LIST,
    EXTENDED,
    FIRST_DECODING,
    FULL,
    GROWN_FROM,
    LAST,
    LAST_DECODING,
    LAST_RANK,
    LAUNCHED,
    NUMBER,
    PARTS,
    RATIO,
    RATIO_LEAST,
    RETRACT_TOKENS,
)
from replay.kernels.serving.sglang_order import merge_sort
from replay.kernels.serving.sglang_running import (
    ends_at,
    generated,
    give_up,
    join_queue,
    leave_out,
    make_free,
    pages_opened,
    refuse,
    retract,
)


@inner
def _fits(t, e):
    """Return whether the pages that all need for a token each are there, or made free."""
    return make_free(t, pages_opened(t, e))


@inner
def _decode_all(t, e, batch):
    """Give all that run a token's slot in this batch; a page each is made free for them."""
    now = e.now
    make_free(t, now[DECODING_COUNT])
    t.counters[UNKEYED] -= pages_opened(t, e)
    now[LAUNCHED] += 1
    e.batches[batch, DECODES] = now[DECODING_COUNT]
    e.batches[batch, NUMBER] = now[LAUNCHED]


@inner
def _leave_out(t, e):
    """Leave out whose last token is in flight; return whether there was anybody."""
    if t.rules[ASYNC] == 0 or e.now[LAST] == NONE or not leave_out(t, e):
        return False
    e.now[FULL] = 0
    return True


@inner
def mix(t, e, batch):
    """Let all that run decode in a batch of prompts, if their pages fit; else they sit out."""
    now = e.now
    _leave_out(t, e)
    if now[DECODING_COUNT] == 0 or not _fits(t, e):
        return
    if t.rules[ORDER] == PRIORITY:
        request = now[FIRST_DECODING]
        while request != NONE:
            known = generated(t, e, request)
            t.state[request, FILLED] = t.plan[request, INPUT_TOKENS] + known
            request = t.state[request, NEXT_DECODING]
    _decode_all(t, e, batch)
    e.batches[batch, EXTENDED] += now[DECODING_COUNT]


@inner
def decode(t, e, batch):
    """Plan a decode of all that run; return whether there is one."""
    now = e.now
    left_out = _leave_out(t, e)
    if now[DECODING_COUNT] == 0:
        return False
    if _fits(t, e):
        e.ratios[RATIO] = max(e.ratios[RATIO] - e.ratios[DECAY], e.ratios[RATIO_LEAST])
    elif left_out:
        return False
    else:
        _make_room(t, e)
    if now[DECODING_COUNT] == 0:
        return False
    e.batches[batch, PARTS] = 0
    e.batches[batch, EXTENDED] = now[GROWN_FROM]
    _decode_all(t, e, batch)
    return True


@rare
def _make_room(t, e):
    """Retract running requests until the pages of those that stay fit, but keep one.

    Who has generated most stays longest, among equals who has the shorter prompt.
    """
    now = e.now
    _sort_running(t, e)
    while now[DECODING_COUNT] > 1:
        request = now[LAST_DECODING]
        retract(t, e, request, now[DECODING_COUNT] - 1)
        join_queue(t, e, request)
        if _fits(t, e):
            break
    if not _fits(t, e):
        request = now[LAST_DECODING]
        give_up(t, e, request)
        refuse(t, e, request)
    tokens = 0
    most = 0
    request = now[FIRST_DECODING]
    while request != NONE:
        tokens += generated(t, e, request)
        most += t.plan[request, OUTPUT_TOKENS]
        request = t.state[request, NEXT_DECODING]
    tokens += RETRACT_TOKENS * now[DECODING_COUNT]
    e.ratios[RATIO] = min(1.0, tokens / (most + 1))
    now[FULL] = 0


@inner
def _sort_running(t, e):
    """Put `running` in the order in which requests are kept; it stays in it."""
    now = e.now
    count = 0
    request = now[FIRST_DECODING]
    while request != NONE:
        e.sorted[0, count] = request
        e.keys[0, count] = -generated(t, e, request)
        e.ties[0, count] = t.plan[request, INPUT_TOKENS]
        count += 1
        request = t.state[request, NEXT_DECODING]
    merge_sort(t, e, count, False)
    now[FIRST_DECODING] = NONE
    now[LAST_DECODING] = NONE
    now[FINISHING_COUNT] = 0
    for at in range(count):
        request = e.sorted[0, at]
        put_last(t.state, now, request, DECODING_LIST)
        now[LAST_RANK] += 1
        t.state[request, RANK] = now[LAST_RANK]
        now[FINISHING_COUNT] = push(
            e.finishing, now[FINISHING_COUNT], ends_at(t, request), now[LAST_RANK], request
        )
