"""Time of one engine step, from flat arrays: the engine does not know what they were made from.

A step costs

    linear[T] + head[r] + attention of every kind of layer, and never less than the floor

nanoseconds, rounded up: T new tokens in the step, r rows of them sampled. `linear` and `head` are
tables. Attention depends on who is in the step and is computed here from one row of coefficients
a kind of layer (full, sliding window, latent), all layers of that kind folded in. The floor is
the arithmetic at the peak or the bytes at the nominal bandwidth, whichever is more.

Prompt chunks are summed first (`add_chunk`, one call a chunk), because all chunks of a step share
one launch: the unit of its work is a tile, `TILE_ROWS` query rows of one head that one SM takes
through all keys before them. A launch lasts as long as its longest tile, as its tiles dealt out to
the SMs, or as its arithmetic on the whole GPU.

Worked example: 32 heads, 132 SMs, tiles of 128 rows, a key a tile 25 ns. 16 new tokens after
65,536 cached ones are 32 tiles of one wave, each over 65,608 keys: 1.64 ms a layer. Four such
chunks in one step are 128 tiles, still one wave: 1.64 ms, not four times that.

Where decodes share a launch with prompt chunks, FlashAttention-2 takes each of their query heads
as one tile, unsplit, and reads the KV of one KV head again for each wave that its query heads
fill, unless the L2 cache holds it (`UNSPLIT`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from replay.kernels.jit import inner

# attention float64[K, COEFFICIENTS]: one row a kind of layer
PAIR_NS = 0  # one (query token, key token) pair of all query heads, on the whole GPU
TILE_KEY_NS = 1  # one key worked through by one tile, on one SM
TILE_START_KEYS = 2  # the fixed time of a tile, in keys
TILE_ROWS = 3  # query rows of one head in a tile
HEADS = 4  # query heads per GPU: a tile belongs to one head
SMS = 5  # tiles that run at once
KEY_NS = 6  # K and V of one key, read by prefill
ROW_NS = 7  # one query row of all heads, read, and its output, written
EXPAND_NS = 8  # one cached key expanded again for a prompt chunk (latent attention)
DECODE_PAIR_NS = 9  # arithmetic of one key of one decode
DECODE_KEY_NS = 10  # K and V of one key, read by decode
DECODE_ROW_NS = 11  # what a decode moves besides its keys
GROUP = 12  # query heads that share one KV head
L2_KEYS = 13  # keys of one KV head that the L2 cache holds
WINDOW = 14  # keys a query sees at most
UNSPLIT = 15  # 1 where decodes beside chunks are tiles, 2 where decodes alone are too
FLOOR_PAIR_NS = 16  # arithmetic of one pair at the peak, chunks
FLOOR_KEY_NS = 17  # one key at the nominal bandwidth
FLOOR_DECODE_PAIR_NS = 18
COEFFICIENTS = 19

# sums float64[K, SUMS]: the prompt chunks of a step together
PAIRS = 0
TILES = 1
WORK = 2  # keys of all tiles, their start included
SPAN = 3  # keys on the busiest SM
SHORTEST = 4  # keys of the shortest tile
KEYS = 5
ROWS = 6
EXPANDED = 7
CHUNKS = 8
SUMS = 9

# floor float64[FLOORS]: what no software can beat, besides attention
TOKEN_NS = 0  # arithmetic of one token's GEMMs at the peak
SAMPLE_NS = 1  # arithmetic of one sampled row
WEIGHTS_NS = 2  # the weights that any step reads, at the nominal bandwidth
HEAD_WEIGHTS_NS = 3
FLOORS = 4

UNLIMITED = 2.0**53  # keys of a window that never ends; finite, so that none of it is none
ALWAYS = 2.0
L2_FULL = 0.7  # share of the L2 cache from which keys start to be read again


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
    prefill_new: np.ndarray  # [N], log(1 + tokens), rising
    prefill_cached: np.ndarray  # [C]
    prefill_factor: np.ndarray  # [N, C]
    decode_batch: np.ndarray  # [B]
    decode_context: np.ndarray  # [X]
    decode_factor: np.ndarray  # [B, X]
    exact: np.ndarray  # int64[3], ns a step, a token, a key of a decode: all there is; or empty


@inner
def soft_max(first, second):
    """Return the 4-norm of two times: their maximum, up to 19 % more where they are equal."""
    one = first * first
    two = second * second
    return math.sqrt(math.sqrt(one * one + two * two))


# --- prompt chunks --------------------------------------------------------------------------


@inner
def clear_chunks(sums):
    """Forget the chunks of the last step."""
    for kind in range(sums.shape[0]):
        if sums[kind, TILES] > 0.0:
            for field in range(SUMS):
                sums[kind, field] = 0.0


@inner
def _pairs(new, cached, window):
    """Return the (query, key) pairs of a chunk whose queries see `window` keys at most."""
    rising = min(max(window - cached, 0.0), new)
    return rising * cached + 0.5 * rising * (rising + 1.0) + (new - rising) * window


@inner
def add_chunk(attention, sums, new_tokens, cached_tokens):
    """Add one request's chunk to a step: `new_tokens` after `cached_tokens` of context."""
    new = float(new_tokens)
    cached = float(cached_tokens)
    for kind in range(attention.shape[0]):
        rows = attention[kind, TILE_ROWS]
        window = attention[kind, WINDOW]
        seen = min(cached + new, window + new)
        tiles = math.ceil(new / rows) * attention[kind, HEADS]
        start = attention[kind, TILE_START_KEYS]
        average = min(cached + 0.5 * (new + rows), window + rows) + start
        longest = min(cached + new, window + rows) + start
        sums[kind, PAIRS] += _pairs(new, cached, window)
        sums[kind, KEYS] += seen
        sums[kind, ROWS] += new
        sums[kind, EXPANDED] += min(cached, window)
        sums[kind, CHUNKS] += 1.0
        _deal(sums, kind, attention[kind, SMS], tiles, average, longest)


