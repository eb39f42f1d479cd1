"""Slow, obvious twins of the fast kernels: plain lists and dictionaries, block by block.

The pool follows the published rules of vLLM's block pool one block at a time, and the replay
without time goes from request to request. Nothing here knows edges, runs, heaps or running sums.
The engine whose steps take time is in `scheduler.py`.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import count, islice

CAUSES = ("cold", "capacity", "in_flight", "granularity", "disabled")


def dictionary_lru(prompts: list[list[int]], capacity: int) -> list[int]:
    """Return the hit blocks of each prompt in an LRU cache of `capacity` ids, tail first."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = []
    for ids in prompts:
        hit = 0
        while hit < len(ids) and ids[hit] in cache:
            hit += 1
        for one in ids[:hit]:
            cache.move_to_end(one)
        while len(cache) + len(ids) - hit > capacity:
            cache.popitem(last=False)
        for one in reversed(ids):
            cache[one] = None
            cache.move_to_end(one)
        hits.append(hit)
    return hits


@dataclass
class Request:
    """A request as tokens: its prompt and, unless it leaves none, the KV of its response."""

    index: int
    arrival_ns: int
    prompt: tuple[int, ...]
    response: tuple[int, ...]
    output_tokens: int
    session: int | None = None
    skips: bool = False
    priority: int = 0
    # where it is
    table: list[Block] = field(default_factory=list)
    keyed: int = 0
    computed: int = 0  # tokens, those of batches in flight included
    in_flight: int = 0  # tokens that batches in flight will sample
    emitted: int = 0
    lost: int = 0
    decoding: bool = False
    last_token_ns: int = 0
    # what became of it
    status: str = "unfinished"
    hit: int = 0
    session_hit: int = 0
    hit_blocks: int = 0
    misses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0))
    evicted: int = 0
    evicted_later: int = 0
    evicted_by: int | None = None
    evicted_ns: int | None = None
    attempts: int = 0
    admitted_ns: int = 0
    found: int = 0
    response_came_to: str = "none"
    scheduled_ns: int = 0
    first_token_ns: int = 0
    done_ns: int = 0
    itl_max_ns: int = 0
    preemptions: int = 0
    recomputed: int = 0
    cached_first: int = -1
    cached_last: int = -1
    free_after: int = 0
    session_kept: int = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        return self.prompt + self.response

    @property
    def target(self) -> int:
        """Tokens to compute before the next one can be sampled."""
        return len(self.prompt) + self.emitted


@dataclass(eq=False)
class Block:
    key: tuple | None = None
    owner: Request | None = None
    references: int = 0
    released_ns: int = 0


class Pool:
    """Blocks, a free queue and a map from content to the blocks that hold it, oldest first.

    Of the keys in `pinned` the oldest holder never returns to the free queue. `taken` says of each
    key by whom a block of it was evicted last, and when.
    """

    def __init__(
        self, capacity: int, pinned: frozenset[tuple] = frozenset(), ttl_ns: int | None = None
    ) -> None:
        self.blocks = [Block() for _ in range(capacity)]
        self.free: list[Block] = list(self.blocks)
        self.lost: Counter[tuple] = Counter()
        self.holders: dict[tuple, list[Block]] = {}
        self.evictions = 0
        self.pinned, self.ttl_ns = pinned, ttl_ns
        self.now_ns = 0
        self.taken: dict[tuple, tuple[int | None, int]] = {}

    def evict(self, block: Block, whose: int | None, when_ns: int) -> None:
        self.taken[block.key] = whose, when_ns
        self.lost[block.key] += 1
        self.holders[block.key].remove(block)
        if not self.holders[block.key]:
            del self.holders[block.key]
        block.key = None
        self.evictions += 1

    def expire(self) -> None:
        for block in list(self.free):
            if (
                self.ttl_ns is not None
                and block.key is not None
                and self.now_ns - block.released_ns > self.ttl_ns
            ):
                self.evict(block, None, block.released_ns + self.ttl_ns)
                self.free.remove(block)
                self.free.insert(0, block)

    def is_pinned(self, block: Block) -> bool:
        return block.key in self.pinned and self.holders[block.key][0] is block

    def take(self, wanted: int, whose: int | None) -> list[Block]:
        taken = []
        for _ in range(wanted):
            block = self.free.pop(0)
            if block.key is not None:
                self.evict(block, whose, self.now_ns)
            block.references = 1
            taken.append(block)
        return taken

    def find(self, keys: list[tuple]) -> list[Block]:
        found = []
        for key in keys:
            if key not in self.holders:
                break
            found.append(self.holders[key][0])
        return found

    def hold(self, blocks: list[Block]) -> None:
        for block in blocks:
            if block.references == 0 and not self.is_pinned(block):
                self.free.remove(block)
            block.references += 1

    def publish(self, block: Block, key: tuple, owner: Request) -> None:
        block.key, block.owner = key, owner
        self.holders.setdefault(key, []).append(block)

    def give_back(self, table: list[Block]) -> None:
        for block in reversed(table):
            block.references -= 1
            if block.references == 0 and not self.is_pinned(block):
                block.released_ns = self.now_ns
                if block.key is None:
                    self.free.insert(0, block)
                else:
                    self.free.append(block)


