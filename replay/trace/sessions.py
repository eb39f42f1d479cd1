"""Sessions found by prefix chaining: a prompt that holds an earlier prompt continues it.

A request's *end* is the last full block of its prompt. A block is *hot* when more than one
request in a hundred uses it (a shared system prompt): hot blocks say nothing about who is talking.
Going back from the deepest block of a prompt that an earlier request had, a request is

    root                  that block is hot, or there is none
    continuation          it is the end of an earlier request, and the prompt grew by at least that
                          request's response, less a little for tokens lost between turns
    retry                 it is such an end, and the prompt is as long, give or take two tokens
    sibling_end           it is such an end, and the prompt grew by less than the response
    continuation_branch   it is no request's end, but an earlier block on the way is: a known
                          conversation is taken up again behind one of its turns
    branch                it lies before any earlier request's end: a document or template is shared

Continuations, continuation branches and retries join the session they link to. Sibling ends and
branches open a session of their own: two questions about one document look just the same, and to
take two users for one would claim too much session reuse. All but roots name a parent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from replay.trace.blocks import (
    FlatBlocks,
    dense_codes,
    first_places,
    flat_blocks,
    hot_requests,
)
from replay.trace.frame import SESSIONS_INFERRED, Trace
from replay.trace.separation import apart

LINKS = ("root", "continuation", "branch", "sibling_end", "continuation_branch", "retry")
ROOT, CONTINUATION, BRANCH, SIBLING_END, CONTINUATION_BRANCH, RETRY = range(len(LINKS))
JOINING = (CONTINUATION, CONTINUATION_BRANCH, RETRY)
SLACK_TOKENS = 8  # of a response that the next prompt may lack: stop tokens, re-tokenised text
RETRY_TOKENS = 2  # by which the lengths of a prompt and of its retry may differ
_NONE = -1


@dataclass(frozen=True, slots=True)
class Links:
    """How each request follows from an earlier one: `kind` int8[R] into LINKS, `parent` int64[R].

    `parent` is -1 for roots; `linkable` bool[R] says whether a request has an end that is not hot.
    """

    kind: np.ndarray
    parent: np.ndarray
    linkable: np.ndarray


def infer_sessions(trace: Trace) -> Trace:
    """Return the trace with session_id, turn, parent_request_id and link, by prefix chaining.

    A trace that has sessions, or has no block ids, is returned as it is. Linear but for sorting.
    """
    if trace.has_sessions or not trace.has_blocks:
        return trace
    links = link_requests(trace)
    session, turn = sessions_of(links)
    frame = trace.frame.with_columns(
        session_id=pl.Series(session),
        turn=pl.Series(turn),
        parent_request_id=pl.Series(links.parent).replace(_NONE, None),
        link=pl.Series(np.array(LINKS)[links.kind]),
    )
    front = ["request_id", "arrival_ns", "session_id", "turn", "parent_request_id"]
    counts = np.bincount(links.kind, minlength=len(LINKS))
    found = ", ".join(
        f"{n:,} {name.replace('_', ' ')}" for n, name in zip(counts, LINKS, strict=True)
    )
    meta = replace(trace.meta, sessions=SESSIONS_INFERRED).noting(
        f"sessions inferred by prefix chaining: {found}"
    )
    if unlinkable := np.count_nonzero(~links.linkable):
        meta = meta.noting(
            f"turns are under-counted: {unlinkable:,} requests have no full block beyond what many "
            "share, so nothing can be seen to follow them"
        )
    return trace.changed(frame.select(*front, pl.exclude(front)), meta)


def link_requests(trace: Trace) -> Links:
    """Return how each request of a trace with block ids follows from an earlier one."""
    flat = flat_blocks(trace.frame["block_ids"])
    codes, size = apart(*dense_codes(flat.ids), flat.requests, trace)
    input_tokens, output_tokens = trace.column("input_tokens"), trace.column("output_tokens")
    requests = trace.requests
    owner = flat.requests
    hot = np.bincount(codes, minlength=size) > hot_requests(requests)

    full = input_tokens // (trace.meta.block_size or 1)
    end = np.full(requests, _NONE, np.int64)
    has_full = (full > 0) & (flat.counts > 0)
    end[has_full] = codes[(flat.offsets[:-1] + full - 1)[has_full]]
    linkable = has_full & ~hot[end]
    end[~linkable] = _NONE

    seen = owner[first_places(codes, size)[codes]] < owner
    deepest = _deepest(flat, seen & ~hot[codes])
    first_end = np.full(size, requests, np.int64)
    ending = np.flatnonzero(linkable)[::-1]
    first_end[end[ending]] = ending  # of equal indices the last one stays: the earliest request
    ended = _deepest(flat, seen & (first_end[codes] < owner))

    kind = np.full(requests, ROOT, np.int8)
    parent = np.full(requests, _NONE, np.int64)
    on_end = np.flatnonzero(ended >= 0)
    parent[on_end] = _latest_before(end, codes[ended[on_end]], on_end)
    grown = input_tokens - input_tokens[parent]
    follows = grown >= output_tokens[parent] - SLACK_TOKENS
    at_end = (ended >= 0) & (ended == deepest)
    kind[at_end] = SIBLING_END
    kind[at_end & (np.abs(grown) <= RETRY_TOKENS)] = RETRY
    kind[at_end & follows] = CONTINUATION
    kind[(ended >= 0) & (ended < deepest)] = CONTINUATION_BRANCH
    branched = np.flatnonzero((ended < 0) & (deepest >= 0))
    kind[branched] = BRANCH
    parent[branched] = _latest_user(codes, owner, deepest[branched], size)
    return Links(kind, parent, linkable)


def sessions_of(links: Links) -> tuple[np.ndarray, np.ndarray]:
    """Return (session_id int64[R], turn int32[R]): joined requests share their parent's session.

    Sessions count from 0 by first request, turns from 0 within each.
    """
    requests = len(links.kind)
    first = np.arange(requests)
    joins = np.isin(links.kind, JOINING)
    first[joins] = links.parent[joins]
    while not np.array_equal(first, first[first]):  # halves every chain: log2(longest) rounds
        first = first[first]
    session = np.unique(first, return_inverse=True)[1].astype(np.int64)
    order = np.argsort(session, kind="stable")
    starts = np.flatnonzero(np.diff(session[order], prepend=-1))
    turn = np.empty(requests, np.int32)
    turn[order] = np.arange(requests) - np.repeat(starts, np.diff(starts, append=requests))
    return session, turn


def _deepest(flat: FlatBlocks, mask: np.ndarray) -> np.ndarray:
    """Return the last place of each request where the mask holds, or -1."""
    last = np.full(len(flat.offsets) - 1, _NONE, np.int64)
    places = np.flatnonzero(mask)
    last[flat.requests[places]] = places  # of equal indices the last one stays
    return last


def _latest_before(end: np.ndarray, codes: np.ndarray, requests: np.ndarray) -> np.ndarray:
    """Return, for each (code, request), the latest earlier request that ends in that code."""
    width = len(end)
    ending = np.flatnonzero(end >= 0)
    keys = np.sort(end[ending] * width + ending)
    asked = codes.astype(np.int64) * width + requests
    return keys[np.searchsorted(keys, asked) - 1] % width


def _latest_user(codes: np.ndarray, owner: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Return, for each place, the latest earlier request that has the code found there."""
    asked = np.zeros(size, bool)
    asked[codes[places]] = True
    among = np.flatnonzero(asked[codes])
    among = among[np.argsort(codes[among], kind="stable")]
    at = np.empty(len(codes), np.int64)
    at[among] = np.arange(len(among))
    return owner[among[at[places] - 1]]