@inner
def _deal(sums, kind, sms, tiles, average, longest):
    """Deal tiles of one kind out to the SMs beside those already there.

    Alone they take whole waves. Beside others they fill what is idle, and the last wave is as
    long as the shortest tiles are.
    """
    before = sums[kind, TILES]
    shortest = average if before == 0.0 else min(average, sums[kind, SHORTEST])
    total = before + tiles
    work = sums[kind, WORK] + tiles * average
    idle = math.ceil(total / sms) - total / sms
    alone = math.ceil(tiles / sms) * average
    span = max(sums[kind, SPAN], longest, alone, work / sms + idle * shortest)
    sums[kind, TILES] = total
    sums[kind, WORK] = work
    sums[kind, SHORTEST] = shortest
    sums[kind, SPAN] = span


# --- attention ------------------------------------------------------------------------------


@inner
def attention_ns(attention, sums, decodes, context_tokens, longest_context):
    """Return the attention of a step: the chunks in `sums` and one query of each decode.

    The decodes attend to `context_tokens` keys in sum, `longest_context` at most. `sums` is
    changed: decodes that are tiles are dealt out beside those of the chunks.
    """
    total = 0.0
    for kind in range(attention.shape[0]):
        total += _kind_ns(attention, sums, kind, decodes, context_tokens, longest_context)
    return total


