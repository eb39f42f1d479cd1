"""What a prompt repeats of responses that are still being generated: in flight, not never seen.

The kernels count a response as seen when its request completes. A follow-up that arrives before the
turn it contains has ended holds tokens that exist in the trace and not yet in the engine: earlier
requests contained them, no cache could have them. They count as in flight, in whole blocks as all
that an infinite cache would reuse, the rest as granularity. So of every replay the tokens that are
not cold are those of the content ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.engine.plan import Plan
from replay.kernels import layout


@dataclass(frozen=True, slots=True)
class Generating:
    """What is still being generated of each prompt when it is looked up.

    `outcome` int64[R, OUTCOME_FIELDS] counts it; `start_tokens` and `stop_tokens` int64[R] say
    where it lies in the prompt, in whole blocks; `author` int64[E] is the first request to have an
    edge of the plan's paths, R for none.
    """

    outcome: np.ndarray
    start_tokens: np.ndarray
    stop_tokens: np.ndarray
    author: np.ndarray


def count_generating(plan: Plan, outcome: np.ndarray, left_queue: int) -> Generating:
    """Return the outcome of a replay with what was still being generated counted as such.

    `left_queue` is how many requests were admitted or rejected, the first so many.
    Requests are admitted in order of arrival, so what an earlier one has and nobody has seen is
    its response, to come; where requests come one after another there is none. Linear in the edges
    of paths.
    """
    paths, size = plan.paths, int(plan.rules[layout.BLOCK_SIZE])
    tokens = plan.table[:, layout.INPUT_TOKENS]
    seen = tokens - outcome[:, layout.COLD]
    ideal = seen - outcome[:, layout.GRANULARITY]
    author = np.full(len(paths.first), plan.requests, np.int64)
    if not (paths.prompt_stop < paths.stop).any():
        return Generating(outcome, ideal, ideal, author)
    never = (outcome[:, layout.STATUS] == layout.REJECTED) & (outcome[:, layout.PREEMPTIONS] == 0)
    never[left_queue:] = True
    owner = np.repeat(np.arange(plan.requests), paths.stop - paths.start)
    ran = ~never[owner]
    author[paths.path_edges[ran][::-1]] = owner[ran][::-1]
    had = np.arange(len(owner)) < paths.prompt_stop[owner]
    had &= author[paths.path_edges] < owner
    depth = np.zeros(plan.requests, np.int64)
    depth[owner[had]] = paths.stop_tokens[paths.path_edges[had]]  # the deepest stands last
    looked_up = outcome[:, layout.INPUT_BLOCKS] > 0
    known = np.where(looked_up, np.maximum(seen, depth), seen)
    whole = np.minimum(known // size, plan.table[:, layout.MATCH_BLOCKS]) * size
    reach = np.where(known > seen, np.maximum(ideal, whole), ideal)
    changed = outcome.copy()
    changed[:, layout.COLD] = np.where(looked_up, tokens - known, outcome[:, layout.COLD])
    off = (plan.table[:, layout.SKIPS] > 0) | (plan.rules[layout.ENABLED] == 0)
    changed[:, layout.IN_FLIGHT] += np.where(off, 0, reach - ideal)
    for cause, counted, count in (
        (layout.GRANULARITY, looked_up & ~off, known - reach),
        (layout.DISABLED, looked_up & off, known),
    ):
        changed[:, cause] = np.where(counted, count, outcome[:, cause])
    return Generating(changed, ideal, reach, author)
