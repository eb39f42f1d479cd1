"""A binary min-heap of requests ordered by (step at which they finish, order of admission)."""

from __future__ import annotations

from replay.kernels.jit import inner

STEP, ORDER, WHO = 0, 1, 2
HEAP_FIELDS = 3


@inner
def _before(heap, one, other):
    if heap[one, STEP] != heap[other, STEP]:
        return heap[one, STEP] < heap[other, STEP]
    return heap[one, ORDER] < heap[other, ORDER]


@inner
def _swap(heap, one, other):
    for field in range(HEAP_FIELDS):
        kept = heap[one, field]
        heap[one, field] = heap[other, field]
        heap[other, field] = kept


@inner
def push(heap, size, step, order, who):
    """Add an entry to a heap of `size` entries; return its new size. The caller made room."""
    at = size
    heap[at, STEP] = step
    heap[at, ORDER] = order
    heap[at, WHO] = who
    while at > 0 and _before(heap, at, (at - 1) // 2):
        _swap(heap, at, (at - 1) // 2)
        at = (at - 1) // 2
    return size + 1


@inner
def _sink(heap, size, at):
    while True:
        least = at
        for child in range(2 * at + 1, min(2 * at + 3, size)):
            if _before(heap, child, least):
                least = child
        if least == at:
            return
        _swap(heap, at, least)
        at = least


@inner
def pop(heap, size):
    """Remove the first entry of a heap of `size` entries; return its new size."""
    _swap(heap, 0, size - 1)
    _sink(heap, size - 1, 0)
    return size - 1


@inner
def remove(heap, size, who):
    """Remove the entry of `who`; return the new size. Linear: only preempted requests pay it."""
    at = 0
    while heap[at, WHO] != who:
        at += 1
    _swap(heap, at, size - 1)
    size -= 1
    if at < size:
        _sink(heap, size, at)
        while at > 0 and _before(heap, at, (at - 1) // 2):
            _swap(heap, at, (at - 1) // 2)
            at = (at - 1) // 2
    return size
