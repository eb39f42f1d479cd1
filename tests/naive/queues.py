"""Queue eviction policies over single blocks, each a plain class: the twins of the run kernels.

`access(block)` returns whether the block was found, and inserts it where it was not. `resident`
says what a look-up would find. Blocks are anything hashable.
"""

from __future__ import annotations

from collections import OrderedDict


class Fifo:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.queue: OrderedDict = OrderedDict()  # oldest first

    def __contains__(self, block) -> bool:
        return block in self.queue

    def access(self, block) -> bool:
        if block in self.queue:
            return True
        if len(self.queue) == self.capacity:
            self.queue.popitem(last=False)
            self.evicted += 1
        self.queue[block] = True
        return False


class Clock:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.marked: OrderedDict = OrderedDict()  # oldest first -> visited bit

    def __contains__(self, block) -> bool:
        return block in self.marked

    def access(self, block) -> bool:
        if block in self.marked:
            self.marked[block] = True
            return True
        if len(self.marked) == self.capacity:
            while True:
                oldest, visited = self.marked.popitem(last=False)
                if not visited:
                    break
                self.marked[oldest] = False
            self.evicted += 1
        self.marked[block] = False
        return False


class Sieve:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.queue: list = []  # oldest first
        self.visited: dict = {}
        self.hand = None  # a block, None for the oldest

    def __contains__(self, block) -> bool:
        return block in self.visited

    def access(self, block) -> bool:
        if block in self.visited:
            self.visited[block] = True
            return True
        if len(self.queue) == self.capacity:
            at = 0 if self.hand is None else self.queue.index(self.hand)
            while self.visited[self.queue[at]]:
                self.visited[self.queue[at]] = False
                at = (at + 1) % len(self.queue)
            victim = self.queue.pop(at)
            del self.visited[victim]
            self.hand = self.queue[at] if at < len(self.queue) else None
            self.evicted += 1
        self.queue.append(block)
        self.visited[block] = False
        return False


class S3Fifo:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.most_small = max(1, int(capacity * 0.1))
        self.most_main = capacity - self.most_small
        self.most_ghosts = int(capacity * 0.9)
        self.small: OrderedDict = OrderedDict()  # oldest first -> frequency
        self.main: OrderedDict = OrderedDict()
        self.ghosts: OrderedDict = OrderedDict()
        self.has_evicted = False

    def __contains__(self, block) -> bool:
        return block in self.small or block in self.main

    def access(self, block) -> bool:
        for queue in (self.small, self.main):
            if block in queue:
                queue[block] += 1
                return True
        was_ghost = self.ghosts.pop(block, False)
        while len(self.small) + len(self.main) >= self.capacity:
            self.has_evicted = True
            if len(self.main) > self.most_main or not self.small:
                self.evict_main()
            else:
                self.evict_small()
        small_is_full = len(self.small) >= self.most_small
        if was_ghost or (not self.has_evicted and small_is_full):
            self.main[block] = 0
        else:
            self.small[block] = 0
        return False

    def evict_main(self) -> None:
        while True:
            oldest, frequency = self.main.popitem(last=False)
            if frequency == 0:
                self.evicted += 1
                return
            self.main[oldest] = min(frequency, 3) - 1

    def evict_small(self) -> None:
        while self.small:
            oldest, frequency = self.small.popitem(last=False)
            if frequency < 2:
                if self.most_ghosts:
                    if len(self.ghosts) == self.most_ghosts:
                        self.ghosts.popitem(last=False)
                    self.ghosts[oldest] = True
                self.evicted += 1
                return
            self.main[oldest] = 0


class Slru:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.most_protected = int(capacity * 0.8)
        self.probation: OrderedDict = OrderedDict()  # oldest first
        self.protected: OrderedDict = OrderedDict()

    def __contains__(self, block) -> bool:
        return block in self.probation or block in self.protected

    def access(self, block) -> bool:
        if block in self.probation or block in self.protected:
            self.probation.pop(block, None)
            self.protected.pop(block, None)
            self.protected[block] = True
            if len(self.protected) > self.most_protected:
                self.probation[self.protected.popitem(last=False)[0]] = True
            return True
        if len(self.probation) + len(self.protected) == self.capacity:
            self.probation.popitem(last=False)
            self.evicted += 1
        self.probation[block] = True
        return False


