"""The prefix tree of a trace or of a run, as far as at least two prompts share it.

Of a trace it says what a cache without limit would hit: token by token, responses included where
they are known, which is the content ceiling of `replay describe`. Of a run it says what the run
hit. Both have the columns of the run's table `prefixes`, and some that say what hangs below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from replay.answers.looking import grown
from replay.errors import InputError, ReplayError
from replay.progress import Hook, ignore
from replay.report.notices import notes as run_notes
from replay.report.notices import warnings
from replay.runs.open import Run
from replay.runs.read import run_table
from replay.runs.trace_path import check_read_alike
from replay.trace.ceilings import content_hit_tokens
from replay.trace.describe import UNKNOWN_REUSE, notes
from replay.trace.frame import Trace
from replay.trace.prefixes import shared_prefixes, words_of
from replay.trace.text import is_of_text, splitter_of

ROOT = 0  # the level of what all prompts start with: nothing


@dataclass(frozen=True, slots=True)
class SharedTree:
    """The shared prefixes of a trace, or of a run, where `of_run`.

    `prefixes` has a row each, parents before children; `hit_tokens` is the whole of which they
    bring a part: what else was hit, one prompt alone contains, and an earlier response. `resumed`
    says that preempted requests hit again when they resumed: the prefixes count that, the whole
    does not. `trace` names prefixes by their words, where it is there and is of text.
    """

    name: str
    of_run: bool
    requests: int
    sessions: int | None
    input_tokens: int
    hit_tokens: int
    prefixes: pl.DataFrame
    resumed: bool = False
    trace: Trace | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def words(self, prefixes: pl.DataFrame) -> pl.Series:
        """Return first and last words of some of the prefixes; null where they are not known."""
        splitter = None if self.trace is None else splitter_of(self.trace.meta.content)
        if self.trace is None or splitter is None:
            return pl.Series([None] * len(prefixes), dtype=pl.String)
        return words_of(self.trace, splitter, prefixes)


def tree_of_trace(trace: Trace, *, sessions: bool = True, progress: Hook = ignore) -> SharedTree:
    """Return the shared prefixes of a trace, read and linked as `replay describe` does.

    `sessions` looks for some where none are. Raises InputError for a trace of lengths alone.
    """
    trace, tree = grown(trace, sessions=sessions, progress=progress)
    if tree is None:
        raise InputError(
            f"{trace.meta.path}: {UNKNOWN_REUSE}", hint="`replay describe` says what is known of it"
        )
    progress("Adding up what is shared", 0, 0)
    return SharedTree(
        name=trace.meta.name,
        of_run=False,
        requests=trace.requests,
        sessions=_sessions(trace.frame),
        input_tokens=int(tree.input_tokens.sum()),
        hit_tokens=int(content_hit_tokens(tree).sum()),
        prefixes=_with_below(shared_prefixes(trace, tree)),
        trace=trace,
        notes=tuple(notes(trace)),
    )


def tree_of_run(
    manifest: Mapping[str, Any], requests: pl.DataFrame, prefixes: pl.DataFrame
) -> SharedTree:
    """Return the shared prefixes of a run from its manifest and tables.

    Raises InputError where the content of its trace was unknown.
    """
    if manifest.get("content_known") is False or not requests["hit_tokens"].count():
        raise InputError(
            f"the run has {UNKNOWN_REUSE}", hint="`replay report RUN` says what is known of it"
        )
    return SharedTree(
        name=(manifest.get("trace") or {}).get("name", ""),
        of_run=True,
        requests=len(requests),
        sessions=_sessions(requests),
        input_tokens=int(requests["input_tokens"].sum()),
        hit_tokens=int(requests["hit_tokens"].sum()),
        prefixes=_with_below(prefixes.filter(pl.col("requests") > 1).sort("prefix_id")),
        resumed=bool(requests["preemptions"].sum()),
        warnings=tuple(warnings(manifest)),
        notes=tuple(run_notes(manifest)),
    )


def tree_of_folder(run: Run) -> SharedTree:
    """Return the shared prefixes of a run that lies in a folder; raises InputError."""
    if "prefixes" not in run.tables:
        raise InputError(
            f"{run.folder}: an earlier replay wrote it, without a table of prefixes",
            hint="replay its trace again",
        )
    requests, prefixes = (run_table(run, name).collect() for name in ("requests", "prefixes"))
    return tree_of_run(run.manifest, requests, prefixes)


def _sessions(requests: pl.DataFrame) -> int | None:
    """Return how many sessions requests are of; None where no request says its own."""
    known = requests.get_column("session_id", default=pl.Series([], dtype=pl.Int64)).drop_nulls()
    return known.n_unique() if len(known) else None


def is_told_in_words(manifest: Mapping[str, Any]) -> bool:
    """Return whether the trace of a run is of text: read again, it names the prefixes."""
    return is_of_text(str((manifest.get("trace") or {}).get("content")))


def tree_with_words(
    tree: SharedTree, run: Run, read: Callable[[], tuple[Trace, Path | str]], *, required: bool
) -> SharedTree:
    """Return the tree of a run named by the words of its trace, which `read` reads.

    No change that a run makes to its trace moves a request, so it is taken as it is. Where reading
    fails, a note says why, unless it is `required`. Raises what reading raises, and InputError for
    another trace than the run's and for one that is no text.
    """
    try:
        if not is_told_in_words(run.manifest):
            raise InputError(
                f"{run.folder}: its trace has no text to name prefixes by", hint="leave it out"
            )
        trace, path = read()
        check_read_alike(run, trace.meta, path)
    except ReplayError as error:
        if required:
            raise
        why = f"prefixes are named by requests alone: {error.message}"
        why += f" ({error.hint})" if error.hint else ""
        return replace(tree, notes=(*tree.notes, why))
    return replace(tree, trace=trace)


def _with_below(prefixes: pl.DataFrame) -> pl.DataFrame:
    """Return shared prefixes with where they stand and what hangs below them.

    `level` counts from 1 at the root. `ways` is how many shared prefixes go on from one,
    `alone_requests` how many prompts end there or go on as no other does. `subtree_hit_tokens` and
    `subtree_input_tokens`, those of all prompts, are of a prefix and of all shared ones below it.
    `repeats_hit_share` is the share of its repeats that hit.
    """
    ids = prefixes["prefix_id"].to_numpy()
    parent = np.full(len(ids), -1, np.int64)
    known = prefixes["parent_prefix_id"].is_not_null().to_numpy()
    above = prefixes["parent_prefix_id"].drop_nulls().to_numpy()
    parent[known] = np.searchsorted(ids, above)
    if (parent >= np.arange(len(ids))).any() or (ids[parent[known]] != above).any():
        raise InputError(
            "a prefix hangs below one that is not there", hint="the run was changed: replay it"
        )
    requests = prefixes["requests"].to_numpy()
    length = (prefixes["stop_tokens"] - prefixes["start_tokens"]).to_numpy()
    hits = prefixes["hit_tokens"].to_numpy()
    below = np.bincount(parent[known], minlength=len(ids))
    going_on = np.bincount(parent[known], requests[known], len(ids)).astype(np.int64)
    return prefixes.with_columns(
        level=_levels(parent),
        ways=below.astype(np.int64),
        alone_requests=requests - going_on,
        subtree_hit_tokens=_summed(parent, hits),
        subtree_input_tokens=_summed(parent, length * requests),
        repeats_hit_share=np.minimum(hits / np.maximum(length * (requests - 1), 1), 1.0),
    )


def _levels(parent: np.ndarray) -> np.ndarray:
    levels: list[int] = []
    for above in parent.tolist():
        levels.append(ROOT + 1 if above < 0 else levels[above] + 1)
    return np.array(levels, np.int64)


def _summed(parent: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the sum of each row's value and of those below it; parents come before children."""
    sums, above = values.tolist(), parent.tolist()
    for row in range(len(sums) - 1, -1, -1):
        if above[row] >= 0:
            sums[above[row]] += sums[row]
    return np.array(sums, np.int64)
