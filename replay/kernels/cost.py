"""Time of the attention of one engine step, and the whole step from its parts.

A step costs

    linear[T] + head[r] + sum over prompt chunks of prefill attention + decode attention

nanoseconds, rounded up: T new tokens in the step, r rows of them sampled. `linear` and `head` are
tables; attention depends on two counts and is computed here from a flat array of coefficients,
so that an engine knows one interface whatever the coefficients were made from. All layers are
folded into the coefficients. What each of them is, by its index:
"""

from __future__ import annotations

import math

from replay.kernels.jit import jit

PAIR_NS = 0  # one (query token, key token) pair of all query heads, on the whole GPU
TILE_KEY_NS = 1  # one key worked through by one tile of query rows, on one SM
TILE_ROWS = 2  # query rows of one head in a tile
HEADS = 3  # query heads per GPU: a tile belongs to one head
SMS = 4  # tiles that run at once
KEY_BYTES_NS = 5  # K and V of one key, read by prefill
QUERY_BYTES_NS = 6  # one query row of all heads, read, and its output, written
DECODE_KEY_BYTES_NS = 7  # K and V of one key, read by decode
COEFFICIENTS = 8


@jit
def soft_max(first, second):
    """Return the 4-norm of two times: their maximum, up to 19 % more where they are equal."""
    one = first * first
    two = second * second
    return math.sqrt(math.sqrt(one * one + two * two))


@jit
def prefill_attention_ns(attention, new_tokens, cached_tokens):
    """Return the time of one request's chunk: `new_tokens` after `cached_tokens` of context.

    A tile of query rows of one head works through all keys before it on one SM. So a chunk takes
    as long as its pairs on the whole GPU, its waves of average tiles, or its longest tile,
    whichever is most: 16 tokens after 64k cached ones cost about what 64 tokens do.
    """
    if new_tokens <= 0:
        return 0.0
    new = float(new_tokens)
    cached = float(cached_tokens)
    rows = attention[TILE_ROWS]
    tiles = math.ceil(new / rows) * attention[HEADS]
    waves = math.ceil(tiles / attention[SMS])
    average_keys = cached + 0.5 * (new + rows)
    keys = max(waves * average_keys, cached + new)
    pairs = new * cached + 0.5 * new * (new + 1.0)
    compute = max(pairs * attention[PAIR_NS], keys * attention[TILE_KEY_NS])
    memory = (cached + new) * attention[KEY_BYTES_NS] + new * attention[QUERY_BYTES_NS]
    return soft_max(compute, memory)


@jit
def decode_attention_ns(attention, requests, context_tokens):
    """Return the time of all decodes of a step: one query each, `context_tokens` keys in sum."""
    keys = float(context_tokens)
    memory = keys * attention[DECODE_KEY_BYTES_NS] + requests * attention[QUERY_BYTES_NS]
    return soft_max(keys * attention[PAIR_NS], memory)


@jit
def step_ns(linear_ns, head_ns, prefill_ns, decode_ns):
    """Return a whole step in integer nanoseconds, rounded up."""
    return math.ceil(linear_ns + head_ns + prefill_ns + decode_ns)
