"""A row for every step, for those who want to read them."""

from __future__ import annotations

from replay.kernels.cache.pool import free_blocks
from replay.kernels.jit import rare
from replay.kernels.layout import (
    CLOCK_NS,
    EVICTIONS,
    IDLE,
    OF_BOTH,
    OF_DECODES,
    OF_NOTHING,
    OF_PROMPTS,
    RUNNING,
    STEP_ADMITTED,
    STEP_AHEAD_NS,
    STEP_DECODE_CONTEXT,
    STEP_DECODE_TOKENS,
    STEP_DURATION_NS,
    STEP_EVICTABLE_BLOCKS,
    STEP_EVICTED_BLOCKS,
    STEP_FREE_BLOCKS,
    STEP_KIND,
    STEP_PREEMPTED,
    STEP_PREEMPTIONS,
    STEP_PREFILL_REQUESTS,
    STEP_PREFILL_TOKENS,
    STEP_RATIO_E9,
    STEP_RUNNING,
    STEP_SAMPLED,
    STEP_START_NS,
    STEP_WAITING,
    STEPS_KEPT,
)


@rare
def keep_step(t, e, start_ns, duration_ns, computes, around):
    """Keep a planned step in the next row.

    `computes` is (prompts, their tokens, decodes, their keys, tokens sampled), `around` (admitted,
    waiting, evictions before it, new-token ratio times 1e9).
    """
    prompts, prompt_tokens, decoding, context, sampled = computes
    admitted, waiting, evictions, ratio = around
    row = e.steps[e.now[STEPS_KEPT]]
    e.now[STEPS_KEPT] += 1
    row[STEP_START_NS] = start_ns
    row[STEP_DURATION_NS] = duration_ns
    row[STEP_AHEAD_NS] = start_ns - e.now[CLOCK_NS]
    row[STEP_KIND] = OF_NOTHING
    if prompt_tokens > 0:
        row[STEP_KIND] = OF_BOTH if decoding > 0 else OF_PROMPTS
    elif decoding > 0:
        row[STEP_KIND] = OF_DECODES
    row[STEP_PREFILL_REQUESTS] = prompts
    row[STEP_PREFILL_TOKENS] = prompt_tokens
    row[STEP_DECODE_TOKENS] = decoding
    row[STEP_DECODE_CONTEXT] = context
    row[STEP_SAMPLED] = sampled
    row[STEP_ADMITTED] = admitted
    row[STEP_RUNNING] = e.now[RUNNING]
    row[STEP_WAITING] = waiting
    row[STEP_FREE_BLOCKS] = free_blocks(t)
    row[STEP_PREEMPTED] = e.now[STEP_PREEMPTIONS]
    row[STEP_EVICTED_BLOCKS] = t.counters[EVICTIONS] - evictions
    row[STEP_EVICTABLE_BLOCKS] = t.counters[IDLE]
    row[STEP_RATIO_E9] = ratio
