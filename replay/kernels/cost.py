"""Time of one engine step, from flat arrays: the engine does not know what they were made from.

A step costs

    max(linear[T] + head[r] + attention of every kind of layer, host) + what follows it

nanoseconds, rounded up, and never less than the floor: T new tokens in the step, r rows of them
sampled. `linear` and `head` are tables. `host` is what the CPU takes to start a step, which grows
with its requests and hides behind the GPU where that takes longer. Attention depends on who is in
the step and is computed from one row of coefficients a kind of layer (attention.py). The floor is
the arithmetic at the peak or the bytes at the nominal bandwidth, whichever is more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from replay.kernels.attention import (
    CHUNKS,
    FLOOR_DECODE_PAIR_NS,
    FLOOR_KEY_NS,
    FLOOR_PAIR_NS,
    KEYS,
    PAIRS,
    ROWS,
    WINDOW,
    attention_ns,
)
from replay.kernels.corrections import factor
from replay.kernels.jit import inner

# floor float64[FLOORS]: what no software can beat, besides attention
TOKEN_NS = 0  # arithmetic of one token's GEMMs at the peak
SAMPLE_NS = 1  # arithmetic of one sampled row
WEIGHTS_NS = 2  # the weights that any step reads, at the nominal bandwidth
HEAD_WEIGHTS_NS = 3
FLOORS = 4

# host float64[HOSTS]: the CPU's part of a step
HOST_STEP_NS = 0  # to start a step, while the GPU works on what it already has
HOST_REQUEST_NS = 1  # more of it for each request in the step
HOST_PROMPT_NS = 2  # more of it where a step has prompt chunks: launches that are in no graph
HOST_AFTER_NS = 3  # what no work of the GPU hides
HOST_GRAPH_TOKENS = 4  # tokens of the largest step with prompt chunks that is launched as graphs
HOST_EAGER_NS = 5  # more of it to start a larger one, kernel by kernel
HOSTS = 6


class CostTables(NamedTuple):
    """What a step costs; times in ns, all arrays contiguous, float64 but for the last.

    The factors correct the sum where measurements say so, bilinear between logarithms: a step of
    prompts by (new, mean cached) tokens, one of decodes by (requests, mean context). Empty arrays
    correct nothing.
    """

    linear_ns: np.ndarray  # [max_batched_tokens + 1], 0 at 0
    head_ns: np.ndarray  # [max_sequences + 1], 0 at 0
    attention: np.ndarray  # [K, COEFFICIENTS]
    floor: np.ndarray  # [FLOORS]
    host: np.ndarray  # [HOSTS]
    prefill_new: np.ndarray  # [N], log(1 + tokens), rising
    prefill_cached: np.ndarray  # [C]
    prefill_factor: np.ndarray  # [N, C]
    decode_batch: np.ndarray  # [B]
    decode_context: np.ndarray  # [X]
    decode_factor: np.ndarray  # [B, X]
    exact: np.ndarray  # int64[3], ns a step, a token, a key of a decode: all there is; or empty


@inner
def floor_ns(tables, sums, tokens, sampled, context_tokens):
    """Return what no software can beat; `sums` as the chunks left them, decodes not dealt out."""
    if tokens == 0:
        return 0.0
    compute = tokens * tables.floor[TOKEN_NS] + sampled * tables.floor[SAMPLE_NS]
    memory = tables.floor[WEIGHTS_NS]
    if sampled > 0:
        memory += tables.floor[HEAD_WEIGHTS_NS]
    attention = tables.attention
    for kind in range(attention.shape[0]):
        decodes = tokens - sums[kind, ROWS]
        keys = min(float(context_tokens), decodes * attention[kind, WINDOW])
        compute += sums[kind, PAIRS] * attention[kind, FLOOR_PAIR_NS]
        compute += keys * attention[kind, FLOOR_DECODE_PAIR_NS]
        memory += (sums[kind, KEYS] + keys) * attention[kind, FLOOR_KEY_NS]
    return max(compute, memory)


@inner
def step_ns(tables, sums, decodes, context_tokens, longest_context, sampled):
    """Return a whole step in integer nanoseconds, rounded up.

    Tables that measurements correct are kept above the floor here; those of the roofline are above
    it part by part, which is checked where they are compiled.

    `sums` holds the chunks of the step; afterwards only `clear_chunks` makes sense of it.
    """
    new = int(sums[0, ROWS])
    tokens = new + decodes
    if tables.exact.size > 0:
        exact = tables.exact
        return (exact[0] + exact[1] * tokens + exact[2] * context_tokens) * (tokens > 0)
    measured = tables.prefill_factor.size + tables.decode_factor.size > 0
    floor = 0.0
    cached = 0.0
    if measured:  # before attention, which changes the sums
        floor = floor_ns(tables, sums, tokens, sampled, context_tokens)
        cached = (sums[0, KEYS] - new) / max(sums[0, CHUNKS], 1.0)
    attention = attention_ns(tables.attention, sums, decodes, context_tokens, longest_context)
    total = tables.linear_ns[tokens] + tables.head_ns[sampled] + attention
    if tokens == 0:
        return 0
    if measured:
        total *= factor(tables, new, cached, decodes, context_tokens)
    host = tables.host
    host_ns = host[HOST_STEP_NS] + (sums[0, CHUNKS] + decodes) * host[HOST_REQUEST_NS]
    if new > 0:
        host_ns += host[HOST_PROMPT_NS]
        if tokens > host[HOST_GRAPH_TOKENS]:
            host_ns += host[HOST_EAGER_NS]
    return math.ceil(max(total, floor, host_ns) + host[HOST_AFTER_NS])
