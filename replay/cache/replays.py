"""Policies at several capacities over one trace, in threads that share its arrays."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from replay.cache.hints import Hints
from replay.cache.outcome import PolicyOutcome
from replay.cache.replacement import Replacement
from replay.cache.view import BlockView
from replay.kernels.references import References
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
) -> list[Replay]:
    """Return a replay for each policy and capacity, in this order, whatever the threads.

    Kernels hold no lock, so as many run at once as there are threads.
    """
    for policy in policies:  # compiles, or loads what was compiled: no part of the CPU time
        policy.replay(_first_request(view.references), 1, hints)
    jobs = [(policy, capacity) for policy in policies for capacity in capacities]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        futures = {pool.submit(_replay, view, *job, hints): place for place, job in enumerate(jobs)}
        try:
            done: dict[int, Replay] = {}
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                progress("Replaying policies", len(done), len(jobs))
        finally:  # after Ctrl-C only what runs already is waited for
            for future in futures:
                future.cancel()
    return [done[place] for place in range(len(jobs))]


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
