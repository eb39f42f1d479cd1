"""The stories a page tells of single requests: as many as a moment has room for, and why no more.

Telling is left to who asks, and so is what it takes: reading a trace, compiling kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from replay.errors import ReplayError
from replay.report.page.build import Stories
from replay.runs.open import Run

if TYPE_CHECKING:
    from replay.analysis.explain import Explanation

    Explain = Callable[[Sequence[int]], Iterable[Explanation]]

MOST_REQUESTS = 300_000  # of a trace that is read anew for stories
MOST_REPLAYED = 1_500_000  # requests of all replays for stories together: some seconds


def tell_stories(run: Run, requests: Sequence[int], explain: Explain, *, more: str) -> Stories:
    """Return the stories of requests as far as `explain` tells them, and why there are no more.

    `explain` is asked for the first of the requests, one after the other; `more` says how the story
    of any request is had.
    """
    if not requests:
        return Stories()
    total = run.manifest["tables"]["requests"]
    chosen = _affordable(requests) if total <= MOST_REQUESTS else []
    if not chosen:
        return Stories(lack=f"The trace is long, so no stories are told here; {more}")
    told: dict[int, list[str]] = {}
    try:
        for request, sentences in _told(explain, chosen):
            told[request] = sentences  # one by one: an error leaves those before it
    except ReplayError as error:
        why, *others = error.message.removeprefix(f"{run.folder}: ").splitlines()
        also = f", and {len(others):,} more such" if others else ""
        return Stories(told, f"No {'more ' if told else ''}stories: {why}{also}.")
    except ImportError as error:
        return Stories(lack=f"No stories: {error.name} is not installed here.")
    some = f"The stories of the first {len(told)} are told here; {more}"
    return Stories(told, "" if len(told) == len(requests) else some)


def _told(explain: Explain, requests: Sequence[int]) -> Iterable[tuple[int, list[str]]]:
    from replay.analysis.story import sentences  # which needs numba: a page is made without

    for one in explain(requests):
        yield one.row["request_id"], sentences(one)


def _affordable(requests: Sequence[int]) -> list[int]:
    """Return the first of the requests whose replays, each up to its request, are few enough."""
    chosen, replayed = [], 0
    for request in requests:
        replayed += request + 1
        if replayed > MOST_REPLAYED:
            break
        chosen.append(request)
    return chosen