class TwoQueues:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.kin, self.kout = int(capacity * 0.25), int(capacity * 0.5)
        self.a1in: OrderedDict = OrderedDict()  # oldest first
        self.a1out: OrderedDict = OrderedDict()
        self.am: OrderedDict = OrderedDict()

    def __contains__(self, block) -> bool:
        return block in self.a1in or block in self.am

    def access(self, block) -> bool:
        if block in self.am:
            self.am.move_to_end(block)
            return True
        if block in self.a1in:
            return True
        was_ghost = self.a1out.pop(block, False)
        if len(self.a1in) + len(self.am) == self.capacity:
            self.evict()
        (self.am if was_ghost else self.a1in)[block] = True
        return False

    def evict(self) -> None:
        self.evicted += 1
        if self.am and len(self.a1in) <= self.kin:
            self.am.popitem(last=False)
            return
        oldest, _ = self.a1in.popitem(last=False)
        self.a1out[oldest] = True
        if len(self.a1out) > self.kout:
            self.a1out.popitem(last=False)


class Arc:
    def __init__(self, capacity: int) -> None:
        self.capacity, self.evicted = capacity, 0
        self.t1: OrderedDict = OrderedDict()  # oldest first
        self.t2: OrderedDict = OrderedDict()
        self.b1: OrderedDict = OrderedDict()
        self.b2: OrderedDict = OrderedDict()
        self.p = 0.0

    def __contains__(self, block) -> bool:
        return block in self.t1 or block in self.t2

    def access(self, block) -> bool:
        c, t1, t2, b1, b2 = self.capacity, self.t1, self.t2, self.b1, self.b2
        if block in t1 or block in t2:
            t1.pop(block, None)
            t2.pop(block, None)
            t2[block] = True
            return True
        full = len(t1) + len(t2) == c
        if block in b1:
            self.p = min(self.p + max(len(b2) / len(b1), 1.0), float(c))
            del b1[block]
            if full:
                self.replace(in_b2=False)
            t2[block] = True
        elif block in b2:
            self.p = max(self.p - max(len(b1) / len(b2), 1.0), 0.0)
            del b2[block]
            if full:
                self.replace(in_b2=True)
            t2[block] = True
        else:
            if full:
                self.make_room()
            t1[block] = True
        return False

    def make_room(self) -> None:
        """Case IV of the paper."""
        ghosts = len(self.b1) + len(self.b2)
        if len(self.t1) + len(self.b1) == self.capacity:
            if not self.b1:
                self.t1.popitem(last=False)
                self.evicted += 1
                return
            self.b1.popitem(last=False)
        elif self.capacity + ghosts >= 2 * self.capacity:
            self.b2.popitem(last=False)
        self.replace(in_b2=False)

    def replace(self, *, in_b2: bool) -> None:
        self.evicted += 1
        size = len(self.t1)
        if (self.t1 and (size > self.p or (size == self.p and in_b2))) or not self.t2:
            self.b1[self.t1.popitem(last=False)[0]] = True
        else:
            self.b2[self.t2.popitem(last=False)[0]] = True


NAIVE = {
    "fifo": Fifo,
    "clock": Clock,
    "sieve": Sieve,
    "s3fifo": S3Fifo,
    "slru": Slru,
    "2q": TwoQueues,
    "arc": Arc,
}


def replay(paths: list[list], limits: list[int], cache) -> tuple[list[int], int, int]:
    """Return (hit blocks of each request, blocks found, blocks stranded): the protocol."""
    hits, found, stranded = [], 0, 0
    for path, limit in zip(paths, limits, strict=True):
        resident = [block in cache for block in path[:limit]]
        hit = resident.index(False) if False in resident else len(resident)
        hits.append(hit)
        stranded += sum(resident[hit:])
        for block in reversed(path):
            found += cache.access(block)
    return hits, found, stranded
