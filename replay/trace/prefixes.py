"""The shared prefixes of a trace as a frame, with what each would save a cache without limit.

The columns are those of the table `prefixes` of a run, where `hit_tokens` is what the run's own
cache saved. Here nothing is evicted, so all of `hit_tokens`, with the few tokens that only one
prompt and an earlier response have in common, are the content ceiling of replay/trace/ceilings.py.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from replay.trace.ceilings import first_users
from replay.trace.frame import Trace
from replay.trace.shared_edges import first_requests, repeats_on, requests_on, sessions_on
from replay.trace.text import Splitter
from replay.trace.tree import PrefixTree

_WORDS_TOKENS = 24  # of each end: enough for a handful of words
_WORD_CHARACTERS = 36


def shared_prefixes(trace: Trace, tree: PrefixTree, *, least: int = 2) -> pl.DataFrame:
    """Return a row for each edge that at least `least` prompts contain, in tree order.

    `sessions` is null where the trace has none, `last_block_id` where content is no block ids.
    """
    known_since = first_users(tree)
    tree = tree.prompts_only()
    uses = requests_on(tree)
    edge = np.flatnonzero(uses >= least)
    repeats, first = repeats_on(tree, known_since)[edge], first_requests(tree)[edge]
    sessions = None
    if trace.has_sessions:
        session = trace.frame["session_id"].fill_null(-1).to_numpy()
        sessions = sessions_on(tree, session, edge, uses[edge])
    parent, ids = tree.edge_parent[edge].astype(np.int64), tree.last_block_ids
    tokens = tree.edge_stop[edge] - tree.edge_start[edge]
    nothing = pl.Series([None] * len(edge), dtype=pl.Int64)
    return pl.DataFrame(
        {
            "prefix_id": edge.astype(np.int64),
            "parent_prefix_id": pl.Series(parent).set(pl.Series(parent < 0), None),
            "start_tokens": tree.edge_start[edge],
            "stop_tokens": tree.edge_stop[edge],
            "requests": uses[edge].astype(np.int64),
            "sessions": nothing if sessions is None else sessions.astype(np.int64),
            "first_request_id": first.astype(np.int64),
            "last_block_id": nothing.cast(pl.UInt64) if ids is None else ids[edge],
            "hit_tokens": repeats * tokens,
        }
    )


def words_of(trace: Trace, splitter: Splitter, prefixes: pl.DataFrame) -> pl.Series:
    """Return the first and the last words of each prefix's own stretch; null where text is unknown.

    `prefixes` has `first_request_id`, `start_tokens` and `stop_tokens`; `splitter` is the one the
    trace's text was read with, in this process.
    """
    if not trace.has_tokens:
        return pl.Series([None] * len(prefixes), dtype=pl.String)
    tokens = trace.frame["tokens"]
    wanted = prefixes.select("first_request_id", "start_tokens", "stop_tokens").iter_rows()
    found = [_words(tokens[request][start:stop], splitter) for request, start, stop in wanted]
    return pl.Series(found, dtype=pl.String)


def _words(tokens: pl.Series, splitter: Splitter) -> str | None:
    if len(tokens) <= 2 * _WORDS_TOKENS:
        whole = splitter.join(tokens.to_numpy())
        if whole is None or len(_flat(whole)) <= 2 * _WORD_CHARACTERS:
            return None if whole is None else _flat(whole)
    start = splitter.join(tokens[:_WORDS_TOKENS].to_numpy())
    stop = splitter.join(tokens[-_WORDS_TOKENS:].to_numpy())
    if start is None and stop is None:
        return None
    first, last = _cut(_flat(start or "")), _cut(_flat(stop or "")[::-1])[::-1]
    return f"{first} … {last}".strip()


def _flat(text: str) -> str:
    """Return a text on one line, as UTF-8 can write it: JSON may hold half of a surrogate pair."""
    return " ".join(text.split()).encode(errors="backslashreplace").decode()


def _cut(text: str) -> str:
    """Return as many whole words from the start as there is room for."""
    if len(text) <= _WORD_CHARACTERS:
        return text
    return text[: _WORD_CHARACTERS + 1].rpartition(" ")[0] or text[:_WORD_CHARACTERS]
