"""The eviction policies that a scenario may name, one line each.

What a scenario takes, `replay list policies`, the documentation and the kernels' codes are read
from here. Policies that are only compared (`replay curve`, `replay policies`) stand beside how they
are run: replay/cache/replacement.py. CONTRIBUTING.md tells how to add one.
"""

from __future__ import annotations

from dataclasses import dataclass

BY_NATURE, BY_LEAVES = "by nature", "by restriction to leaves"
_SGLANG = "SGLang 0.5.23, --radix-eviction-policy"
_SGLANG_FILE = "SGLang 0.5.23 evict_policy.py"


@dataclass(frozen=True, slots=True)
class Policy:
    """An eviction policy of one kind of cache.

    `closure` says why what is resident stays prefix-closed, so that no block is stranded behind a
    missing one: BY_NATURE of the order of eviction, or BY_LEAVES, as only leaves are evicted.
    """

    kind: str
    name: str
    meaning: str
    reference: str
    closure: str


# The place of a policy among those of its kind is what the kernels branch on.
POLICIES = (
    Policy(
        "block",
        "lru",
        "evict the least recently released block, the deepest first among equals",
        "vLLM 0.33 block pool (free queue; blocks of a request freed in reverse order)",
        BY_NATURE,
    ),
    Policy(
        "session_store",
        "lru",
        "evict the stored prefix that was used longest ago",
        "LLMPerfOracle prefix caching, key prefix_eviction_policy",
        BY_NATURE,
    ),
    Policy(
        "session_store",
        "lfu",
        "evict the one hit least often since it was stored; among equals, used longest ago",
        "counts are lost on eviction (in-cache LFU)",
        BY_NATURE,
    ),
    Policy("session_store", "fifo", "evict the one that was stored first", "-", BY_NATURE),
    Policy("radix", "lru", "evict the leaf node touched longest ago, whole", _SGLANG, BY_LEAVES),
    Policy(
        "radix",
        "lfu",
        "evict the leaf inserted by the fewest requests; among equals, touched longest ago",
        f"{_SGLANG}; counts are lost on eviction, look-ups do not count",
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "fifo",
        "evict the leaf created first; parts of a split node: see cache.radix.tree",
        _SGLANG_FILE,
        BY_LEAVES,
    ),
    Policy("radix", "mru", "evict the leaf touched last", _SGLANG_FILE, BY_LEAVES),
    Policy(
        "radix",
        "filo",
        "evict the leaf created last; parts of a split node: see cache.radix.tree",
        _SGLANG_FILE,
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "slru",
        "evict unprotected leaves first, touched longest ago; cache.radix.protected_hits protects",
        _SGLANG,
        BY_LEAVES,
    ),
    Policy(
        "radix",
        "priority",
        "evict the leaf of the lowest priority (column `priority` of the trace, 0 without); among "
        "equals, touched longest ago",
        _SGLANG,
        BY_LEAVES,
    ),
)


def policy_names(kind: str) -> tuple[str, ...]:
    """Return the names of the policies of a kind of cache, in the order of the table."""
    return tuple(one.name for one in POLICIES if one.kind == kind)


def policy_code(kind: str, name: str) -> int:
    """Return what the kernels call a policy of a kind of cache; the scenario has checked both."""
    return policy_names(kind).index(name)