@dataclass
class Rules:
    block_size: int
    capacity: int
    enabled: bool = True
    partial_blocks: bool = False
    responses: bool = True
    commit: str = "on_schedule"
    max_batched_tokens: int = 64
    max_sequences: int = 4
    chunked_prefill: bool = True
    async_scheduling: bool = False
    order: str = "fcfs"
    long_prefill_token_threshold: int = 0
    long_prefill_adaptive: bool = False
    reserve_full_prompt: bool = True
    watermark: float = 0.0
    prefill_schedule_interval: int = 1
    max_active_sequences: int | None = None
    horizon_ns: int | None = None
    hold_ns: int = 0
    ttl_ns: int | None = None
    pinned: frozenset[tuple] = frozenset()


@dataclass
class Found:
    """What a look-up found: `count` blocks, `idle` of them or more would leave the free list."""

    count: int = 0
    idle: int = 0
    what: list = field(default_factory=list)


class Cache:
    """A pool with the rules of what is looked up, published and counted.

    `tells_early` says whether blocks of a response can be found before its request completes.
    """

    tells_early = True

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.pool = Pool(rules.capacity, rules.pinned, rules.ttl_ns)
        self.seen: set[tuple[int, ...]] = set()
        self.seen_whole: set[tuple[int, ...]] = set()
        self.authors: dict[tuple[int, ...], int] = {}  # of all that was admitted, responses to come
        self.running: list[Request] = []
        self.reused: Counter[tuple] = Counter()

    def blocks(self, tokens: int) -> int:
        return math.ceil(tokens / self.rules.block_size)

    def keys(self, request: Request, tokens: int) -> list[tuple]:
        """Return the keys of the blocks that can be shared once `tokens` are computed."""
        size = self.rules.block_size
        known = request.prompt
        if self.rules.responses and not self.rules.partial_blocks:
            known = request.tokens
        full = min(tokens, len(known)) // size
        keys: list[tuple] = [known[: (i + 1) * size] for i in range(full)]
        if self.rules.partial_blocks and tokens >= len(known) and len(known) % size:
            keys.append(("ends here", *known))
        return keys

    def matchable(self, request: Request) -> list[tuple]:
        if not self.rules.enabled or request.skips:
            return []
        if self.rules.partial_blocks:
            return self.keys(request, request.target)
        return self.keys(request, request.target - 1)

    def saved(self, request: Request, blocks: int) -> int:
        tokens = blocks * self.rules.block_size
        if self.rules.partial_blocks:
            tokens = min(tokens, len(request.prompt))
        return min(tokens, request.target - 1)

    @property
    def free(self) -> int:
        return len(self.pool.free)

    @property
    def evictions(self) -> int:
        return self.pool.evictions

    @property
    def lost(self) -> Counter[tuple]:
        """How often a block of each key was evicted."""
        return self.pool.lost

    @property
    def in_use(self) -> int:
        """Blocks that running requests hold."""
        return sum(one.references > 0 for one in self.pool.blocks)

    @property
    def kept_idle(self) -> int:
        """Blocks with content that nobody holds."""
        return sum(one.references == 0 and one.key is not None for one in self.pool.blocks)

    def at_time(self, now_ns: int) -> None:
        self.pool.now_ns = now_ns
        self.pool.expire()

    def step_ended(self, now_ns: int) -> None:
        self.pool.now_ns = now_ns

    def look_up(self, request: Request) -> Found:
        blocks = self.pool.find(self.matchable(request))
        idle = [one for one in blocks if one.references == 0 and not self.pool.is_pinned(one)]
        return Found(len(blocks), len(idle), blocks)

    def hold(self, request: Request, found: Found) -> None:
        self.pool.hold(found.what)
        self.reused.update(block.key for block in found.what)
        request.table, request.keyed = list(found.what), found.count

    def take(self, request: Request, wanted: int, *, decoding: bool = False) -> None:
        request.table += self.pool.take(wanted, None if decoding else request.index)

    def publish(self, request: Request, tokens: int) -> None:
        if not self.rules.enabled:
            return
        for at, key in enumerate(self.keys(request, tokens)):
            if at >= request.keyed:
                self.pool.publish(request.table[at], key, request)
                request.keyed = at + 1

    def count(self, request: Request, found: Found, *, looked_up: bool = True) -> None:
        """Attribute every prompt token, before the prompt counts as seen."""
        size, prompt = self.rules.block_size, request.prompt
        seen = max(d for d in range(len(prompt) + 1) if prompt[:d] in self.seen or d == 0)
        ideal = min(seen, len(prompt) - 1) // size
        if self.rules.partial_blocks:
            ideal = seen // size
            if prompt in self.seen_whole:
                ideal = self.blocks(len(prompt))
        ideal = max(ideal, found.count)
        hit = self.saved(request, found.count) if found.count else 0
        reachable = min(ideal * size, len(prompt) - 1)
        seen = max(seen, reachable)
        contained = max(seen, self.in_the_making(prompt))
        request.misses["cold"] = len(prompt) - contained
        if not self.rules.enabled or request.skips:
            request.misses["disabled"] = contained
            return
        request.hit, request.hit_blocks = hit, found.count
        known = request.session is not None
        own = [one for one in found.what if known and one.owner.session == request.session]
        request.session_hit = min(len(own) * size, hit)
        in_flight = 0
        for block in range(found.count, ideal):
            shared = prompt[: (block + 1) * size]
            if any(
                len(shared) == (block + 1) * size
                and other.prompt[: len(shared)] == shared
                and other.keyed <= block
                for other in (self.running if looked_up else [])
            ):
                in_flight += min((block + 1) * size, reachable) - min(block * size, reachable)
        reach = reachable
        if contained > seen:
            reach = max(reachable, min(contained, len(prompt) - 1) // size * size)
        request.misses["in_flight"] = in_flight + reach - reachable
        request.misses["granularity"] = contained - reach
        request.misses["capacity"] = reachable - hit - in_flight
        if looked_up and request.misses["capacity"] > 0:
            missing = self.matchable(request)[found.count + in_flight // size]
            request.evicted_by, request.evicted_ns = self.pool.taken.get(missing, (None, None))

    def in_the_making(self, prompt: tuple[int, ...]) -> int:
        """Return how deep what was admitted before contains a prompt, unfinished responses too."""
        return max(d for d in range(len(prompt) + 1) if prompt[:d] in self.authors or d == 0)

    def remember(self, request: Request) -> None:
        content = request.prompt
        if self.rules.responses and not self.rules.partial_blocks:
            content = request.tokens
        for depth in range(1, len(content) + 1):
            self.authors.setdefault(content[:depth], request.index)
        for depth in range(1, len(request.prompt) + 1):
            self.seen.add(request.prompt[:depth])
        self.seen_whole.add(request.prompt)

    def remember_response(self, request: Request) -> None:
        if self.rules.responses and not self.rules.partial_blocks:
            for depth in range(len(request.prompt) + 1, len(request.tokens) + 1):
                self.seen.add(request.tokens[:depth])

    def release(self, request: Request) -> None:
        self.pool.give_back(request.table)
        request.table, request.keyed = [], 0


class Untimed:
    """Requests in order of arrival, each held for a while, or completed at once."""

    def __init__(self, rules: Rules, kind: type[Cache]) -> None:
        self.rules, self.cache = rules, kind(rules)
        self.running = self.cache.running
        self.clock = 0

    def run(self, requests: list[Request]) -> None:
        for request in requests:
            arrived = max(self.clock, request.arrival_ns)
            while self.running and self.running[0].done_ns <= arrived:
                self.complete()
            self.clock = arrived
            self.cache.at_time(self.clock)
            while not self.admit(request):
                if not self.running:
                    self.cache.count(request, Found(), looked_up=False)
                    request.status, request.admitted_ns = "rejected", self.clock
                    request.free_after = self.cache.free
                    break
                self.complete()
            if not self.rules.hold_ns and self.running:
                self.complete()
        while self.running:
            self.complete()

    def admit(self, request: Request) -> bool:
        cache = self.cache
        found = cache.look_up(request)
        request.attempts += 1
        request.found = found.count
        wanted = cache.blocks(len(request.prompt)) - found.count
        if wanted + found.idle > cache.free:
            return False
        cache.hold(request, found)
        cache.count(request, found)
        cache.remember(request)
        before = cache.evictions
        cache.take(request, wanted)
        request.evicted = cache.evictions - before
        cache.publish(request, len(request.prompt))
        request.admitted_ns = self.clock
        request.done_ns = self.clock + self.rules.hold_ns
        request.free_after = cache.free
        self.running.append(request)
        return True

    def complete(self) -> None:
        cache, request = self.cache, min(self.running, key=lambda one: (one.done_ns, one.index))
        self.clock = max(self.clock, request.done_ns)
        cache.at_time(self.clock)
        self.running.remove(request)
        if self.rules.responses and not self.rules.partial_blocks:
            grown = cache.blocks(len(request.tokens)) - len(request.table)
            request.response_came_to = "cached" if grown <= cache.free else "skipped"
            if grown <= cache.free:
                before = cache.evictions
                cache.take(request, grown)
                request.evicted_later = cache.evictions - before
                cache.publish(request, len(request.tokens))
        cache.remember_response(request)
        cache.release(request)
        request.status = "completed"
        if not self.rules.hold_ns:
            request.free_after = cache.free


def replay_untimed(requests: list[Request], rules: Rules, kind: type[Cache] = Cache) -> Cache:
    """Replay requests without a GPU, one after another or held in flight; return the cache."""
    untimed = Untimed(rules, kind)
    untimed.run(requests)
    return untimed.cache


def tokens_of(block_ids: list[int], length: int, block_size: int) -> tuple[int, ...]:
    """Return a prompt's tokens: token j of block id h is h * block_size + j."""
    tokens = (one * block_size + j for one in block_ids for j in range(block_size))
    return tuple(islice(tokens, length))


def apart(row: dict, tokens: tuple) -> tuple:
    """Return the tokens of a request as those of its model: those of others are none of them."""
    return tuple((row["model"], token) for token in tokens) if "model" in row else tokens


def make_requests(rows: list[dict], block_size: int) -> list[Request]:
    """Return requests from rows named as the canonical columns are."""
    fresh = count(-1, -1)
    return [
        Request(
            index=index,
            arrival_ns=row["arrival_ns"],
            prompt=apart(row, tokens_of(row["block_ids"], row["input_tokens"], block_size)),
            response=tuple(islice(fresh, row["output_tokens"] - 1)),
            output_tokens=row["output_tokens"],
            session=row.get("session_id"),
            skips=bool(row.get("skips_lookup")),
            priority=row.get("priority", 0),
        )
        for index, row in enumerate(rows)
    ]


def make_unit_requests(rows: list[dict]) -> list[Request]:
    """Return requests from rows with segments: token i of segment s is the pair (s, i)."""
    fresh = count(-1, -1)
    requests = []
    for index, row in enumerate(rows):
        pieces = zip(row["segments"], row["segment_tokens"], strict=True)
        left = row["output_tokens"] - 1
        response = row["response_segment"]
        known = apart(row, tuple((response, i) for i in range(left)))
        prompt = tuple((one, i) for one, tokens in pieces for i in range(tokens))
        requests.append(
            Request(
                index=index,
                arrival_ns=row["arrival_ns"],
                prompt=apart(row, prompt),
                response=tuple(islice(fresh, left)) if response is None else known,
                output_tokens=row["output_tokens"],
                session=row.get("session_id"),
                skips=bool(row.get("skips_lookup")),
                priority=row.get("priority", 0),
            )
        )
    return requests
