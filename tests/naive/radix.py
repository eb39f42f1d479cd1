"""The slow, obvious twin of the radix cache: nodes that hold their pages, page by page.

Nodes are objects with a dictionary of children by first page; a page is a tuple of tokens. What to
evict is looked for among all nodes, each time anew. Nothing here knows edges, slices or heaps.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count

from tests.naive import pool as naive
from tests.naive.pool import Found, Request

Page = tuple[int, ...]


@dataclass
class RadixRules(naive.Rules):
    policy: str = "lru"
    classic: bool = False
    protected_hits: int = 2
    priorities: tuple[int, ...] = ()
    commit: str = "incremental"

    def priority(self, request: Request) -> int:
        return self.priorities[request.index % len(self.priorities)] if self.priorities else 0


@dataclass(eq=False)
class Node:
    pages: list[Page]
    parent: Node | None
    owner: Request | None
    created: int
    priority: int
    access: int = 0
    hits: int = 0
    locks: int = 0
    pinned: int = 0
    used_ns: int = 0
    children: dict[Page, Node] = field(default_factory=dict)

    @property
    def path(self) -> list[Node]:
        """The node and all above it, the root left out."""
        return [] if self.parent is None else [self, *self.parent.path]

    @property
    def depth(self) -> int:
        return sum(len(node.pages) for node in self.path)


class RadixCache(naive.Cache):
    """A pool of page slots and the tree of what is in them."""

    tells_early = False
    rules: RadixRules

    def __init__(self, rules: RadixRules) -> None:
        super().__init__(rules)
        self.root = Node([], None, None, 0, 0)
        self.slots = rules.capacity
        self.clock = count(1)
        self.evicted = 0
        self.lost_pages: Counter[tuple] = Counter()
        self.now_ns = 0
        self.taken: dict[tuple, tuple[int | None, int]] = {}
        self.locked: dict[int, Node] = {}
        self.inserted: dict[int, int] = {}

    # --- what is there

    def nodes(self) -> list[Node]:
        found, stack = [], [self.root]
        while stack:
            children = list(stack.pop().children.values())
            found += children
            stack += children
        return found

    @property
    def evictable(self) -> int:
        return sum(len(node.pages) for node in self.nodes() if not node.locks)

    @property
    def free(self) -> int:
        return self.slots + self.evictable

    @property
    def evictions(self) -> int:
        return self.evicted

    @property
    def lost(self) -> Counter[tuple]:
        return self.lost_pages

    @property
    def kept_idle(self) -> int:
        return sum(len(node.pages) for node in self.nodes() if node.locks == node.pinned)

    @property
    def in_use(self) -> int:
        return self.rules.capacity - self.slots - self.kept_idle

    def pages(self, tokens: tuple[int, ...]) -> list[Page]:
        size = self.rules.block_size
        return [tokens[at * size : (at + 1) * size] for at in range(len(tokens) // size)]

    def known(self, request: Request) -> tuple[int, ...]:
        return request.tokens if self.rules.responses else request.prompt

    # --- the tree

    def rank(self, node: Node) -> tuple[int, int]:
        return {
            "lru": (0, node.access),
            "mru": (0, -node.access),
            "fifo": (0, node.created),
            "filo": (0, -node.created),
            "lfu": (node.hits, node.access),
            "slru": (int(node.hits >= self.rules.protected_hits), node.access),
            "priority": (node.priority, node.access),
        }[self.rules.policy]

    def leaves(self) -> list[Node]:
        return [node for node in self.nodes() if not node.locks and not node.children]

    def evict(self, node: Node, whose: int | None, when_ns: int) -> None:
        content = [page for one in reversed(node.path) for page in one.pages]
        for at in range(len(content) - len(node.pages), len(content)):
            key = tuple(token for page in content[: at + 1] for token in page)
            self.taken[key] = whose, when_ns
            self.lost_pages[key] += 1
        del node.parent.children[node.pages[0]]
        self.slots += len(node.pages)
        self.evicted += len(node.pages)

    def evict_until(self, wanted: int, whose: int | None = None) -> None:
        while self.slots < wanted and self.leaves():
            self.evict(min(self.leaves(), key=self.rank), whose, self.now_ns)

    def at_time(self, now_ns: int) -> None:
        self.now_ns = now_ns
        ttl_ns = self.rules.ttl_ns
        while ttl_ns is not None:
            old = [node for node in self.leaves() if now_ns - node.used_ns > ttl_ns]
            if not old:
                return
            self.evict(old[0], None, old[0].used_ns + ttl_ns)

    def step_ended(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def split(self, node: Node, length: int) -> Node:
        created = next(self.clock) if self.rules.classic else node.created
        upper = Node(node.pages[:length], node.parent, node.owner, created, node.priority)
        upper.hits, upper.locks, upper.pinned = node.hits, node.locks, node.pinned
        node.parent.children[upper.pages[0]] = upper
        node.pages, node.parent = node.pages[length:], upper
        upper.children[node.pages[0]] = node
        node.access, node.used_ns, upper.used_ns = next(self.clock), self.now_ns, self.now_ns
        return upper

    def walk(self, pages: list[Page]) -> tuple[Node, int]:
        """Go down as far as the pages are there; split a node that is there in part."""
        node, done = self.root, 0
        while done < len(pages) and pages[done] in node.children:
            child = node.children[pages[done]]
            shared = 0
            for own, asked in zip(child.pages, pages[done:], strict=False):
                if own != asked:
                    break
                shared += 1
            done += shared
            if shared < len(child.pages):
                return self.split(child, shared), done
            node = child
        return node, done

    def touch(self, node: Node) -> None:
        now = next(self.clock)
        for one in node.path:
            one.access, one.used_ns = now, self.now_ns

    def insert(self, pages: list[Page], request: Request, priority: int, inserted: int):
        """Return (end node, pages that were there); count nodes that end beyond `inserted`."""
        node, there = self.walk(pages)
        kept = there
        while kept < len(pages) and sum(pages[: kept + 1], ()) in self.rules.pinned:
            kept += 1
        for first, stop, locks in ((there, kept, 1), (kept, len(pages), 0)):
            if first < stop:
                leaf = Node(pages[first:stop], node, request, next(self.clock), priority)
                leaf.locks = leaf.pinned = (
                    locks  # one that is never taken away keeps what is pinned
                )
                node.children[pages[first]] = leaf
                node = leaf
        self.touch(node)
        for one in node.path:
            one.priority = max(one.priority, priority)
            if one.depth > inserted:
                one.hits += 1
        return node, there

    def lock(self, node: Node, change: int) -> None:
        for one in node.path:
            one.locks += change
            one.used_ns = self.now_ns

    # --- what an engine asks of a cache

    def look_up(self, request: Request) -> Found:
        if not self.rules.enabled:
            return Found(0, 0, [self.root])
        limit = 0 if request.skips else min(request.target - 1, len(self.known(request)))
        node, found = self.walk(self.pages(self.known(request)[:limit]))
        self.touch(node)
        idle = sum(len(one.pages) for one in node.path if not one.locks)
        self.locked[request.index] = node
        return Found(found, idle, [one for one in node.path for _ in one.pages])

    def count(self, request: Request, found: Found, *, looked_up: bool = True) -> None:
        self.pool.taken = self.taken
        super().count(request, found, looked_up=looked_up)

    def hold(self, request: Request, found: Found) -> None:
        node = self.locked.setdefault(request.index, self.root)
        self.lock(node, 1)
        self.inserted[request.index] = 0
        size = self.rules.block_size
        self.reused.update(request.tokens[: (at + 1) * size] for at in range(found.count))
        request.table, request.keyed = [naive.Block() for _ in range(found.count)], found.count

    def take(self, request: Request, wanted: int, *, decoding: bool = False) -> None:
        spare = self.rules.block_size > 1 and not decoding
        self.evict_until(wanted + spare, None if decoding else request.index)
        self.slots -= wanted
        request.table += [naive.Block() for _ in range(wanted)]

    def publish(self, request: Request, tokens: int) -> None:
        if not self.rules.enabled:
            return
        pages = self.pages(self.known(request)[:tokens])
        priority = self.rules.priority(request)
        node, there = self.insert(pages, request, priority, self.inserted[request.index])
        self.inserted[request.index] = max(self.inserted[request.index], len(pages))
        prompt = self.pages(request.prompt)
        if 0 < len(prompt) < len(pages):
            self.insert(prompt, request, priority + 1, len(prompt))
        self.slots += max(there - request.keyed, 0)
        self.lock(self.locked[request.index], -1)
        self.lock(node, 1)
        self.locked[request.index] = node
        request.keyed = len(pages)

    def release(self, request: Request) -> None:
        self.slots += len(request.table) - request.keyed
        self.lock(self.locked.pop(request.index), -1)
        request.table, request.keyed = [], 0


class Untimed(naive.Untimed):
    """A response takes its pages step by step; prompt and response are inserted in any case."""

    cache: RadixCache

    def complete(self) -> None:
        cache, request = self.cache, min(self.running, key=lambda one: (one.done_ns, one.index))
        self.clock = max(self.clock, request.done_ns)
        cache.at_time(self.clock)
        self.running.remove(request)
        upto = len(request.prompt)
        if self.rules.responses:
            grown = cache.blocks(len(request.tokens)) - len(request.table)
            request.response_came_to = "cached" if grown <= cache.free else "skipped"
            if grown <= cache.free:
                before, upto = cache.evictions, len(request.tokens)
                for token in range(len(request.prompt), upto):
                    cache.evict_until(1, request.index)
                    cache.take(request, int(token % self.rules.block_size == 0), decoding=True)
                request.evicted_later = cache.evictions - before
        cache.publish(request, upto)
        cache.remember_response(request)
        cache.release(request)
        request.status = "completed"
        if not self.rules.hold_ns:
            request.free_after = cache.free


def replay_untimed(requests: list[Request], rules: RadixRules) -> RadixCache:
    """Replay requests without a GPU, one after another or held in flight; return the cache."""
    untimed = Untimed(rules, RadixCache)
    untimed.run(requests)
    return untimed.cache
