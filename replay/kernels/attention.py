"""Attention of one engine step: chunks of prompts and decodes as tiles of one launch or of two.

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

FlashAttention-3 (`PACKED`) makes one launch of whatever is in the step. The query heads that share
a KV head are rows of one tile, and where tiles leave SMs idle their keys are cut into pieces: how
many at most follows from the longest chunk of the launch, how many for a tile from the work of
all. The same 16 tokens after 65,536 cached ones are 8 tiles, of 8 KV heads, in 15 pieces each:
reading the keys takes longer than they do. A chunk of 512 tokens fills the SMs, so beside it
nothing is cut, not even a decode over 32,768 keys.
"""

from __future__ import annotations

import math

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
UNSPLIT = 15  # 1 where decodes beside chunks are tiles, 2 where decodes alone are too, 3 PACKED
FLOOR_PAIR_NS = 16  # arithmetic of one pair at the peak, chunks
FLOOR_KEY_NS = 17  # one key at the nominal bandwidth
FLOOR_DECODE_PAIR_NS = 18
CHUNK_LAUNCH_NS = 19  # fixed time of a launch with prompt chunks
DECODE_LAUNCH_NS = 20  # and of one of decodes
ABSORBED_TOKENS = 21  # chunks of at most so many tokens are worked as decodes are (latents)
WRITE_NS = 22  # K and V of one new token, put into the cache by a kernel of its own
COMBINE_NS = 23  # fixed time more of a launch that cuts tiles: their pieces are put together
DECODE_PIECES = 24  # of a tile at most, where no chunk is longer than a tile (PACKED)
ABSORBED_PAIR_NS = 25  # arithmetic of one pair of a chunk worked as decodes are
COEFFICIENTS = 26

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
MOST_NEW = 9  # tokens of the longest chunk
ABSORBED_PAIRS = 10  # of PAIRS, KEYS and ROWS those of chunks worked as decodes are
ABSORBED_KEYS = 11
ABSORBED_ROWS = 12
SUMS = 13

UNLIMITED = 2.0**53  # keys of a window that never ends; finite, so that none of it is none
ALWAYS = 2.0
PACKED = 3.0
L2_FULL = 0.7  # share of the L2 cache from which keys start to be read again

# FlashAttention-3, hopper/heuristics.h and flash_prepare_scheduler.cu
SPLIT_KEYS = 128  # keys of a block: pieces are whole blocks
UNSPLIT_BLOCKS = 4  # a tile of so few blocks is never cut
FULL = 0.8  # share of the SMs from which tiles are not cut
FILLED = 0.85  # share of its waves that a number of pieces must fill
MARGIN = 1.1  # pieces are sized for that much more work than there is
MOST_PIECES = 32.0  # what a CUDA graph of the engine leaves room for
DECODE_TILE = 0.5  # of the time of a key, where a launch of decodes alone has narrower tiles


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
        if sums[kind, CHUNKS] + sums[kind, TILES] > 0.0:
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
        window = attention[kind, WINDOW]
        seen = min(cached + new, window + new)
        pairs = _pairs(new, cached, window)
        sums[kind, PAIRS] += pairs
        sums[kind, KEYS] += seen
        sums[kind, ROWS] += new
        sums[kind, CHUNKS] += 1.0
        if new <= attention[kind, ABSORBED_TOKENS]:
            sums[kind, ABSORBED_PAIRS] += pairs
            sums[kind, ABSORBED_KEYS] += seen
            sums[kind, ABSORBED_ROWS] += new
            continue
        rows = attention[kind, TILE_ROWS]
        tiles = math.ceil(new / rows) * attention[kind, HEADS]
        start = attention[kind, TILE_START_KEYS]
        average = min(cached + 0.5 * (new + rows), window + rows) + start
        longest = min(cached + new, window + rows) + start
        sums[kind, EXPANDED] += min(cached, window)
        sums[kind, MOST_NEW] = max(sums[kind, MOST_NEW], new)
        if attention[kind, UNSPLIT] == PACKED:  # dealt out with the decodes, when all are known
            sums[kind, TILES] += tiles
            sums[kind, WORK] += tiles * (min(average, longest) - start)
            sums[kind, SPAN] = max(sums[kind, SPAN], longest - start)
        else:
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
        total += (sums[kind, ROWS] + decodes) * attention[kind, WRITE_NS]
    return total