@inner
def _kind_ns(attention, sums, kind, decodes, context_tokens, longest_context):
    window = attention[kind, WINDOW]
    chunk_rows = sums[kind, ROWS]
    keys = min(float(context_tokens), decodes * window)
    unsplit = attention[kind, UNSPLIT]
    by_tile = decodes > 0 and unsplit > 0.0 and (chunk_rows > 0.0 or unsplit == ALWAYS)
    read_ns = keys * attention[kind, DECODE_KEY_NS]
    decode_ns = 0.0
    if by_tile:
        read_ns *= _reads(attention, kind, decodes, keys)
        start = attention[kind, TILE_START_KEYS]
        tiles = decodes * attention[kind, HEADS]
        longest = min(float(longest_context), window) + start
        _deal(sums, kind, attention[kind, SMS], tiles, keys / decodes + start, longest)
    read_ns += decodes * attention[kind, DECODE_ROW_NS]
    if not by_tile and decodes > 0:
        decode_ns = soft_max(keys * attention[kind, DECODE_PAIR_NS], read_ns)
        read_ns = 0.0
    elif chunk_rows == 0.0 and decodes == 0:
        return 0.0
    if chunk_rows == 0.0 and not by_tile:
        return decode_ns
    pair_ns = sums[kind, PAIRS] * attention[kind, PAIR_NS]
    if by_tile:
        pair_ns += keys * attention[kind, DECODE_PAIR_NS]
    compute_ns = max(pair_ns, sums[kind, SPAN] * attention[kind, TILE_KEY_NS])
    read_ns += sums[kind, KEYS] * attention[kind, KEY_NS] + chunk_rows * attention[kind, ROW_NS]
    expand_ns = sums[kind, EXPANDED] * attention[kind, EXPAND_NS]
    return soft_max(compute_ns, read_ns) + expand_ns + decode_ns


@inner
def _reads(attention, kind, decodes, keys):
    """Return how often the KV of decodes that are tiles is read from memory.

    The query heads of one KV head follow each other; each wave that they fill reads its KV again
    unless the L2 cache still holds it.
    """
    group = attention[kind, GROUP]
    waves = math.ceil(group * decodes / attention[kind, SMS])
    again = max(min(waves, group), 1.0) - 1.0
    full = keys / attention[kind, L2_KEYS]
    return 1.0 + again * min(max((full - L2_FULL) / (1.0 - L2_FULL), 0.0), 1.0)


# --- the whole step -------------------------------------------------------------------------


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
    if measured and tokens > 0:
        total *= _factor(tables, new, cached, decodes, context_tokens)
    return math.ceil(max(total, floor))


# --- corrections ----------------------------------------------------------------------------


@inner
def _factor(tables, new, cached, decodes, context_tokens):
    """Return the measured correction of a step: that of its prompts and that of its decodes.

    Where it has both, each counts by the linear time that its tokens would take alone.
    """
    prefill_weight = 0.0
    decode_weight = 0.0
    prefill = 1.0
    decode = 1.0
    if new > 0:
        prefill_weight = tables.linear_ns[new]
        if tables.prefill_factor.size > 0:
            prefill = _between(
                tables.prefill_new,
                tables.prefill_cached,
                tables.prefill_factor,
                math.log(1.0 + new),
                math.log(1.0 + cached),
            )
    if decodes > 0:
        decode_weight = tables.linear_ns[decodes]
        if tables.decode_factor.size > 0:
            decode = _between(
                tables.decode_batch,
                tables.decode_context,
                tables.decode_factor,
                math.log(1.0 + decodes),
                math.log(1.0 + context_tokens / decodes),
            )
    weight = prefill_weight + decode_weight
    return (prefill * prefill_weight + decode * decode_weight) / weight


@inner
def _place(axis, value):
    """Return the last point of a rising axis not past `value`, and the share of the way on."""
    last = axis.shape[0] - 1
    if last == 0 or value <= axis[0]:
        return 0, 0.0
    if value >= axis[last]:
        return last - 1, 1.0
    at = np.searchsorted(axis, value, side="right") - 1
    return at, (value - axis[at]) / (axis[at + 1] - axis[at])


@inner
def _between(rows, columns, grid, row, column):
    """Return a bilinear interpolation; what lies outside takes the value at the border."""
    up, down = _place(rows, row)
    left, right = _place(columns, column)
    below = min(up + 1, rows.shape[0] - 1)
    beside = min(left + 1, columns.shape[0] - 1)
    first = grid[up, left] * (1.0 - right) + grid[up, beside] * right
    second = grid[below, left] * (1.0 - right) + grid[below, beside] * right
    return first * (1.0 - down) + second * down
