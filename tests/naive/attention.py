"""Attention of one step the long way: every tile in a list, one kind of layer at a time.

A kind is a plain dict of what `docs/gpu-model.md` names; times in any unit, the same throughout.
"""

import math


def attention(kinds, chunks=(), contexts=()):
    """Return the attention of all layers; `chunks` are (new, cached), in order of admission."""
    return sum(one_kind(kind, chunks, contexts) for kind in kinds)


def four_norm(first, second):
    return math.pow(math.pow(first, 4) + math.pow(second, 4), 0.25)


def one_kind(kind, chunks, contexts):
    """Return what is launched for a step, each launch by itself."""
    written = (sum(new for new, _ in chunks) + len(contexts)) * kind["write"]
    if kind["decodes"] == "packed":
        return written + packed_launch(kind, chunks, contexts)
    long = [(new, cached) for new, cached in chunks if new > kind["absorbed"]]
    short = [(new, cached) for new, cached in chunks if new <= kind["absorbed"]]
    together = bool(contexts) and (
        kind["decodes"] == "always tiles" or (kind["decodes"] == "tiles beside chunks" and long)
    )
    if together:
        return written + tiles_launch(kind, long, contexts)
    return written + tiles_launch(kind, long, ()) + decodes_launch(kind, short, contexts)


def tiles_launch(kind, chunks, contexts):
    """Return one launch of tiles: those of chunks, and of decodes beside them."""
    if not chunks and not contexts:
        return 0.0
    pairs = sum(seen_pairs(kind, new, cached) for new, cached in chunks) * kind["pair"]
    launches = [tiles_of_chunk(kind, new, cached) for new, cached in chunks]
    read, expand = 0.0, 0.0
    for new, cached in chunks:
        read += min(cached + new, kind["window"] + new) * kind["key"] + new * kind["row"]
        expand += min(cached, kind["window"]) * kind["expand"]
    if contexts:
        keys = min(sum(contexts), len(contexts) * kind["window"])
        launches.append(tiles_of_decodes(kind, keys, contexts))
        pairs += keys * kind["decode_pair"]
        read += keys * kind["decode_key"] * reads(kind, len(contexts), keys)
        read += len(contexts) * kind["decode_row"]
    busiest = longest_sm(kind["sms"], launches) * kind["tile_key"]
    fixed = kind["launch"] + kind.get("prompt", 0.0)
    return fixed + four_norm(max(pairs, busiest), read) + expand


def decodes_launch(kind, chunks, contexts):
    """Return one launch of single queries: decodes, and short chunks on a latent."""
    if not chunks and not contexts:
        return 0.0
    keys = min(sum(contexts), len(contexts) * kind["window"])
    compute, rows = keys * kind["decode_pair"], len(contexts)
    for new, cached in chunks:
        compute += seen_pairs(kind, new, cached) * kind["absorbed_pair"]
        keys += min(cached + new, kind["window"] + new)
        rows += new
    moved = keys * kind["decode_key"] + rows * kind["decode_row"]
    return kind["launch"] + kind["combine"] + four_norm(compute, moved)


def packed_launch(kind, chunks, contexts):
    """Return one launch whose tiles hold the query heads of a KV head, cut over their keys."""
    if not chunks and not contexts:
        return 0.0
    window, sms = kind["window"], kind["sms"]
    rows = max(kind["tile_rows"] / kind["group"], 1.0)
    narrow = 1.0 if chunks else 0.5
    tiles = []  # (keys, keys of the longest, of a chunk)
    for new, cached in chunks:
        count = math.ceil(new / rows) * round(kind["kv_heads"])
        average = min(cached + new / 2 + rows / 2, window + rows, cached + new)
        tiles += [(average, min(cached + new, window + rows), True)] * count
    keys = min(sum(contexts), len(contexts) * window)
    for _ in contexts:
        count = round(kind["kv_heads"])
        tiles += [(keys / len(contexts), min(max(contexts), window), False)] * count
    longest_chunk = max((new for new, _ in chunks), default=1)
    most = most_pieces(
        math.ceil(longest_chunk / rows) * kind["kv_heads"], sms, max(tile[1] for tile in tiles)
    )
    work = sum(average for average, _, _ in tiles)
    size = 128 * max(1, math.ceil(1.1 * work / (128 * sms)))
    start = kind["tile_start"] / narrow
    cut, span = cut_tiles(tiles, most, size, sms, start)
    if cut > 1:
        _, other = cut_tiles(tiles, cut - 1, size, sms, start)
        if other <= span:
            cut, span = cut - 1, other
    pairs = sum(seen_pairs(kind, new, cached) for new, cached in chunks) * kind["pair"]
    read = keys * kind["decode_key"] + len(contexts) * kind["decode_row"]
    for new, cached in chunks:
        read += min(cached + new, window + new) * kind["key"] + new * kind["row"]
    fixed = kind["launch"] + (kind["combine"] if cut > 1 else 0.0)
    compute = max(pairs + keys * kind["decode_pair"], span * kind["tile_key"] * narrow)
    return fixed + four_norm(compute, read)


