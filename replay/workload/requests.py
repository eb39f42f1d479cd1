"""The requests drawn so far, as columns that grow by whole rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

KINDS = ("start", "continue", "branch", "regenerate", "retry")
START, CONTINUE, BRANCH, REGENERATE, RETRY = range(len(KINDS))
NO_PARENT = -1


@dataclass(frozen=True, slots=True)
class Requests:
    """Some requests, one entry each; `tips` and `heads` are nodes of the prompt's messages.

    `parents` are places among all requests drawn, NO_PARENT for the first of a session;
    `response_segments` uint64, all others int64 but `arrival_s` float64.
    """

    arrival_s: np.ndarray
    sessions: np.ndarray
    turns: np.ndarray
    parents: np.ndarray
    clients: np.ndarray
    kinds: np.ndarray
    input_tokens: np.ndarray
    output_tokens: np.ndarray
    forgotten_tokens: np.ndarray
    tips: np.ndarray
    heads: np.ndarray
    prompt_segments: np.ndarray
    response_segments: np.ndarray

    def __len__(self) -> int:
        return len(self.arrival_s)

    def take(self, places: np.ndarray) -> Requests:
        """Return the requests at these places, in their order."""
        return Requests(*(getattr(self, field.name)[places] for field in fields(Requests)))


def joined(parts: list[Requests]) -> Requests:
    """Return the requests of all parts, one part after another."""
    return Requests(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Requests)
        )
    )
