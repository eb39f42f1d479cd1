"""The order of SGLang's queue. It is sorted in place: a new order stays for later passes.

Orders that go by no match refresh instead: every so often they look up the first that wait, so
that their prefixes are used last and evicted last. Others look up all that wait, which touches
and splits nodes too.
"""

from __future__ import annotations

import math

from replay.kernels.cache.radix import match_pages
from replay.kernels.cache.radix_layout import ABOVE, COUNTED_IN, CREATED, STOP_PAGE, WEIGHT
from replay.kernels.jit import inner, rare
from replay.kernels.layout import (
    BLOCK_SIZE,
    DFS_WEIGHT,
    EMITTED,
    ENABLED,
    HRRN,
    INPUT_TOKENS,
    LAST_HOLD,
    LOF,
    LPM,
    NONE,
    ORDER,
    OUTPUT_TOKENS,
    PATH_BLOCKS,
    PATH_START,
    PATH_STOP,
    PRIORITY,
    PRIORITY_OF,
    QUEUED,
    SKIPS,
    SPF,
    STOP_TOKENS,
)
from replay.kernels.serving.sglang_layout import (
    MATCHED,
    MOST_MATCHED,
    ORDERINGS,
    PASS,
    PROMPT_CLOCK,
    QUEUE_FIRST,
    QUEUE_STOP,
    QUEUED_CLOCK,
    REFRESH_EVERY,
    REFRESHED,
    SHORT,
)

_LATE = 2.0**50  # more than any tokens to compute


@inner
def tokens_waiting(t, request):
    """Return the tokens of a waiting request: its prompt, and what it had generated."""
    return t.plan[request, INPUT_TOKENS] + t.state[request, EMITTED]


@rare
def look_up(t, request, tokens):
    """Return (pages, idle) of the longest prefix of a request's first tokens in the tree."""
    return _look_up(t, request, tokens)


