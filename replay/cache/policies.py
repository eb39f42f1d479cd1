"""The eviction policies, one table: adding one is a kernel group, a line here and a naive twin."""

from __future__ import annotations

from dataclasses import dataclass

from replay.kernels import layout


@dataclass(frozen=True, slots=True)
class Policy:
    """An eviction policy of one kind of cache: `code` is what the kernels branch on."""

    kind: str
    name: str
    code: int
    meaning: str
    reference: str


POLICIES = (
    Policy(
        "block",
        "lru",
        0,
        "evict the least recently released block, the deepest first among equals",
        "vLLM 0.33 block pool (free queue; blocks of a request freed in reverse order)",
    ),
    Policy(
        "session_store",
        "lru",
        layout.BY_RECENCY,
        "evict the stored prefix that was used longest ago",
        "LLMPerfOracle prefix caching, key prefix_eviction_policy",
    ),
    Policy(
        "session_store",
        "lfu",
        layout.BY_FREQUENCY,
        "evict the one hit least often since it was stored; among equals, used longest ago",
        "counts are lost on eviction (in-cache LFU)",
    ),
    Policy(
        "session_store",
        "fifo",
        layout.BY_AGE,
        "evict the one that was stored first",
        "-",
    ),
)


def policy_code(kind: str, name: str) -> int:
    """Return what the kernels call a policy of a kind of cache; the scenario has checked both."""
    return next(one.code for one in POLICIES if (one.kind, one.name) == (kind, name))
