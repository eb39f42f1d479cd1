"""LRU over single blocks as one list, most recent first: the twin of the curve and of LRU."""

from __future__ import annotations

from tests.naive.pool import Cache, Request, Rules


def paths_of(requests: list[Request], rules: Rules) -> list[tuple[list[tuple], int]]:
    """Return of each request the keys of all its blocks, root first, and the most it may hit."""
    cache = Cache(rules)
    paths = []
    for request in requests:
        keys = cache.keys(request, len(request.tokens))
        paths.append((keys, len(cache.matchable(request))))
    return paths


def hits_at(paths: list[tuple[list[tuple], int]], capacity: int) -> list[int]:
    """Return the hit blocks of each request with `capacity` blocks."""
    stack: list[tuple] = []
    hits = []
    for keys, limit in paths:
        resident = set(stack[:capacity])
        hit = 0
        while hit < limit and keys[hit] in resident:
            hit += 1
        hits.append(hit)
        for key in reversed(keys):
            if key in stack:
                stack.remove(key)
            stack.insert(0, key)
        del stack[capacity:]
    return hits


def needed(paths: list[tuple[list[tuple], int]]) -> list[int]:
    """Return the fewest blocks at which each request hits all it ever could; 0 for nothing."""
    stack: list[tuple] = []
    found = []
    for keys, limit in paths:
        places = [stack.index(key) + 1 for key in keys[:limit] if key in stack]
        found.append(max(places, default=0))
        for key in reversed(keys):
            if key in stack:
                stack.remove(key)
            stack.insert(0, key)
    return found
