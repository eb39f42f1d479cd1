"""A 4-ary min-heap of edges, ordered by (rank, request that used them last); entries go stale.

A row holds two int64: a rank, and `last << 32 | edge`. An entry counts only while the edge was
last used by the request it names: whoever uses an edge makes its entry stale and need not look for
it. Stale entries are dropped when they reach the root, or all at once when the heap is full. The
four children of row i are rows 4i + 1 to 4i + 4: after three rows that stay empty, one cache line.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import inner

RANK, TAG = 0, 1
OFFSET = 3
EDGE_BITS = 32
EDGE_MASK = (1 << EDGE_BITS) - 1


@inner
def tag_of(last, edge):
    """Return the second half of an entry's order: the least recently used goes first.

    Edge tables hold int32, which NumPy shifts within 32 bits and compiled code does not.
    """
    return np.int64(last) << EDGE_BITS | edge


@inner
def edge_of(tag):
    """Return the edge of an entry."""
    return tag & EDGE_MASK


@inner
def last_of(tag):
    """Return the request that had used the edge last when it was entered."""
    return tag >> EDGE_BITS


@inner
def _before(heap, one, rank, tag):
    return heap[one, RANK] < rank or (heap[one, RANK] == rank and heap[one, TAG] < tag)


@inner
def sink(heap, size, at, rank, tag):
    """Put an entry where row `at` was, or below it: the rows under `at` are in order."""
    while True:
        child = 4 * at + 1
        if child >= size:
            break
        least = child
        for other in range(child + 1, min(child + 4, size)):
            if _before(heap, OFFSET + other, heap[OFFSET + least, RANK], heap[OFFSET + least, TAG]):
                least = other
        if not _before(heap, OFFSET + least, rank, tag):
            break
        heap[OFFSET + at, RANK] = heap[OFFSET + least, RANK]
        heap[OFFSET + at, TAG] = heap[OFFSET + least, TAG]
        at = least
    heap[OFFSET + at, RANK] = rank
    heap[OFFSET + at, TAG] = tag


@inner
def push(heap, size, rank, tag):
    """Add an entry to a heap of `size` entries; return its new size. The caller made room."""
    at = size
    while at > 0:
        above = (at - 1) // 4
        if _before(heap, OFFSET + above, rank, tag):
            break
        heap[OFFSET + at, RANK] = heap[OFFSET + above, RANK]
        heap[OFFSET + at, TAG] = heap[OFFSET + above, TAG]
        at = above
    heap[OFFSET + at, RANK] = rank
    heap[OFFSET + at, TAG] = tag
    return size + 1


@inner
def pop(heap, size):
    """Remove the first entry of a heap of `size` entries; return its new size."""
    size -= 1
    if size > 0:
        sink(heap, size, 0, heap[OFFSET + size, RANK], heap[OFFSET + size, TAG])
    return size


@inner
def restore(heap, size):
    """Bring `size` rows in any order into the order of a heap."""
    for at in range((size - 2) // 4, -1, -1):
        sink(heap, size, at, heap[OFFSET + at, RANK], heap[OFFSET + at, TAG])
