"""The slow, obvious twin of the session store: every token of every prefix in plain sets.

A token of KV is named by the whole prefix that ends with it. What is in memory is the union of the
prefixes that sessions, stored entries and running requests share, plus what each running request
has computed for itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.naive.pool import CAUSES, Cache, Found, Request, Rules


@dataclass
class StoreRules(Rules):
    session_cache: bool = True
    prefix_store: bool = True
    min_prefix: int = 1
    max_entries: int = 100
    policy: str = "lru"
    lengths: tuple[int, ...] = ()
    whole_prompts: bool = False
    ttl_ns: int | None = None


@dataclass
class Kept:
    """A prefix somebody keeps, and what decides when it goes."""

    tokens: tuple
    used: int = 0
    used_ns: int = 0
    born: int = 0
    hits: int = 0


def prefixes(tokens: tuple) -> set[tuple]:
    return {tokens[:depth] for depth in range(1, len(tokens) + 1)}


def common(one: tuple, other: tuple) -> int:
    depth = 0
    while depth < min(len(one), len(other)) and one[depth] == other[depth]:
        depth += 1
    return depth


class Store(Cache):
    tells_early = False
    rules: StoreRules

    def __init__(self, rules: StoreRules) -> None:
        super().__init__(rules)
        self.sessions: dict[int, Kept] = {}
        self.entries: dict[tuple, Kept] = {}
        self.users: dict[int, tuple[Request, tuple]] = {}
        self.ever: set[tuple] = set()
        self.uses = self.now_ns = self.evicted = 0
        self.lost_tokens: Counter[tuple] = Counter()

    # --- memory

    def kept(self) -> set[tuple]:
        held = [*self.sessions.values(), *self.entries.values()]
        return set().union(*(prefixes(one.tokens) for one in held))

    def used(self) -> set[tuple]:
        return set().union(*(prefixes(shared) for _, shared in self.users.values()))

    def private(self) -> int:
        return sum(len(request.table) - request.keyed for request, _ in self.users.values())

    @property
    def free(self) -> int:
        return self.rules.capacity - self.private() - len(self.used())

    @property
    def evictions(self) -> int:
        return self.evicted

    @property
    def lost(self) -> Counter[tuple]:
        return self.lost_tokens

    @property
    def in_use(self) -> int:
        return self.private() + len(self.used())

    @property
    def kept_idle(self) -> int:
        return len(self.kept() - self.used())

    def unused(self) -> int:
        return self.rules.capacity - self.private() - len(self.used() | self.kept())

    def drop(self, held: dict, name: object) -> None:
        before = self.kept() | self.used()
        del held[name]
        gone = before - self.kept() - self.used()
        self.evicted += len(gone)
        self.lost_tokens.update(gone)

    def at_time(self, now_ns: int) -> None:
        self.now_ns = now_ns
        ttl_ns = self.rules.ttl_ns
        for name, session in list(self.sessions.items()):
            if ttl_ns is not None and now_ns - session.used_ns > ttl_ns:
                self.drop(self.sessions, name)

    def step_ended(self, now_ns: int) -> None:
        """What was used in a step counts as used when the step began."""

    def worth(self, entry: Kept) -> tuple[int, int]:
        first = entry.hits if self.rules.policy == "lfu" else 0
        return first, entry.born if self.rules.policy == "fifo" else entry.used

    def worst(self) -> tuple:
        return min(self.entries, key=lambda name: self.worth(self.entries[name]))

    def take(self, request: Request, wanted: int, *, decoding: bool = False) -> None:
        while self.unused() < wanted:
            session = min(self.sessions, key=lambda name: self.sessions[name].used, default=None)
            entry = self.worst() if self.entries else None
            if entry is None or (
                session is not None and self.sessions[session].used < self.entries[entry].used
            ):
                self.drop(self.sessions, session)
            else:
                self.drop(self.entries, entry)
        request.table += [None] * wanted

    # --- look-up

    def look_up(self, request: Request) -> Found:
        if not self.rules.enabled or request.skips:
            return Found()
        prompt = request.prompt
        own = self.sessions.get(request.session) if request.session is not None else None
        from_session = common(own.tokens, prompt) if own else 0
        stored = max((len(p) for p in self.entries if prompt[: len(p)] == p), default=0)
        depth = max(from_session, stored)
        hit = min(depth, request.target - 1, len(prompt))
        if hit == 0:
            return Found()
        idle = len(prefixes(prompt[:depth]) - self.used())
        return Found(hit, idle, [depth, min(from_session, hit), min(stored, hit), stored])

    def hold(self, request: Request, found: Found) -> None:
        depth, from_session, stored, whole = found.what or (0, 0, 0, 0)
        own = self.sessions.get(request.session) if request.session is not None else None
        request.session_kept = len(own.tokens) if own and self.rules.enabled else 0
        if from_session:
            self.touch(own)
        if stored > from_session:
            entry = self.entries[request.prompt[:whole]]
            self.uses += 1
            entry.used = self.uses
            entry.hits += 1
        self.users[request.index] = (request, request.prompt[:depth])
        self.reused.update(prefixes(request.prompt[: found.count]))
        request.table, request.keyed = [None] * found.count, found.count

    def touch(self, session: Kept) -> None:
        self.uses += 1
        session.used, session.used_ns = self.uses, self.now_ns

    # --- publishing

    def publish(self, request: Request, tokens: int) -> None:
        if not self.rules.enabled:
            return
        path = request.tokens if self.rules.responses else request.prompt
        upto = min(tokens, len(path))
        shared = self.users[request.index][1]
        ends = {len(request.prompt), len(path)}
        ends |= {
            n for n in self.rules.lengths if n >= self.rules.min_prefix and n <= len(request.prompt)
        }
        reached = max((end for end in ends if len(shared) < end <= upto), default=len(shared))
        before, shared = len(shared), path[:reached]
        self.users[request.index] = (request, shared)
        self.ever |= prefixes(shared)
        depth = min(len(shared), upto)
        if not shared or depth <= request.keyed:
            return
        request.keyed = depth
        if self.rules.session_cache and request.session is not None:
            self.sessions[request.session] = Kept(shared)
            self.touch(self.sessions[request.session])
        if self.rules.prefix_store:
            for end in range(before + 1, min(reached, len(request.prompt)) + 1):
                listed = end in self.rules.lengths
                whole = self.rules.whole_prompts and end == len(request.prompt)
                if (listed or whole) and end >= self.rules.min_prefix:
                    self.store(path[:end])

    def store(self, prefix: tuple) -> None:
        if prefix in self.entries:
            return
        if len(self.entries) == self.rules.max_entries:
            self.drop(self.entries, self.worst())
        self.uses += 1
        self.entries[prefix] = Kept(prefix, used=self.uses, born=self.uses)

    def release(self, request: Request) -> None:
        del self.users[request.index]
        request.table, request.keyed = [], 0

    # --- why it missed

    def count(self, request: Request, found: Found, *, looked_up: bool = True) -> None:
        prompt = request.prompt
        request.misses = dict.fromkeys((*CAUSES, "policy"), 0)
        seen = max(d for d in range(len(prompt) + 1) if prompt[:d] in self.seen or d == 0)
        known = max(seen, self.in_the_making(prompt))
        request.misses["cold"] = len(prompt) - known
        if not self.rules.enabled or request.skips:
            request.misses["disabled"] = known
            return
        request.hit = request.hit_blocks = found.count
        request.session_hit = found.what[1] if found.what else 0
        reachable = max(min(seen, len(prompt) - 1), found.count)
        reach = max(reachable, min(known, len(prompt) - 1)) if known > seen else reachable
        request.misses["granularity"] = known - reach
        request.misses["in_flight"] = reach - reachable
        shared = self.kept() | self.used()
        for depth in range(found.count + 1, reachable + 1):
            prefix = prompt[:depth]
            computing = any(
                other is not request and other.prompt[:depth] == prefix and depth > len(has)
                for other, has in self.users.values()
            )
            if prefix in shared:
                request.misses["policy"] += 1
            elif computing:
                request.misses["in_flight"] += 1
            else:
                request.misses["capacity" if prefix in self.ever else "policy"] += 1