def cut_tiles(tiles, most, size, sms, start):
    """Return the pieces of the tile that is cut into most, and the keys on the busiest SM."""
    count, span, shortest, cut = 0, 0.0, math.inf, 1
    for of_chunk in (True, False):
        alike = [tile for tile in tiles if tile[2] == of_chunk]
        if not alike:
            continue
        mean = sum(average for average, _, _ in alike) / len(alike)
        pieces = min(most, math.ceil(mean / size))
        count += pieces * len(alike)
        shortest = min(shortest, mean / pieces + start)
        longest = max(tile[1] for tile in alike)
        pieces_of_longest = min(most, math.ceil(longest / size))
        cut = max(cut, pieces_of_longest)
        span = max(span, longest / pieces_of_longest + start)
    work = sum(average for average, _, _ in tiles)
    waves = math.ceil(count / sms)
    return cut, max(span, (work + count * start) / sms + (waves - count / sms) * shortest)


def most_pieces(tiles, sms, keys):
    """Return into how many pieces the heuristic of FlashAttention-3 cuts a tile at most."""
    blocks = math.ceil(keys / 128)
    if tiles >= 0.8 * sms or blocks <= 4:
        return 1
    pieces = 1
    while pieces * tiles / sms / math.ceil(pieces * tiles / sms) < 0.85:
        pieces += 1
    return min(pieces, blocks, 32)


def seen_pairs(kind, new, cached):
    """Return the (query, key) pairs, one query after another."""
    return sum(min(cached + place, kind["window"]) for place in range(1, new + 1))


def tiles_of_chunk(kind, new, cached):
    """Return (tiles, keys of an average tile, keys of the longest)."""
    tiles = 0
    for _ in range(int(kind["heads"])):
        first = 0
        while first < new:
            tiles += 1
            first += kind["tile_rows"]
    average = min(cached + new / 2 + kind["tile_rows"] / 2, kind["window"] + kind["tile_rows"])
    longest = min(cached + new, kind["window"] + kind["tile_rows"])
    return tiles, average + kind["tile_start"], longest + kind["tile_start"]


def tiles_of_decodes(kind, keys, contexts):
    longest = min(max(contexts), kind["window"])
    tiles = len(contexts) * int(kind["heads"])
    return tiles, keys / len(contexts) + kind["tile_start"], longest + kind["tile_start"]


def longest_sm(sms, launches):
    """Return the keys of the busiest SM, as requests join the launch one by one."""
    span, tiles, work, shortest = 0.0, 0, 0.0, math.inf
    for count, average, longest in launches:
        waves = 0
        while waves * sms < count:
            waves += 1
        tiles += count
        work += count * average
        shortest = min(shortest, average)
        rounds = 0
        while rounds * sms < tiles:
            rounds += 1
        idle = rounds - tiles / sms
        span = max(span, longest, waves * average, work / sms + idle * shortest)
    return span


def reads(kind, decodes, keys):
    """Return how often KV is read when each query head reads it for itself."""
    waves = 0
    while waves * kind["sms"] < kind["group"] * decodes:
        waves += 1
    missed = (keys / kind["l2_keys"] - 0.7) / 0.3
    return 1 + (max(min(waves, kind["group"]), 1) - 1) * min(max(missed, 0.0), 1.0)