@inner
def _kind_ns(attention, sums, kind, decodes, context_tokens, longest_context):
    chunk_rows = sums[kind, ROWS] - sums[kind, ABSORBED_ROWS]
    requests = decodes + sums[kind, ABSORBED_ROWS]
    if chunk_rows + requests == 0.0:
        return 0.0
    keys = min(float(context_tokens), decodes * attention[kind, WINDOW])
    unsplit = attention[kind, UNSPLIT]
    if unsplit == PACKED:
        return _packed_ns(attention, sums, kind, decodes, keys, longest_context)
    if decodes > 0 and unsplit > 0.0 and (chunk_rows > 0.0 or unsplit == ALWAYS):
        read_ns = _deal_decodes(attention, sums, kind, decodes, keys, longest_context)
        decode_pair_ns = keys * attention[kind, DECODE_PAIR_NS]
        return _chunks_ns(attention, sums, kind, chunk_rows, decode_pair_ns, read_ns)
    total = 0.0
    if requests > 0:
        pair_ns = keys * attention[kind, DECODE_PAIR_NS]
        pair_ns += sums[kind, ABSORBED_PAIRS] * attention[kind, ABSORBED_PAIR_NS]
        read = keys + sums[kind, ABSORBED_KEYS]
        total += attention[kind, DECODE_LAUNCH_NS] + soft_max(
            pair_ns,
            read * attention[kind, DECODE_KEY_NS] + requests * attention[kind, DECODE_ROW_NS],
        )
    if chunk_rows > 0.0:
        total += _chunks_ns(attention, sums, kind, chunk_rows, 0.0, 0.0)
    return total


@inner
def _chunks_ns(attention, sums, kind, chunk_rows, decode_pair_ns, decode_read_ns):
    """Return a launch of tiles: chunks, and what decodes that are tiles of it add to it."""
    pair_ns = (sums[kind, PAIRS] - sums[kind, ABSORBED_PAIRS]) * attention[kind, PAIR_NS]
    span_ns = sums[kind, SPAN] * attention[kind, TILE_KEY_NS]
    compute_ns = max(pair_ns + decode_pair_ns, span_ns)
    keys = sums[kind, KEYS] - sums[kind, ABSORBED_KEYS]
    read_ns = keys * attention[kind, KEY_NS] + chunk_rows * attention[kind, ROW_NS]
    expand_ns = sums[kind, EXPANDED] * attention[kind, EXPAND_NS]
    work_ns = soft_max(compute_ns, read_ns + decode_read_ns)
    return attention[kind, CHUNK_LAUNCH_NS] + work_ns + expand_ns


@inner
def _deal_decodes(attention, sums, kind, decodes, keys, longest_context):
    """Deal decodes out as tiles beside those of chunks; return the time of their reads."""
    start = attention[kind, TILE_START_KEYS]
    tiles = decodes * attention[kind, HEADS]
    longest = min(float(longest_context), attention[kind, WINDOW]) + start
    _deal(sums, kind, attention[kind, SMS], tiles, keys / decodes + start, longest)
    reads = _reads(attention, kind, decodes, keys)
    return keys * attention[kind, DECODE_KEY_NS] * reads + decodes * attention[kind, DECODE_ROW_NS]


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


