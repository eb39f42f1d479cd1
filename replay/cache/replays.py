"""Policies at several capacities over one trace, in threads that share its arrays."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from replay.cache.hints import Hints
from replay.cache.outcome import PolicyOutcome
from replay.cache.replacement import Replacement
from replay.cache.view import BlockView
from replay.kernels.policies.references import References
from replay.progress import Hook, ignore


@dataclass(frozen=True, slots=True)
class Replay:
    """One policy at one capacity: what it did, and the CPU time it took."""

    view: BlockView
    policy: Replacement
    capacity_blocks: int
    outcome: PolicyOutcome
    cpu_ns: int

    @property
    def hit_tokens(self) -> np.ndarray:
        """The prompt tokens saved of each request, int64[R]."""
        return self.view.saved_tokens(self.outcome.hit_blocks)


def replay_all(
    view: BlockView,
    policies: Sequence[Replacement],
    capacities: Sequence[int],
    hints: Hints,
    *,
    threads: int,
    progress: Hook = ignore,
) -> Iterator[Replay]:
    """Yield a replay for each policy and capacity, in this order, whatever the threads.

    Kernels hold no lock, so as many run at once as there are threads. A replay that was taken is
    kept no longer: each holds a number for every request.
    """
    for policy in policies:  # compiles, or loads what was compiled: no part of the CPU time
        policy.replay(_first_request(view.references), 1, hints)
    jobs = [(policy, capacity) for policy in policies for capacity in capacities]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        futures = deque(pool.submit(_replay, view, *job, hints) for job in jobs)
        try:
            while futures:
                found = futures[0].result()
                futures.popleft()
                progress("Replaying policies", len(jobs) - len(futures), len(jobs))
                yield found
        finally:  # after Ctrl-C only what runs already is waited for
            for future in futures:
                future.cancel()


def _first_request(refs: References) -> References:
    """Return the references of the first request alone."""
    stop = int(refs.offsets[1])
    return refs._replace(offsets=refs.offsets[:2], edges=refs.edges[:stop], limit=refs.limit[:1])


def _replay(view: BlockView, policy: Replacement, capacity_blocks: int, hints: Hints) -> Replay:
    start = time.thread_time_ns()
    outcome = policy.replay(view.references, capacity_blocks, hints)
    return Replay(view, policy, capacity_blocks, outcome, time.thread_time_ns() - start)


def chosen_names(given: Sequence[str]) -> Iterator[str]:
    """Yield the names in lists such as `lru,arc`, each once."""
    seen: set[str] = set()
    for text in given:
        for name in text.split(","):
            plain = name.strip().lower()
            if plain and plain not in seen:
                seen.add(plain)
                yield plain
