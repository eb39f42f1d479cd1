"""A sample of requests by the root of what they share: all that reuse each other, or none of them.

Spatial sampling (SHARDS, Waldspurger et al. 2015) keeps a reference where the hash of its object
falls below a share. A prefix is reused with all that stands before it, so what is drawn here is
not the block but the first one of a prompt that is not *hot*, that is in everybody's prompts: with
it come all requests of the conversations and documents below it. Hot blocks are in every sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.errors import InputError
from replay.trace.blocks import codes_as_seen, flat_blocks, hot_requests
from replay.trace.frame import Trace
from replay.trace.separation import apart

STRATA = 8  # parts of a sample whose spread gives its error


@dataclass(frozen=True, slots=True)
class PrefixSample:
    """One prefix root in `one_in` of a trace.

    `stratum` int8[R] of each request of `trace` is which of STRATA equal parts drew it.
    """

    trace: Trace
    one_in: int
    stratum: np.ndarray


def sample_prefixes(trace: Trace, one_in: int, *, seed: int) -> PrefixSample:
    """Return the requests whose prefix root is drawn, one root in `one_in`.

    Raises InputError for content that has no ids to draw, and where nothing is drawn.
    """
    lists = "segments" if trace.has_segments else "block_ids"
    if lists not in trace.frame.columns:
        raise InputError(
            "sampling draws prefixes by their block ids or segments, and the trace has neither",
            hint="leave --sample out",
        )
    flat = flat_blocks(trace.frame[lists])
    codes, size = apart(*codes_as_seen(flat.ids), flat.requests, trace)
    hot = np.bincount(codes, minlength=size) > hot_requests(trace.requests)
    root = _first_cold(flat.offsets, hot[codes])
    draw = np.random.default_rng(seed).integers(one_in * STRATA, size=size)[codes[root]]
    kept = draw < STRATA
    if not kept.any():
        raise InputError(
            f"no request is in a sample of one prefix in {one_in:,}", hint="draw a larger share"
        )
    note = (
        f"a sample of one prefix in {one_in:,}: {int(kept.sum()):,} of {trace.requests:,} requests"
    )
    sampled = trace.changed(trace.frame.filter(kept), trace.meta.noting(note))
    return PrefixSample(sampled, one_in, draw[kept].astype(np.int8))


def _first_cold(offsets: np.ndarray, hot: np.ndarray) -> np.ndarray:
    """Return the first place of each request that is not hot, the last one where all are."""
    place = np.where(hot, len(hot), np.arange(len(hot)))
    padded = np.append(place, len(hot))
    first = np.minimum.reduceat(padded, offsets[:-1])
    return np.where(first < offsets[1:], first, offsets[1:] - 1)
