"""The eviction policies that `replay curve` and `replay policies` compare, one table.

Adding one is a kernel, a line in the table of its group and a naive twin in the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from replay.cache.hints import Hints
from replay.cache.outcome import PolicyOutcome
from replay.errors import UnknownNameError
from replay.kernels.lru import replay_lru
from replay.kernels.references import References

BY_NATURE = "by nature"
BY_LEAVES = "by restriction to leaves"
NOT_CLOSED = "no"


@dataclass(frozen=True, slots=True)
class Replacement:
    """An eviction policy: `closure` says how what is resident stays prefix-closed, if it does."""

    name: str
    closure: str
    meaning: str
    reference: str
    replay: Callable[[References, int, Hints], PolicyOutcome]


def _lru(refs: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    hits, found, evicted = replay_lru(
        refs.blocks, refs.offsets, refs.edges, refs.limit, capacity_blocks
    )
    return PolicyOutcome(hits, int(found), 0, int(evicted))


REPLACEMENTS = (
    Replacement(
        "lru",
        BY_NATURE,
        "evict what was used longest ago, the deepest block first among equals",
        "vLLM and SGLang defaults; exact at all capacities at once",
        _lru,
    ),
)


def replacement(name: str) -> Replacement:
    """Return the policy of a name; UnknownNameError for one that stands in no table."""
    for one in REPLACEMENTS:
        if one.name == name:
            return one
    raise UnknownNameError("policy", name, [one.name for one in REPLACEMENTS])


def default_policies(*, with_ttl: bool) -> list[str]:
    """Return the names of all policies, the one that needs an idle time only where it is given."""
    return [one.name for one in REPLACEMENTS if one.name != "ttl" or with_ttl]
