"""A block pool or a session store, which are used alike: one branch, then pool.py or store.py.

`cache.py` adds the radix cache for the engines; `lifecycle.py` has that apart, and what is not
asked for here is not compiled a second time.
"""

from __future__ import annotations

from replay.kernels import pool, store
from replay.kernels.jit import inner
from replay.kernels.layout import KIND, SESSION_STORE


@inner
def match(t, request, limit):
    """Return (blocks, idle, pieces) as `cache.match` does; changes nothing."""
    if t.rules[KIND] == SESSION_STORE:
        blocks, idle = store.match_prefix(t, request, limit)
        return blocks, idle, 0
    return pool.match(t, request, limit)


@inner
def acquire(t, request, blocks):
    """Let a request use the `blocks` that `match` found; return how many are its session's."""
    if t.rules[KIND] == SESSION_STORE:
        return store.share_prefix(t, request, blocks)
    return pool.acquire(t, request, blocks)


@inner
def admitted(t, request):
    """Take note that an admitted request now computes what it did not find."""
    if t.rules[KIND] == SESSION_STORE:
        store.start_computing(t, request)


@inner
def name_evictor(t, request, blocks):
    """Say who evicted the first block that `match` did not find, where that is known."""
    if t.rules[KIND] != SESSION_STORE:
        pool.name_evictor(t, request, blocks)


@inner
def take_blocks(t, wanted, request):
    """Take `wanted` free blocks for a request, evicting for them; the caller checked that they fit.

    `request` is NONE where several requests grow at once.
    """
    if t.rules[KIND] == SESSION_STORE:
        store.take_tokens(t, wanted)
    else:
        pool.take_blocks(t, wanted, request)


@inner
def publish(t, request, upto):
    """Make the blocks of a request below index `upto` visible to later look-ups."""
    if t.rules[KIND] == SESSION_STORE:
        store.publish_tokens(t, request, upto)
    else:
        pool.publish(t, request, upto)


@inner
def release(t, request):
    """Give back every block of a request."""
    if t.rules[KIND] == SESSION_STORE:
        store.give_back(t, request)
    else:
        pool.release(t, request)


@inner
def rows_left(t, wanted):
    """Return whether the tables have room for `wanted` more rows; a session store needs none."""
    return t.rules[KIND] == SESSION_STORE or pool.rows_left(t, wanted)
