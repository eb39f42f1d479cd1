"""The eviction policies, one table: adding one is a kernel group, a line here and a naive twin."""

from __future__ import annotations

from dataclasses import dataclass

from replay.kernels import layout


@dataclass(frozen=True, slots=True)
class Policy:
    """An eviction policy of one kind of cache: `code` is what the kernels branch on.

    `closure` says why what is resident stays prefix-closed, so that no block is stranded behind a
    missing one: "by nature" of the order of eviction, "by restriction to leaves", or "not".
    """

    kind: str
    name: str
    code: int
    meaning: str
    reference: str
    closure: str


BY_NATURE, BY_LEAVES = "by nature", "by restriction to leaves"
_SGLANG = "SGLang 0.5.23, --radix-eviction-policy"


POLICIES = (
    Policy(
        "block",
        "lru",
        0,
        "evict the least recently released block, the deepest first among equals",
        "vLLM 0.33 block pool (free queue; blocks of a request freed in reverse order)",
        BY_NATURE,
    ),
    Policy(
        "session_store",
        "lru",
        layout.BY_RECENCY,
        "evict the stored prefix that was used longest ago",
        "LLMPerfOracle prefix caching, key prefix_eviction_policy",
        BY_NATURE,
    ),
    Policy(
        "session_store",
        "lfu",
        layout.BY_FREQUENCY,
        "evict the one hit least often since it was stored; among equals, used longest ago",
        "counts are lost on eviction (in-cache LFU)",
        BY_NATURE,
    ),
    Policy(
        "session_store",
        "fifo",
        layout.BY_AGE,
        "evict the one that was stored first",
        "-",
        BY_NATURE,
    ),
    Policy(
        "radix",
        "lru",
        layout.BY_LRU,
        "evict the leaf node touched longest ago, whole",
        _SGLANG,
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "lfu",
        layout.BY_LFU,
        "evict the leaf inserted by the fewest requests; among equals, touched longest ago",
        f"{_SGLANG}; counts are lost on eviction, look-ups do not count",
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "fifo",
        layout.BY_FIFO,
        "evict the leaf created first; parts of a split node: see cache.radix.tree",
        "SGLang 0.5.23 evict_policy.py",
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "mru",
        layout.BY_MRU,
        "evict the leaf touched last",
        "SGLang 0.5.23 evict_policy.py",
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "filo",
        layout.BY_FILO,
        "evict the leaf created last; parts of a split node: see cache.radix.tree",
        "SGLang 0.5.23 evict_policy.py",
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "slru",
        layout.BY_SLRU,
        "evict unprotected leaves first, touched longest ago; cache.radix.protected_hits protects",
        _SGLANG,
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "priority",
        layout.BY_PRIORITY,
        "evict the leaf of the lowest priority (column `priority` of the trace, 0 without); among "
        "equals, touched longest ago",
        _SGLANG,
        BY_LEAVES,
    ),
)


def policy_code(kind: str, name: str) -> int:
    """Return what the kernels call a policy of a kind of cache; the scenario has checked both."""
    return next(one.code for one in POLICIES if (one.kind, one.name) == (kind, name))


def policy_names(kind: str) -> list[str]:
    """Return the names of the policies of a kind of cache, in the order of the table."""
    return [one.name for one in POLICIES if one.kind == kind]
