"""Eviction policies that rank blocks, and the offline optimum: one table, and how each is run.

The protocol that all of them share is told in `replay.kernels.policies.ranked`. What is resident is
closed under prefixes *by nature* where no block can rank before one that hangs from it, given that
it was so before: whatever uses a block uses the blocks before it too, so those were stored no
later, used as often since and as recently, by requests of the same priorities. Counts lost on
eviction change nothing of that, for a parent is never evicted first. It holds *by restriction to
leaves* where
ranks alone would not do, and *no* says that look-ups find stranded blocks, which are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from replay.cache.hints import Hints
from replay.cache.outcome import PolicyOutcome
from replay.errors import InputError, UnknownNameError
from replay.kernels.policies import leaf_heap, optimum, ranked_layout, recency
from replay.kernels.policies.calendar import level_starts
from replay.kernels.policies.levelling import replay_levelled
from replay.kernels.policies.optimum import Future, find_next_uses, replay_optimum
from replay.kernels.policies.ranked import replay_ranked as replay_by_rank
from replay.kernels.policies.ranked_layout import Ranked
from replay.kernels.policies.recency import Recency, replay_recency
from replay.kernels.policies.references import References

BY_NATURE = "by nature"
BY_LEAVES = "by restriction to leaves"
AT_LOOKUPS = "at every look-up"
NOT_CLOSED = "no"


def optimum_hit_blocks(references: References, capacity_blocks: int) -> np.ndarray:
    """Return the blocks that each request hits under `min`, int64[R].

    The sum is the most that any policy can reach which keeps what a request uses while it runs.
    """
    return _by_future(references, capacity_blocks, bypass=False).hit_blocks


def lru_by_rank(references: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    """Return what becomes of `references` under LRU: the same kernel, to check others by."""
    return _by_rank(references, capacity_blocks, hints, rank=ranked_layout.LRU)


def _edge_table(references: References, module: object) -> np.ndarray:
    """Return the edges as int32[E, 8] with the columns that a kernel module names."""
    column = vars(module)
    table = np.zeros((len(references.first), column["EDGE_COLUMNS"]), np.int32)
    table[:, column["FIRST"]] = references.first
    table[:, column["LENGTH"]] = references.blocks
    return table


def _outcome(hits: np.ndarray, counters: np.ndarray, found: int, evicted: int) -> PolicyOutcome:
    reached = int(hits.sum())
    return PolicyOutcome(
        hit_blocks=hits,
        found_blocks=int(counters[found]),
        stranded_blocks=int(counters[found]) - reached,
        evicted_blocks=int(counters[evicted]),
    )


def _rank(rank: int) -> Callable[[References, int, Hints], PolicyOutcome]:
    """Return a replay that evicts by one of the ranks of kernels/policies/ranked_layout.py."""
    return partial(_by_rank, rank=rank)


def _by_rank(
    references: References, capacity_blocks: int, hints: Hints, *, rank: int
) -> PolicyOutcome:
    r = ranked_layout
    requests, edges = len(references.limit), _edge_table(references, r)
    edges[:, r.PARENT] = references.parent
    edges[:, r.RUN] = edges[:, r.LAST] = r.NONE
    prefix_costs, levelled = rank == r.PGDSF, rank == r.LENGTH_AWARE
    most_runs = min(len(references.edges), capacity_blocks)
    if prefix_costs:
        most_runs = len(edges) + 2 * requests
    elif levelled:
        most_runs += len(edges)
    rules = np.zeros(r.RULES, np.int64)
    rules[r.POLICY] = rank
    rules[r.CAPACITY] = capacity_blocks
    rules[r.SEED] = hints.seed
    rules[r.FLAT_COST] = 1_000 * hints.cost.linear_ns
    rules[r.BLOCK_COST] = hints.cost.context_ns * hints.block_tokens
    counters = np.zeros(r.COUNTERS, np.int64)
    counters[r.RUN_FREE] = r.NONE
    leaves = min(len(edges), capacity_blocks)
    no_priority = np.zeros(1, np.int64)
    deepest = int((references.first + references.blocks).max(initial=0))
    table = Ranked(
        edges=edges,
        runs=np.empty((most_runs + 2, r.RUN_COLUMNS), np.int64),
        clock=np.zeros(len(edges) if rank in (r.GDSF, r.PGDSF) else 1, np.int64),
        lost=np.full(len(edges) if prefix_costs else 1, r.NONE, np.int32),
        links=np.zeros((len(edges) if levelled else 1, r.LINK_COLUMNS), np.int32),
        ending=np.full(deepest if levelled else 1, r.NONE, np.int32),
        by_last=np.zeros(requests + 1 if levelled else 1, np.int32),
        heap=np.empty((2 * leaves + 64 + leaf_heap.OFFSET, 2), np.int64),
        counters=counters,
        rules=rules,
        offsets=references.offsets,
        path=references.edges,
        limit=references.limit,
        priority=no_priority if hints.priority is None else hints.priority,
        hits=np.zeros(requests, np.int64),
    )
    (replay_levelled if levelled else replay_by_rank)(table, 0, requests)
    return _outcome(table.hits, counters, r.FOUND, r.EVICTED)


def _by_ttl(references: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    assert hints.ttl_ns is not None  # replay_ranked asked
    return _by_recency(references, capacity_blocks, hints, ttl_ns=hints.ttl_ns)


def _by_category(references: References, capacity_blocks: int, hints: Hints) -> PolicyOutcome:
    return _by_recency(references, capacity_blocks, hints, category=hints.category)


def _by_recency(
    references: References,
    capacity_blocks: int,
    hints: Hints,
    *,
    ttl_ns: int = recency.FOREVER,
    category: np.ndarray | None = None,
) -> PolicyOutcome:
    r = recency
    requests, edges = len(references.limit), _edge_table(references, r)
    edges[:, r.LAST] = r.NONE
    queues = 1 if category is None or not requests else int(category.max()) + 1
    rules = np.zeros(r.RULES, np.int64)
    rules[r.CAPACITY] = capacity_blocks
    rules[r.TTL_NS] = ttl_ns
    rules[r.BY_CATEGORY] = category is not None
    counters = np.zeros(r.COUNTERS, np.int64)
    table = Recency(
        edges=edges,
        queues=np.full((queues, 2), r.NONE, np.int32),
        fits=np.zeros((queues, r.FIT_COLUMNS)),
        sums=np.zeros(r.SUMS),
        counters=counters,
        rules=rules,
        offsets=references.offsets,
        path=references.edges,
        limit=references.limit,
        category=np.zeros(1, np.int32) if category is None else category,
        arrival_ns=hints.arrival_ns,
        hits=np.zeros(requests, np.int64),
    )
    replay_recency(table, 0, requests)
    return _outcome(table.hits, counters, r.FOUND, r.EVICTED)


def _optimum(
    references: References, capacity_blocks: int, hints: Hints, *, bypass: bool
) -> PolicyOutcome:
    return _by_future(references, capacity_blocks, bypass=bypass)


def _by_future(references: References, capacity_blocks: int, *, bypass: bool) -> PolicyOutcome:
    r = optimum
    requests, edges = len(references.limit), _edge_table(references, r)
    following = np.empty(len(references.edges), np.int32)
    upcoming = np.full(len(edges), r.NONE, np.int32)
    find_next_uses(references.offsets, references.edges, upcoming, following)
    levels = level_starts(requests)
    longest = int(np.diff(references.offsets).max(initial=0))
    counters = np.zeros(r.COUNTERS, np.int64)
    counters[r.OLDEST] = counters[r.NEWEST] = r.NONE
    rules = np.zeros(r.RULES, np.int64)
    rules[r.CAPACITY] = capacity_blocks
    rules[r.BYPASS] = bypass
    rules[r.LAST] = requests - 1
    table = Future(
        edges=edges,
        queues=np.full((requests, 2), r.NONE, np.int32),
        words=np.zeros(int(levels[-1]), np.uint64),
        levels=levels,
        before=np.empty(longest, np.int32),
        counters=counters,
        rules=rules,
        offsets=references.offsets,
        path=references.edges,
        next=following,
        limit=references.limit,
        hits=np.zeros(requests, np.int64),
    )
    replay_optimum(table, 0, requests)
    return _outcome(table.hits, counters, r.FOUND, r.EVICTED)


@dataclass(frozen=True, slots=True)
class RankedPolicy:
    """A policy: what is evicted first, where the rule is from, and what keeps prefixes whole.

    `replay` replays references in so many blocks; `needs` is the field of Hints without which it
    cannot. `closure` is BY_NATURE, BY_LEAVES, AT_LOOKUPS or NOT_CLOSED.
    """

    name: str
    replay: Callable[[References, int, Hints], PolicyOutcome]
    meaning: str
    reference: str
    closure: str
    needs: str | None = None


RANKED_POLICIES = (
    RankedPolicy(
        "lfu",
        _rank(ranked_layout.LFU),
        "used least often since it was stored; among equals, used longest ago",
        "in-cache LFU: counts are lost on eviction",
        BY_NATURE,
    ),
    RankedPolicy(
        "lfu_perfect",
        _rank(ranked_layout.LFU_PERFECT),
        "used least often so far; among equals, used longest ago",
        "perfect LFU: counts survive eviction",
        BY_NATURE,
    ),
    RankedPolicy(
        "fifo_leaf",
        _rank(ranked_layout.FIFO_LEAF),
        "stored first, of the blocks that none hangs from",
        "SGLang RadixAttention, eviction policy fifo, block by block",
        BY_LEAVES,
    ),
    RankedPolicy(
        "slru_hits",
        _rank(ranked_layout.SLRU_HITS),
        "hit at most once since it was stored, longest ago first; then any, longest ago first",
        "after SGLang RadixAttention, eviction policy slru, block by block; storing is no hit here",
        BY_NATURE,
    ),
    RankedPolicy(
        "gdsf",
        _rank(ranked_layout.GDSF),
        "least clock + uses since stored × cost of computing it again at its depth, per byte of KV",
        "Greedy-Dual-Size-Frequency (Cherkasova, 1998)",
        BY_LEAVES,
    ),
    RankedPolicy(
        "pgdsf",
        _rank(ranked_layout.PGDSF),
        "least clock + uses so far × mean cost per new token of the requests that missed it",
        "prefix-aware GDSF (RAGCache, 2024)",
        BY_LEAVES,
    ),
    RankedPolicy(
        "length_aware",
        _rank(ranked_layout.LENGTH_AWARE),
        "used least often since stored; among equals, latest in its request, then longest ago",
        "LengthAwareCache (Mooncake, arXiv 2407.00079, section 4.2)",
        BY_NATURE,
    ),
    RankedPolicy(
        "workload_aware",
        _by_category,
        "least probable to be used again soon, by its idle age and the kind and turn of its user",
        "KVCache Cache in the Wild (USENIX ATC 2025)",
        NOT_CLOSED,
        needs="category",
    ),
    RankedPolicy(
        "ttl",
        _by_ttl,
        "used longest ago; before a look-up, whatever was idle for longer than the time to live",
        "LRU with expiry, as of prompt caches sold by the minute",
        BY_NATURE,
        needs="ttl_ns",
    ),
    RankedPolicy(
        "random",
        _rank(ranked_layout.RANDOM),
        "of the smallest draw, made when it was stored, of the blocks that none hangs from",
        "counter-based draws by seed, request and edge",
        BY_LEAVES,
    ),
    RankedPolicy(
        "priority",
        _rank(ranked_layout.PRIORITY),
        "of the lowest priority among its users since stored; among equals, used longest ago",
        "SGLang RadixAttention, eviction policy priority, block by block",
        BY_NATURE,
        needs="priority",
    ),
    RankedPolicy(
        "min",
        partial(_optimum, bypass=False),
        "of the latest next hit, all of a request's own blocks being kept: the offline optimum",
        "Belady (1966); proof for prefixes in docs/optimum.md",
        AT_LOOKUPS,
    ),
    RankedPolicy(
        "min_bypass",
        partial(_optimum, bypass=True),
        "the same where a request's own blocks may go at once: an upper bound for every cache",
        "Belady (1966); proof for prefixes in docs/optimum.md",
        AT_LOOKUPS,
    ),
)

NEEDED = {
    "ttl_ns": "a time to live",
    "category": "requests with a kind or a turn",
    "priority": "requests with a priority",
}


def replay_ranked(
    references: References, name: str, capacity_blocks: int, hints: Hints
) -> PolicyOutcome:
    """Return what becomes of `references` under a policy of RANKED_POLICIES.

    Raises UnknownNameError for another name, InputError where `hints` lack what it needs and for a
    capacity below one block.
    """
    if capacity_blocks < 1:
        raise InputError(f"a cache holds at least one block (got {capacity_blocks})")
    policy = next((one for one in RANKED_POLICIES if one.name == name), None)
    if policy is None:
        raise UnknownNameError("policy", name, [one.name for one in RANKED_POLICIES])
    if policy.needs is not None and getattr(hints, policy.needs) is None:
        raise InputError(f"policy {name} needs {NEEDED[policy.needs]}, and none is given")
    return policy.replay(references, capacity_blocks, hints)
