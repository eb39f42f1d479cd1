"""What the engines ask of a cache, whichever kind it is: the kind's own kernels answer.

The kind is the type of the tables: `Tables` of a block pool (pool.py), `RadixTables` of a radix
cache (radix_cache.py), `StoreTables` of a session store (store.py). An engine is compiled for the
kind it is given, and what other kinds do is no part of it: all three in one kernel took a minute.
The unit is the block: of `block_size` tokens in a block pool, the page of a radix cache, one token
in a session store.
"""

from __future__ import annotations

from replay.kernels.cache import pool, store
from replay.kernels.cache import radix as radix_cache
from replay.kernels.jit import by_tables, inner
from replay.kernels.layout import NOW_NS, TTL_NS, RadixTables, StoreTables

# --- block pool -----------------------------------------------------------------------------


@inner
def _pool_at_time(t, now_ns):
    t.counters[NOW_NS] = now_ns
    if t.rules[TTL_NS] > 0:
        pool.expire(t)


@inner
def _step_ended(t, now_ns):
    t.counters[NOW_NS] = now_ns


@inner
def _pool_admitted(t, request):
    pass


@inner
def _pool_take(t, wanted, request, spare):
    pool.take_blocks(t, wanted, request)


# --- radix cache ----------------------------------------------------------------------------


@inner
def _radix_at_time(t, now_ns):
    t.counters[NOW_NS] = now_ns
    if t.rules[TTL_NS] > 0:
        radix_cache.expire(t)


@inner
def _radix_match(t, request, limit):
    blocks, idle = radix_cache.match_pages(t, request, limit)
    return blocks, idle, radix_cache.MATCH_ROWS


@inner
def _radix_take(t, wanted, request, spare):
    radix_cache.take_pages(t, wanted, spare, request)


# --- session store --------------------------------------------------------------------------


@inner
def _store_at_time(t, now_ns):
    t.counters[NOW_NS] = now_ns
    store.expire(t)


@inner
def _store_step_ended(t, now_ns):
    pass


@inner
def _store_match(t, request, limit):
    blocks, idle = store.match_prefix(t, request, limit)
    return blocks, idle, 0


@inner
def _store_name_evictor(t, request, blocks):
    pass


@inner
def _store_take(t, wanted, request, spare):
    store.take_tokens(t, wanted)


@inner
def _store_rows_left(t, wanted):
    return True


# --- what engines call ----------------------------------------------------------------------


@by_tables
def at_time(kind):
    """Tell the cache what time it is; what is kept only for a while may go."""
    return {RadixTables: _radix_at_time, StoreTables: _store_at_time}.get(kind, _pool_at_time)


@by_tables
def step_ended(kind):
    """Tell the cache when what is given back now was last in use; a session store counts steps."""
    return _store_step_ended if kind is StoreTables else _step_ended


@by_tables
def match(kind):
    """Return (blocks, idle, pieces): the prefix that can be reused, at most `limit` blocks.

    Reusing it takes `idle` blocks out of those that could be taken and needs up to twice `pieces`
    new rows. Changes nothing but a radix cache, which splits a node in two and touches the path.
    """
    return {RadixTables: _radix_match, StoreTables: _store_match}.get(kind, pool.match)


@by_tables
def acquire(kind):
    """Let a request use the `blocks` that `match` found; return how many are its session's."""
    kinds = {RadixTables: radix_cache.lock_match, StoreTables: store.share_prefix}
    return kinds.get(kind, pool.acquire)


@by_tables
def admitted(kind):
    """Take note that an admitted request now computes what it did not find."""
    return store.start_computing if kind is StoreTables else _pool_admitted


@by_tables
def name_evictor(kind):
    """Say who evicted the first block that is missed for capacity, where that is known."""
    return _store_name_evictor if kind is StoreTables else pool.name_evictor


@by_tables
def take_spare(kind):
    """Take `wanted` free blocks for a request, evicting for them; the caller checked that they fit.

    `request` is NONE where several requests grow at once. A radix cache with pages of several
    tokens evicts until `spare` more are free, or nothing is left to evict.
    """
    return {RadixTables: _radix_take, StoreTables: _store_take}.get(kind, _pool_take)


@inner
def take_blocks(t, wanted, request):
    """Take blocks as `take_spare` does, without any to spare."""
    take_spare(t, wanted, request, 0)


@by_tables
def publish(kind):
    """Make the blocks of a request below index `upto` visible to later look-ups."""
    kinds = {RadixTables: radix_cache.insert_pages, StoreTables: store.publish_tokens}
    return kinds.get(kind, pool.publish)


@by_tables
def release(kind):
    """Give back every block of a request."""
    kinds = {RadixTables: radix_cache.drop_pages, StoreTables: store.give_back}
    return kinds.get(kind, pool.release)


@by_tables
def rows_left(kind):
    """Return whether the tables have room for `wanted` more rows; a session store needs none."""
    kinds = {RadixTables: radix_cache.node_rows_left, StoreTables: _store_rows_left}
    return kinds.get(kind, pool.rows_left)
