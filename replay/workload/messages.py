"""Every message of a trace once, linked to the one before it: a prompt is a chain of them."""

from __future__ import annotations

import numpy as np

from replay.kernels.tree.prompts import nodes_holding

NONE = -1
_FIRST_CAPACITY = 1024


class Messages:
    """A growing store of messages; a message is `tokens` of a segment and the one before it.

    Segments below `reserved` belong to whoever made the store; new ones count up from there.
    """

    def __init__(self, *, reserved: int) -> None:
        self.count = 0
        self._next_segment = reserved
        self.segments = np.empty(_FIRST_CAPACITY, np.uint64)
        self.tokens = np.empty(_FIRST_CAPACITY, np.int32)
        self.previous = np.empty(_FIRST_CAPACITY, np.int64)
        self.starts = np.empty(_FIRST_CAPACITY, np.int64)
        self.depths = np.empty(_FIRST_CAPACITY, np.int32)

    def add(
        self, tokens: np.ndarray, previous: np.ndarray, segments: np.ndarray | None = None
    ) -> np.ndarray:
        """Add messages after others (NONE: at the start) and return their nodes, int64.

        Without segments they are content that nothing else has.
        """
        if segments is None:
            segments = np.arange(len(tokens)) + self._next_segment
            self._next_segment += len(tokens)
        nodes = np.arange(self.count, self.count + len(tokens))
        self._make_room(self.count + len(tokens))
        self.count += len(tokens)
        self.segments[nodes] = segments
        self.tokens[nodes] = tokens
        self.previous[nodes] = previous
        self.starts[nodes] = self.stops(previous)
        self.depths[nodes] = np.where(previous == NONE, 0, self.depths[previous] + 1)
        return nodes

    def stops(self, nodes: np.ndarray) -> np.ndarray:
        """Return the tokens up to and with each node; zero for NONE."""
        return np.where(nodes == NONE, 0, self.starts[nodes] + self.tokens[nodes])

    def lengths(self, nodes: np.ndarray) -> np.ndarray:
        """Return the nodes up to and with each node; zero for NONE."""
        return np.where(nodes == NONE, 0, self.depths[nodes].astype(np.int64) + 1)

    def cut(self, tips: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return chains that hold the first `positions` tokens of others; a message may be cut."""
        nodes = nodes_holding(tips, positions, self.starts, self.previous)
        inside = np.flatnonzero(self.stops(nodes) > positions)
        split = nodes[inside]
        left = positions[inside] - self.starts[split]
        nodes[inside] = self.add(left, self.previous[split], self.segments[split])
        return nodes

    def _make_room(self, wanted: int) -> None:
        if wanted <= len(self.tokens):
            return
        size = max(wanted, 2 * len(self.tokens))
        for name in ("segments", "tokens", "previous", "starts", "depths"):
            old = getattr(self, name)
            grown = np.empty(size, old.dtype)
            grown[: self.count] = old[: self.count]
            setattr(self, name, grown)
