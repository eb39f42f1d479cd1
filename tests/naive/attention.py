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
    if not chunks and not contexts:
        return 0.0
    keys = min(sum(contexts), len(contexts) * kind["window"])
    together = bool(contexts) and (
        kind["decodes"] == "always tiles" or (kind["decodes"] == "tiles beside chunks" and chunks)
    )
    launches = [tiles_of_chunk(kind, new, cached) for new, cached in chunks]
    pairs = sum(seen_pairs(kind, new, cached) for new, cached in chunks) * kind["pair"]
    read = 0.0
    expand = 0.0
    for new, cached in chunks:
        read += min(cached + new, kind["window"] + new) * kind["key"] + new * kind["row"]
        expand += min(cached, kind["window"]) * kind["expand"]
    apart = 0.0
    if contexts:
        decode_read = keys * kind["decode_key"]
        if together:
            decode_read *= reads(kind, len(contexts), keys)
        decode_read += len(contexts) * kind["decode_row"]
        if together:
            launches.append(tiles_of_decodes(kind, keys, contexts))
            pairs += keys * kind["decode_pair"]
            read += decode_read
        else:
            apart = four_norm(keys * kind["decode_pair"], decode_read)
    if not launches:
        return apart
    busiest = longest_sm(kind["sms"], launches) * kind["tile_key"]
    return four_norm(max(pairs, busiest), read) + expand + apart


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
