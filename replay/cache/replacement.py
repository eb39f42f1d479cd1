"""The eviction policies that `replay curve` and `replay policies` compare, as one table.

Adding one is a kernel, a line in the table of its group (queue_policies.py, ranked_policies.py)
and a naive twin in the tests. What a run may evict by stands in replay/config/policies.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from replay.cache.hints import Hints
from replay.cache.outcome import PolicyOutcome
from replay.cache.queue_policies import QUEUE_POLICIES, replay_queue
from replay.cache.ranked_policies import BY_NATURE, RANKED_POLICIES, replay_ranked
from replay.errors import UnknownNameError
from replay.kernels.policies.lru import replay_lru
from replay.kernels.policies.references import References


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


def _queue(name: str, refs: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    return replay_queue(refs, name, capacity_blocks)


def _ranked(name: str, refs: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    return replay_ranked(refs, name, capacity_blocks, hints)


REPLACEMENTS = (
    Replacement(
        "lru",
        BY_NATURE,
        "evict what was used longest ago, the deepest block first among equals",
        "default of vLLM and SGLang; exact at all capacities in one pass",
        _lru,
    ),
    *(
        Replacement(one.name, one.closure, one.meaning, one.reference, partial(_queue, one.name))
        for one in QUEUE_POLICIES
    ),
    *(
        Replacement(one.name, one.closure, one.meaning, one.reference, partial(_ranked, one.name))
        for one in RANKED_POLICIES
    ),
)


def replacement(name: str) -> Replacement:
    """Return the policy of a name; UnknownNameError for one that stands in no table."""
    for one in REPLACEMENTS:
        if one.name == name:
            return one
    raise UnknownNameError("policy", name, [one.name for one in REPLACEMENTS])


def possible_policies(hints: Hints) -> list[Replacement]:
    """Return the policies that have what they need: a time to live, priorities, categories."""
    needs = {one.name: one.needs for one in RANKED_POLICIES if one.needs is not None}
    lacking = {name for name, field in needs.items() if getattr(hints, field) is None}
    return [one for one in REPLACEMENTS if one.name not in lacking]