@inner
def _packed_ns(attention, sums, kind, decodes, keys, longest_context):
    """Return one launch of chunks and decodes whose tiles are cut into pieces over idle SMs.

    A tile is given its share of the launch's work and a tenth; chunks are cut as their mean is. One
    piece fewer is taken where that is done no later, as 56 tiles on 132 SMs are in two pieces
    and one wave, not in three and two. The kernel's own rule does not look; measured launches are
    met better so, and without it longer chunks would cost up to a third less.
    """
    sms = attention[kind, SMS]
    chunk_tiles = sums[kind, TILES]
    narrow = 1.0 if chunk_tiles > 0.0 else DECODE_TILE
    start = attention[kind, TILE_START_KEYS] / narrow
    longest = min(float(longest_context), attention[kind, WINDOW])
    most = _most_pieces(attention, sums, kind, max(sums[kind, SPAN], longest))
    work = sums[kind, WORK] + keys * attention[kind, HEADS]
    size = max(math.ceil(MARGIN * work / (SPLIT_KEYS * sms)), 1.0) * SPLIT_KEYS
    cut, span = _longest_sm(attention, sums, kind, decodes, keys, longest, size, most, start)
    if cut > 1.0:
        fewer = cut - 1.0
        _, other = _longest_sm(attention, sums, kind, decodes, keys, longest, size, fewer, start)
        if other <= span:
            cut, span = fewer, other
    pair_ns = sums[kind, PAIRS] * attention[kind, PAIR_NS] + keys * attention[kind, DECODE_PAIR_NS]
    read_ns = sums[kind, KEYS] * attention[kind, KEY_NS] + keys * attention[kind, DECODE_KEY_NS]
    read_ns += sums[kind, ROWS] * attention[kind, ROW_NS] + decodes * attention[kind, DECODE_ROW_NS]
    launch_ns = attention[kind, CHUNK_LAUNCH_NS if chunk_tiles > 0.0 else DECODE_LAUNCH_NS]
    if cut > 1.0:
        launch_ns += attention[kind, COMBINE_NS]
    return launch_ns + soft_max(max(pair_ns, span * attention[kind, TILE_KEY_NS] * narrow), read_ns)


@inner
def _longest_sm(attention, sums, kind, decodes, keys, longest, size, most, start):
    """Return the most pieces that a tile is cut into, at most `most`, and keys on the busiest SM.

    Pieces have `size` keys or, of tiles that would need more of them than `most`, as many as
    they take.
    """
    sms = attention[kind, SMS]
    chunk_tiles = sums[kind, TILES]
    pieces = 0.0
    span = 0.0
    shortest = UNLIMITED
    largest = 1.0
    if decodes > 0:
        each = keys / decodes
        cut = min(most, math.ceil(each / size))
        pieces = decodes * attention[kind, HEADS] * cut
        shortest = each / cut
        cut = min(most, math.ceil(longest / size))
        largest = max(largest, cut)
        span = longest / cut
    if chunk_tiles > 0.0:
        mean = sums[kind, WORK] / chunk_tiles
        cut = min(most, math.ceil(mean / size))
        pieces += chunk_tiles * cut
        shortest = min(shortest, mean / cut)
        cut = min(most, math.ceil(sums[kind, SPAN] / size))
        largest = max(largest, cut)
        span = max(span, sums[kind, SPAN] / cut)
    waves = pieces / sms
    idle = math.ceil(waves) - waves
    work = sums[kind, WORK] + keys * attention[kind, HEADS]
    return largest, max(span + start, work / sms + waves * start + idle * (shortest + start))


def pieces_that_fill(tiles, sms):
    """Return the fewest pieces a tile with which so many tiles fill their waves of SMs.

    Plain Python, for coefficients; kernels call the compiled one.
    """
    if tiles >= FULL * sms:
        return 1.0
    pieces = math.ceil(FILLED * sms / tiles)
    while pieces * tiles / sms < FILLED * math.ceil(pieces * tiles / sms):
        pieces += 1
    return min(float(pieces), MOST_PIECES)


_pieces_that_fill = inner(pieces_that_fill)


@inner
def _most_pieces(attention, sums, kind, keys):
    """Return the pieces of a tile at most, `keys` being those of the longest tile."""
    blocks = keys * (1.0 / SPLIT_KEYS)
    if blocks <= UNSPLIT_BLOCKS:
        return 1.0
    most = attention[kind, DECODE_PIECES]
    if sums[kind, MOST_NEW] > attention[kind, TILE_ROWS]:
        tiles = math.ceil(sums[kind, MOST_NEW] / attention[kind, TILE_ROWS])
        most = _pieces_that_fill(tiles * attention[kind, HEADS], attention[kind, SMS])
    return min(most, math.ceil(blocks))
