"""SGLang's radix tree, slow and obvious: nodes that hold their tokens, and a count of free slots.

Every node is an object with a dictionary of children by first page. What can be evicted is looked
for among all nodes, each time anew. A node counts as used by the number of the last operation that
touched it; of what a split leaves, the lower part is older than the path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

Tokens = tuple[int, ...]


@dataclass(eq=False)
class Node:
    key: Tokens
    parent: Node | None
    access: int = 0
    locks: int = 0
    children: dict[Tokens, Node] = field(default_factory=dict)

    @property
    def path(self) -> list[Node]:
        """The node and all above it, the root left out."""
        return [] if self.parent is None else [self, *self.parent.path]


def common(first: Tokens, second: Tokens) -> int:
    """Return how many tokens two keys have in common at their start."""
    if first == second:
        return len(first)
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class TokenTree:
    """A pool of `capacity` token slots in pages of `page`, and the tree of what is in them."""

    def __init__(self, capacity: int, page: int) -> None:
        self.page = page
        self.available = capacity
        self.root = Node((), None)
        self.clock = count(1)
        self.evictable = 0
        self.evicted = 0

    def floor(self, tokens: int) -> int:
        return tokens // self.page * self.page

    def nodes(self) -> list[Node]:
        found, stack = [], [self.root]
        while stack:
            children = list(stack.pop().children.values())
            found += children
            stack += children
        return found

    def split(self, node: Node, length: int) -> Node:
        """Cut a node; the lower part stays the same object."""
        upper = Node(node.key[:length], node.parent, locks=node.locks)
        node.parent.children[upper.key[: self.page]] = upper
        node.key, node.parent = node.key[length:], upper
        upper.children[node.key[: self.page]] = node
        node.access = next(self.clock)
        return upper

    def walk(self, key: Tokens) -> tuple[Node, int]:
        node, done = self.root, 0
        while key[done : done + self.page] in node.children:
            node = node.children[key[done : done + self.page]]
            shared = self.floor(common(node.key, key[done : done + len(node.key)]))
            done += shared
            if shared < len(node.key):
                return self.split(node, shared), done
        return node, done

    def touch(self, node: Node) -> None:
        now = next(self.clock)
        for one in node.path:
            one.access = now

    def match(self, tokens: Tokens) -> tuple[Node, int]:
        """Return the node where the longest prefix in the tree ends, and its length."""
        node, done = self.walk(tokens[: self.floor(len(tokens))])
        self.touch(node)
        return node, done

    def insert(self, key: Tokens) -> tuple[Node, int]:
        """Return the node that ends with `key`, whole pages, and how much was there before."""
        node, there = self.walk(key)
        if there < len(key):
            leaf = Node(key[there:], node)
            node.children[leaf.key[: self.page]] = leaf
            self.evictable += len(leaf.key)
            node = leaf
        self.touch(node)
        return node, there

    def lock(self, node: Node) -> None:
        for one in node.path:
            one.locks += 1
            if one.locks == 1:
                self.evictable -= len(one.key)

    def unlock(self, node: Node) -> None:
        for one in node.path:
            one.locks -= 1
            if one.locks == 0:
                self.evictable += len(one.key)

    def evict_until(self, wanted: int) -> bool:
        """Evict whole leaves, the least recently used first; return whether `wanted` are free."""
        while self.available < wanted and self.evictable:
            leaf = min(
                (node for node in self.nodes() if not node.locks and not node.children),
                key=lambda node: node.access,
            )
            del leaf.parent.children[leaf.key[: self.page]]
            self.available += len(leaf.key)
            self.evictable -= len(leaf.key)
            self.evicted += len(leaf.key)
        return self.available >= wanted
