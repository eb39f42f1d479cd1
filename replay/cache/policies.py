"""The eviction policies, one table: adding one is a kernel group, a line here and a naive twin."""

from __future__ import annotations

from dataclasses import dataclass

from replay.kernels import layout


@dataclass(frozen=True, slots=True)
class Policy:
    """An eviction policy: `code` is what the kernels branch on."""

    name: str
    code: int
    meaning: str
    reference: str


POLICIES = (
    Policy(
        "lru",
        0,
        "evict the least recently released block, the deepest first among equals",
        "vLLM 0.33 block pool (free queue; blocks of a request freed in reverse order)",
    ),
)

# What decides which stored prefix of a session store makes room for another: lru, the one used
# longest ago; lfu, the one used least often since it was stored, the one used longest ago among
# equals; fifo, the one stored first.
ENTRY_POLICIES = {
    "lru": layout.BY_RECENCY,
    "lfu": layout.BY_FREQUENCY,
    "fifo": layout.BY_AGE,
}
