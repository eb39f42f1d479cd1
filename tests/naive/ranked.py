"""Ranked eviction policies and the optimum block by block: plain dicts and a scan for the first.

A block is (edge, index on the edge); its depth is its index along the prompt. Also the optimum by
trying every choice there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

from replay.cache.hints import Hints
from replay.kernels.policies.references import References

Block = tuple[int, int]
NEVER = 10**9
CLOSED_BY_NATURE = ("lru", "lfu", "lfu_perfect", "slru_hits", "length_aware", "ttl", "priority")
LEAVES_ONLY = ("fifo_leaf", "gdsf", "pgdsf", "random")
OPTIMUM = ("min", "min_bypass")
NAMES = (*CLOSED_BY_NATURE, *LEAVES_ONLY, "workload_aware", *OPTIMUM)


def paths_of(references: References) -> list[list[Block]]:
    """Return the blocks of every request, root first."""
    paths = []
    for start, stop in zip(references.offsets, references.offsets[1:], strict=False):
        edges = references.edges[start:stop].tolist()
        paths.append([(e, i) for e in edges for i in range(int(references.blocks[e]))])
    return paths


def mixed(value: int) -> int:
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def draw(seed: int, request: int, edge: int) -> int:
    value = 0
    for part in (seed, request, edge):
        value = mixed(((value ^ part) + 0x9E3779B97F4A7C15) % 2**64)
    return value >> 1


@dataclass
class Record:
    """What is known of a block; what is reset when it is stored again is listed first."""

    stored: int = -1
    hits: int = 0
    draw: int = 0
    priority: int = -NEVER
    clock: int = 0
    uses: int = 0
    last: int = -1
    costs: list[int] = field(default_factory=list)


@dataclass
class Outcome:
    hit_blocks: list[int] = field(default_factory=list)
    found: int = 0
    stranded: int = 0
    evicted: int = 0
    open_prefixes: int = 0


class Cache:
    """One replay under policy `name`; `leaves` overrules whether only leaves may go."""

    def __init__(
        self, references: References, name: str, capacity: int, hints: Hints, leaves=None, ties=-1
    ):
        self.paths = paths_of(references)
        self.depth = {block: d for path in self.paths for d, block in enumerate(path)}
        self.parent = {block: path[d - 1] for path in self.paths for d, block in enumerate(path)}
        self.parent |= {path[0]: None for path in self.paths if path}
        self.limit = references.limit.tolist()
        self.name, self.capacity, self.hints = name, capacity, hints
        self.leaves = name in LEAVES_ONLY if leaves is None else leaves
        self.ties = ties
        self.resident: set[Block] = set()
        self.known: dict[Block, Record] = {}
        self.clock = 0
        self.reuses: dict[int, list[int]] = {}
        self.idle_ages: list[int] = []
        self.seen_ages: list[int] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        for request in range(len(self.paths)):
            self.step(request)
            closed = all(self.parent[b] is None or self.parent[b] in self.resident
                         for b in self.resident)  # fmt: skip
            self.outcome.open_prefixes += not closed
        return self.outcome

    def step(self, request: int) -> None:
        if self.name == "ttl":
            for block in [b for b in self.resident if self.idle(b, request) > self.hints.ttl_ns]:
                self.drop(block)
        path, out = self.paths[request], self.outcome
        looked_up = [block in self.resident for block in path[: self.limit[request]]]
        hit = looked_up.index(False) if False in looked_up else len(looked_up)
        out.hit_blocks.append(hit)
        out.found += sum(looked_up)
        out.stranded += sum(looked_up) - hit
        before = set(self.resident)
        self.seen_ages = list(self.idle_ages)
        self.resident |= set(path)
        if self.name == "min_bypass":
            self.update(request, path, before, hit)
            self.shrink(request, pinned=set(), before=before)
        else:
            self.shrink(request, pinned=set(path), before=before)
            for block in path[self.capacity :]:
                self.drop(block, counted=block in before)
            self.update(request, path, before, hit)

    def shrink(self, request: int, *, pinned: set[Block], before: set[Block]) -> None:
        while len(self.resident) > self.capacity and self.resident - pinned:
            victim = self.first(request, self.resident - pinned)
            if self.name in ("gdsf", "pgdsf"):
                self.clock = max(self.clock, self.key(victim, request)[0])
            self.idle_ages.append(self.idle(victim, request))
            self.drop(victim, counted=victim in before)

    def drop(self, block: Block, *, counted: bool = True) -> None:
        self.resident.discard(block)
        self.outcome.evicted += counted

    def idle(self, block: Block, request: int) -> int:
        arrival = self.hints.arrival_ns
        return int(arrival[request]) - int(arrival[self.known[block].last])

    def first(self, request: int, candidates: set[Block]) -> Block:
        if self.leaves:
            with_child = {self.parent[block] for block in self.resident}
            candidates = candidates - with_child
        if self.name == "workload_aware":
            candidates = self.queue_heads(candidates)
        order = {b: (self.key(b, request), self.ties * self.depth[b], self.known[b].last)
                 for b in candidates}  # fmt: skip
        first = min(order, key=order.__getitem__)
        assert sum(one == order[first] for one in order.values()) == 1
        return first

    def key(self, block: Block, request: int) -> tuple:
        known, depth = self.known[block], self.depth[block]
        cost = self.hints.cost
        match self.name:
            case "lru" | "ttl":
                return (known.last,)
            case "lfu":
                return (known.hits, known.last)
            case "lfu_perfect":
                return (known.uses, known.last)
            case "fifo_leaf":
                return (known.stored,)
            case "slru_hits":
                return (known.hits >= 2, known.last)
            case "gdsf":
                tokens_2 = (2 * depth + 1) * self.hints.block_tokens
                token = 1000 * cost.linear_ns + cost.context_ns * tokens_2 // 2
                return (known.clock + (known.hits + 1) * token, known.last)
            case "pgdsf":
                mean = sum(known.costs) // len(known.costs)
                return (known.clock + known.uses * mean, known.last)
            case "length_aware":
                return (known.hits, -depth, known.last)
            case "random":
                return (known.draw, known.last)
            case "priority":
                return (known.priority, known.last)
            case "workload_aware":
                return (self.log_reuse(block, request),)
            case "min" | "min_bypass":
                following = self.next_hit(block, request)
                return (-following, known.last if following == NEVER else 0)
        raise AssertionError(self.name)

    def next_hit(self, block: Block, request: int) -> int:
        for later in range(request + 1, len(self.paths)):
            if block in self.paths[later]:
                return later if self.depth[block] < self.limit[later] else NEVER
        return NEVER

    def category(self, block: Block) -> int:
        return int(self.hints.category[self.known[block].last])

    def queue_heads(self, candidates: set[Block]) -> set[Block]:
        queues: dict[int, list[Block]] = {}
        for block in candidates:
            queues.setdefault(self.category(block), []).append(block)
        return {min(queue, key=lambda b: (self.known[b].last, -self.depth[b]))
                for queue in queues.values()}  # fmt: skip

    def log_reuse(self, block: Block, request: int) -> float:
        arrival = self.hints.arrival_ns
        life = float(arrival[request] - arrival[0])
        if self.seen_ages:
            life = sum(self.seen_ages) / len(self.seen_ages)
        life = max(life, 1.0)
        every = [ns for times in self.reuses.values() for ns in times]
        overall = max(sum(every) / len(every), 1.0) if every else life
        times = self.reuses.get(self.category(block), [])
        mean = (sum(times) + overall) / (len(times) + 1)
        return -self.idle(block, request) / mean + math.log1p(-math.exp(-life / mean))

    def update(self, request: int, path: list[Block], before: set[Block], hit: int) -> None:
        cost = self.hints.cost
        blocks = (hit + len(path)) * self.hints.block_tokens
        for block in path:
            known = self.known.setdefault(block, Record())
            if known.last >= 0 and self.name == "workload_aware":
                self.reuses.setdefault(self.category(block), []).append(self.idle(block, request))
            known.uses += 1
            known.hits += 1
            known.last = request
            known.clock = self.clock
            if block not in before:
                known.stored, known.hits, known.priority = request, 0, -NEVER
                known.draw = draw(self.hints.seed, request, block[0])
                known.costs.append(1000 * cost.linear_ns + cost.context_ns * blocks // 2)
            if self.hints.priority is not None:
                known.priority = max(known.priority, int(self.hints.priority[request]))


def best_hits(references: References, capacity: int, *, bypass: bool) -> int:
    """Return the most blocks that can be hit in all, by trying every set that could be kept."""
    paths, limit = paths_of(references), references.limit.tolist()

    @cache
    def best(request: int, resident: frozenset[Block]) -> int:
        if request == len(paths):
            return 0
        path = paths[request]
        hit = 0
        while hit < limit[request] and path[hit] in resident:
            hit += 1
        own = () if bypass else path[:capacity]
        others = sorted((resident | set(path)) - set(own) if bypass else resident - set(path))
        kept = subsets(others, capacity - len(own))
        return hit + max(best(request + 1, frozenset({*own, *more})) for more in kept)

    return best(0, frozenset())


def subsets(items: list[Block], most: int) -> list[tuple[Block, ...]]:
    """Return every choice of at most `most` of `items`."""
    chosen: list[tuple[Block, ...]] = [()]
    for item in items:
        chosen += [(*one, item) for one in chosen if len(one) < most]
    return chosen
