"""Doubly linked lists of requests, their neighbours in two columns of `state`.

The ends of a list are two places of an array, such as two columns of `now`; NONE is before the
first and after the last.
"""

from __future__ import annotations

from replay.kernels.jit import inner
from replay.kernels.layout import NONE


@inner
def put_between(state, ends, item, before, after, columns):
    """Put an item between two neighbours; `columns` are (next, previous, first, last)."""
    following, preceding, first, last = columns
    state[item, preceding] = before
    state[item, following] = after
    if before == NONE:
        ends[first] = item
    else:
        state[before, following] = item
    if after == NONE:
        ends[last] = item
    else:
        state[after, preceding] = item


@inner
def put_last(state, ends, item, columns):
    """Put an item at the end of its list."""
    put_between(state, ends, item, ends[columns[3]], NONE, columns)


@inner
def put_first(state, ends, item, columns):
    """Put an item at the start of its list."""
    put_between(state, ends, item, NONE, ends[columns[2]], columns)


@inner
def take_from(state, ends, item, columns):
    """Take an item out of its list."""
    following, preceding, first, last = columns
    before = state[item, preceding]
    after = state[item, following]
    if before == NONE:
        ends[first] = after
    else:
        state[before, following] = after
    if after == NONE:
        ends[last] = before
    else:
        state[after, preceding] = before
