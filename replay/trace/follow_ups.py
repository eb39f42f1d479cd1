"""Which earlier turn a prompt contains: the one whose response its client must have had to send it.

Content decides where responses are known: a prompt that holds the response of a request, or its
first tokens, follows it. Where they are not, the source's links do, or those that prefix chaining
inferred: of these only continuations, which grew by the response. Retries and regenerated answers
wait for no response.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.trace.ceilings import first_users
from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree

NOT_WAITING = ("retry", "regenerate")  # kinds of request that repeat a prompt
NONE = -1


def contained_turns(trace: Trace, tree: PrefixTree | None) -> np.ndarray:
    """Return the earlier request whose turn each prompt contains, int64[R]; -1 for none.

    `tree` is that of a trace of known content; it may have lost its content columns.
    """
    turn = _linked(trace)
    if tree is None or not tree.has_responses:
        return turn
    known = tree.prompt_stops < tree.path_offsets[1:]
    written = _latest_response(tree)
    follows = np.flatnonzero(turn >= 0)
    of_known = follows[known[turn[follows]]]
    missing = of_known[~_contains_response(tree, of_known, turn[of_known])]
    turn[missing] = NONE
    return np.where(turn >= 0, turn, written)


def _linked(trace: Trace) -> np.ndarray:
    """Return the turn before by links of the source, or as inferred, or by order in the session."""
    frame = trace.frame
    if "parent_request_id" in frame.columns:
        parent = pl.col("parent_request_id")
        if "link" in frame.columns:
            parent = pl.when(pl.col("link") == "continuation").then(parent)
    elif trace.has_sessions:
        parent = pl.col("request_id").shift(1).over("session_id")
        parent = pl.when(pl.col("session_id").is_not_null()).then(parent)
    else:
        return np.full(trace.requests, NONE, np.int64)
    if "kind" in frame.columns and frame["kind"].dtype == pl.String:
        parent = pl.when(~pl.col("kind").fill_null("").is_in(NOT_WAITING)).then(parent)
    return frame.select(parent.cast(pl.Int64).fill_null(NONE)).to_series().to_numpy().copy()


def _latest_response(tree: PrefixTree) -> np.ndarray:
    """Return whose response lies deepest in each prompt, int64[R], by content alone."""
    first = first_users(tree)
    owner, in_prompt = _owners(tree)
    author = np.full(tree.edges, NONE, np.int64)
    edge = tree.path_edges
    responses = ~in_prompt & (first[edge] == owner)
    author[edge[responses]] = owner[responses]
    found = np.full(tree.requests, NONE, np.int64)
    held = in_prompt & (author[edge] != NONE) & (author[edge] < owner)
    found[owner[held]] = author[edge[held]]  # the deepest stands last, and stays
    return found


def _contains_response(tree: PrefixTree, request: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return whether each prompt goes on with the response of the request before it, bool."""
    owner, in_prompt = _owners(tree)
    # A parent comes before its children, so the edges of a path ascend, and so do these.
    held = owner[in_prompt] * tree.edges + tree.path_edges[in_prompt]
    wanted = request * tree.edges + tree.path_edges[tree.prompt_stops[before]]
    place = np.minimum(np.searchsorted(held, wanted), max(len(held) - 1, 0))
    return held[place] == wanted


def _owners(tree: PrefixTree) -> tuple[np.ndarray, np.ndarray]:
    """Return whose each place of the paths is, int64[P], and whether it is of the prompt."""
    owner = np.repeat(np.arange(tree.requests), np.diff(tree.path_offsets))
    return owner, np.arange(len(owner)) < tree.prompt_stops[owner]