@inner
def _look_up(t, request, tokens):
    limit = min(tokens // t.rules[BLOCK_SIZE], t.plan[request, PATH_BLOCKS])
    if t.plan[request, SKIPS]:
        limit = 0
    return match_pages(t, request, limit)


@inner
def matches_all(t, waiting):
    """Return whether the order looks up all of so many that wait."""
    order = t.rules[ORDER]
    if t.rules[ENABLED] == 0:
        return False
    if order == LPM or order == HRRN:
        return waiting <= MOST_MATCHED
    return order == SPF or order == DFS_WEIGHT


@rare
def sort_waiting(t, e):
    """Put the queue in order."""
    now = e.now
    first = now[QUEUE_FIRST]
    count = now[QUEUE_STOP] - first
    order = t.rules[ORDER]
    if matches_all(t, count):
        if order == DFS_WEIGHT:
            _match_by_weight(t, e, first, count)
        else:
            _match_by_work(t, e, first, count)
        _apply(t, e, first, count, order == DFS_WEIGHT)
        return
    if order == PRIORITY or order == LOF:
        for at in range(count):
            request = e.queue[first + at]
            e.sorted[0, at] = request
            if order == PRIORITY:
                e.keys[0, at] = -t.plan[request, PRIORITY_OF]
                e.ties[0, at] = t.state[request, QUEUED]
            else:
                e.keys[0, at] = -t.plan[request, OUTPUT_TOKENS]
                e.ties[0, at] = 0
        _apply(t, e, first, count, False)
    if count > 0:
        _refresh(t, e, first, count)


@inner
def _refresh(t, e, first, count):
    """Look up the first that wait every so often, last one first."""
    if t.rules[ENABLED] and e.now[ORDERINGS] % REFRESH_EVERY == 0:
        for back in range(min(count, REFRESHED)):
            request = e.queue[first + min(count, REFRESHED) - 1 - back]
            _look_up(t, request, tokens_waiting(t, request))
    e.now[ORDERINGS] += 1


@inner
def _apply(t, e, first, count, by_weight):
    merge_sort(t, e, count, by_weight)
    for at in range(count):
        e.queue[first + at] = e.sorted[0, at]


# --- what is sorted by ----------------------------------------------------------------------


@inner
def work(t, request):
    """Return the tokens a waiting request has to compute, by what the order found."""
    return max(1, tokens_waiting(t, request) - t.state[request, MATCHED])


@inner
def _is_late(t, e, request, found):
    """Return whether a request that finds little starts like one before it in the queue."""
    if found > SHORT or tokens_waiting(t, request) < SHORT:
        return False
    at = t.plan[request, PATH_START]
    stop = t.plan[request, PATH_STOP]
    while at < stop and t.edges[t.path_edges[at], STOP_TOKENS] < SHORT:
        at += 1
    if at == stop:
        return False
    edge = t.path_edges[at]
    late = e.stamps[edge] == e.now[PASS]
    e.stamps[edge] = e.now[PASS]
    return late


@inner
def _match_by_work(t, e, first, count):
    """Look up all that wait and set what lpm, spf and hrrn sort by."""
    order = t.rules[ORDER]
    for at in range(count):
        request = e.queue[first + at]
        tokens = tokens_waiting(t, request)
        found = look_up(t, request, tokens)[0] * t.rules[BLOCK_SIZE]
        t.state[request, MATCHED] = min(found, tokens - 1)
        late = _is_late(t, e, request, found)
        e.sorted[0, at] = request
        e.ties[0, at] = 0
        if order == LPM:
            e.keys[0, at] = math.inf if late else -t.state[request, MATCHED]
        elif order == SPF:
            e.keys[0, at] = work(t, request) + (_LATE if late else 0.0)
            e.ties[0, at] = t.state[request, QUEUED]
        else:
            e.keys[0, at] = math.inf if late else -_response_ratio(t, e, request)
            e.ties[0, at] = request


@inner
def _response_ratio(t, e, request):
    """Return how long a request has waited for each token that it has to compute."""
    to_compute = t.plan[request, INPUT_TOKENS] - t.state[request, MATCHED]
    if to_compute <= 0:
        return math.inf
    return (e.now[PROMPT_CLOCK] - t.state[request, QUEUED_CLOCK]) / to_compute


@inner
def _match_by_weight(t, e, first, count):
    """Look up all that wait and count, at each node, those whose prefix ends in its subtree."""
    for at in range(count):
        request = e.queue[first + at]
        look_up(t, request, tokens_waiting(t, request))
        e.sorted[0, at] = request
    for at in range(count):
        node = t.holdings[e.sorted[0, at], LAST_HOLD]
        while node != NONE:
            if t.nodes[node, COUNTED_IN] != e.now[PASS]:
                t.nodes[node, COUNTED_IN] = e.now[PASS]
                t.nodes[node, WEIGHT] = 0
            t.nodes[node, WEIGHT] += 1
            node = t.nodes[node, ABOVE]


@inner
def _stop_of(t, node):
    return 0 if node == NONE else t.nodes[node, STOP_PAGE]


@inner
def _visited_before(t, one, other):
    """Return whether a walk over the tree comes to one request before another.

    Heaviest child first, the older of equals, and the children of a node before its own requests.
    """
    left = t.holdings[one, LAST_HOLD]
    right = t.holdings[other, LAST_HOLD]
    under_left = NONE
    under_right = NONE
    while left != right:
        if _stop_of(t, left) >= _stop_of(t, right):
            under_left = left
            left = t.nodes[left, ABOVE]
        else:
            under_right = right
            right = t.nodes[right, ABOVE]
    if under_left == NONE or under_right == NONE:
        return under_left != NONE
    if t.nodes[under_left, WEIGHT] != t.nodes[under_right, WEIGHT]:
        return t.nodes[under_left, WEIGHT] > t.nodes[under_right, WEIGHT]
    return t.nodes[under_left, CREATED] < t.nodes[under_right, CREATED]


# --- sorting --------------------------------------------------------------------------------


@inner
def _after(t, e, one, other, by_weight):
    """Return whether an entry must come after another one that stands behind it."""
    if by_weight:
        return _visited_before(t, e.sorted[0, other], e.sorted[0, one])
    if e.keys[0, one] != e.keys[0, other]:
        return e.keys[0, one] > e.keys[0, other]
    return e.ties[0, one] > e.ties[0, other]


@inner
def _move(e, to, place, source, at):
    e.sorted[to, place] = e.sorted[source, at]
    e.keys[to, place] = e.keys[source, at]
    e.ties[to, place] = e.ties[source, at]


@rare
def merge_sort(t, e, count, by_weight):
    """Sort the first entries of `sorted` by key and tie, or by weight; equals stay in order.

    What is in order already, mostly all but who has just come, is merged with the rest once.
    """
    ordered = min(count, 1)
    while ordered < count and not _after(t, e, ordered - 1, ordered, by_weight):
        ordered += 1
    width = 1
    while width < count - ordered:
        for first in range(ordered, count - width, 2 * width):
            middle = first + width
            if _after(t, e, middle - 1, middle, by_weight):
                _merge(t, e, first, middle, min(middle + width, count), by_weight)
        width *= 2
    if ordered < count:
        _merge(t, e, 0, ordered, count, by_weight)


@inner
def _merge(t, e, first, middle, stop, by_weight):
    left = first
    right = middle
    for place in range(first, stop):
        if right == stop or (left < middle and not _after(t, e, left, right, by_weight)):
            _move(e, 1, place, 0, left)
            left += 1
        else:
            _move(e, 1, place, 0, right)
            right += 1
    for place in range(first, stop):
        _move(e, 0, place, 1, place)
