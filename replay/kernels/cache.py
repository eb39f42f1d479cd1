"""What the engines ask of a cache, whichever kind it is: one branch, then the kind's own kernels.

A block pool is pool.py, a session store store.py, a radix cache radix_cache.py.
The unit is the block: of `block_size` tokens in a block pool, the page of a radix cache, one token
in a session store.
"""

from __future__ import annotations

from replay.kernels import pool, pool_or_store, radix_cache, store
from replay.kernels.jit import inner
from replay.kernels.layout import KIND, NOW_NS, RADIX, SESSION_STORE, TTL_NS
from replay.kernels.pool_or_store import admitted as admitted
from replay.kernels.pool_or_store import name_evictor as name_evictor


@inner
def at_time(t, now_ns):
    """Tell the cache what time it is; what is kept only for a while may go."""
    t.counters[NOW_NS] = now_ns
    if t.rules[KIND] == SESSION_STORE:
        store.expire(t)
    elif t.rules[TTL_NS] == 0:
        return
    elif t.rules[KIND] == RADIX:
        radix_cache.expire(t)
    else:
        pool.expire(t)


@inner
def step_ended(t, now_ns):
    """Tell the cache when what is given back now was last in use; a session store counts steps."""
    if t.rules[KIND] != SESSION_STORE:
        t.counters[NOW_NS] = now_ns


@inner
def match(t, request, limit):
    """Return (blocks, idle, pieces): the prefix that can be reused, at most `limit` blocks.

    Reusing it takes `idle` blocks out of those that could be taken and needs up to twice `pieces`
    new rows. Changes nothing but a radix cache, which splits a node in two and touches the path.
    """
    if t.rules[KIND] == RADIX:
        blocks, idle = radix_cache.match_pages(t, request, limit)
        return blocks, idle, radix_cache.MATCH_ROWS
    return pool_or_store.match(t, request, limit)


@inner
def acquire(t, request, blocks):
    """Let a request use the `blocks` that `match` found; return how many are its session's."""
    if t.rules[KIND] == RADIX:
        return radix_cache.lock_match(t, request, blocks)
    return pool_or_store.acquire(t, request, blocks)


@inner
def take_blocks(t, wanted, request, spare=0):
    """Take `wanted` free blocks for a request, evicting for them; the caller checked that they fit.

    `request` is NONE where several requests grow at once. A radix cache with pages of several
    tokens evicts until `spare` more are free, or nothing is left to evict.
    """
    if t.rules[KIND] == RADIX:
        radix_cache.take_pages(t, wanted, spare, request)
    else:
        pool_or_store.take_blocks(t, wanted, request)


@inner
def publish(t, request, upto):
    """Make the blocks of a request below index `upto` visible to later look-ups."""
    if t.rules[KIND] == RADIX:
        radix_cache.insert_pages(t, request, upto)
    else:
        pool_or_store.publish(t, request, upto)


@inner
def release(t, request):
    """Give back every block of a request."""
    if t.rules[KIND] == RADIX:
        radix_cache.drop_pages(t, request)
    else:
        pool_or_store.release(t, request)


@inner
def rows_left(t, wanted):
    """Return whether the tables have room for `wanted` more rows; a session store needs none."""
    if t.rules[KIND] == RADIX:
        return radix_cache.node_rows_left(t, wanted)
    return pool_or_store.rows_left(t, wanted)
