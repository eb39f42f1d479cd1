"""The slow, obvious twin of the radix cache: nodes that hold their pages, page by page.

Nodes are objects with a dictionary of children by first page; a page is a tuple of tokens. What to
evict is looked for among all nodes, each time anew. Nothing here knows edges, slices or heaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from tests import naive
from tests.naive import Found, Request

Page = tuple[int, ...]


@dataclass
class RadixRules(naive.Rules):
    policy: str = "lru"
    classic: bool = False
    protected_hits: int = 2
    hold_ns: int = 0
    priorities: tuple[int, ...] = ()

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

    rules: RadixRules

    def __init__(self, rules: RadixRules) -> None:
        super().__init__(rules)
        self.root = Node([], None, None, 0, 0)
        self.slots = rules.capacity
        self.clock = count(1)
        self.evicted = 0
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

    def evict_until(self, wanted: int) -> None:
        while self.slots < wanted:
            leaves = [node for node in self.nodes() if not node.locks and not node.children]
            if not leaves:
                return
            victim = min(leaves, key=self.rank)
            del victim.parent.children[victim.pages[0]]
            self.slots += len(victim.pages)
            self.evicted += len(victim.pages)

    def split(self, node: Node, length: int) -> Node:
        created = next(self.clock) if self.rules.classic else node.created
        upper = Node(node.pages[:length], node.parent, node.owner, created, node.priority)
        upper.hits, upper.locks = node.hits, node.locks
        node.parent.children[upper.pages[0]] = upper
        node.pages, node.parent = node.pages[length:], upper
        upper.children[node.pages[0]] = node
        node.access = next(self.clock)
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
            one.access = now

    def insert(self, pages: list[Page], request: Request, priority: int, inserted: int):
        """Return (end node, pages that were there); count nodes that end beyond `inserted`."""
        node, there = self.walk(pages)
        if there < len(pages):
            leaf = Node(pages[there:], node, request, next(self.clock), priority)
            node.children[pages[there]] = leaf
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

    # --- what an engine asks of a cache

    def look_up(self, request: Request) -> Found:
        if not self.rules.enabled:
            return Found(0, 0, [self.root])
        limit = min(request.target - 1, len(self.known(request)))
        node, found = self.walk(self.pages(self.known(request)[:limit]))
        self.touch(node)
        idle = sum(len(one.pages) for one in node.path if not one.locks)
        self.locked[request.index] = node
        return Found(found, idle, [one for one in node.path for _ in one.pages])

    def hold(self, request: Request, found: Found) -> None:
        node = self.locked.setdefault(request.index, self.root)
        self.lock(node, 1)
        self.inserted[request.index] = 0
        request.table, request.keyed = [naive.Block() for _ in range(found.count)], found.count

    def take(self, request: Request, wanted: int, spare: int = 1) -> None:
        self.evict_until(wanted + (spare if self.rules.block_size > 1 else 0))
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


@dataclass
class Life:
    """What became of a request besides what every twin counts."""

    admitted_ns: int = 0
    attempts: int = 0
    found: int = 0
    evicted_later: int = 0
    response: str = "none"
    evictable: int = 0
    done_ns: int = 0


def replay(requests: list[Request], rules: RadixRules) -> list[Life]:
    """Replay requests without time: one after another, or held for `hold_ns` once admitted."""
    cache = RadixCache(rules)
    lives = [Life() for _ in requests]
    clock = 0

    def complete(request: Request) -> None:
        life = lives[request.index]
        upto = len(request.prompt)
        if rules.responses:
            upto = len(request.prompt) + request.output_tokens - 1
            wanted = cache.blocks(upto) - len(request.table)
            if wanted > cache.free:
                life.response, upto = "skipped", len(request.prompt)
            else:
                life.response = "cached"
                before = cache.evictions
                for step in range(len(request.prompt), upto):
                    opens = step % rules.block_size == 0
                    cache.evict_until(1)
                    cache.take(request, int(opens), spare=0)
                life.evicted_later = cache.evictions - before
        cache.publish(request, upto)
        cache.remember_response(request)
        cache.release(request)
        cache.running.remove(request)
        request.status = "completed"
        if not rules.hold_ns:
            request.free_after, life.evictable = cache.free, cache.evictable

    for request in requests:
        clock = max(clock, request.arrival_ns)
        while cache.running and lives[cache.running[0].index].done_ns <= clock:
            complete(cache.running[0])
        life = lives[request.index]
        while True:
            found = cache.look_up(request)
            life.attempts, life.found = life.attempts + 1, found.count
            wanted = cache.blocks(len(request.prompt)) - found.count
            if wanted + found.idle <= cache.free or not cache.running:
                break
            clock = max(clock, lives[cache.running[0].index].done_ns)
            complete(cache.running[0])
        life.admitted_ns = clock
        if wanted + found.idle > cache.free:
            request.status = "rejected"
            cache.count(request, Found(), looked_up=False)
            request.free_after, life.evictable = cache.free, cache.evictable
            continue
        cache.hold(request, found)
        cache.count(request, found)
        cache.remember(request)
        before = cache.evictions
        cache.take(request, wanted)
        request.evicted = cache.evictions - before
        cache.publish(request, len(request.prompt))
        cache.running.append(request)
        life.done_ns = clock + rules.hold_ns
        if rules.hold_ns:
            request.free_after, life.evictable = cache.free, cache.evictable
        else:
            complete(request)
    for request in list(cache.running):
        complete(request)
    return lives
