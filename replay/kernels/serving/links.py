"""Doubly linked lists of requests, their neighbours in two columns of `state`.

The ends of a list are two columns of `now`; NONE is before the first and after the last.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import NONE


@inner
def put_between(state, now, item, before, after, columns):
    """Put an item between two neighbours; `columns` are (next, previous, first, last)."""
    following, preceding, first, last = columns
    state[item, preceding] = before
    state[item, following] = after
    if before == NONE:
        now[first] = item
    else:
        state[before, following] = item
    if after == NONE:
        now[last] = item
    else:
        state[after, preceding] = item


@inner
def put_last(state, now, item, columns):
    """Put an item at the end of its list."""
    put_between(state, now, item, now[columns[3]], NONE, columns)


@inner
def put_first(state, now, item, columns):
    """Put an item at the start of its list."""
    put_between(state, now, item, NONE, now[columns[2]], columns)


@inner
def take_from(state, now, item, columns):
    """Take an item out of its list."""
    following, preceding, first, last = columns
    before = state[item, preceding]
    after = state[item, following]
    if before == NONE:
        now[first] = after
    else:
        state[before, following] = after
    if after == NONE:
        now[last] = before
    else:
        state[after, preceding] = before
