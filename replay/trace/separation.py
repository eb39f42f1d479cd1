"""Which requests can share KV at all: those of one model, one adapter and one cache salt.

KV belongs to the weights that computed it. vLLM hashes the adapter and the salt into a prompt's
blocks, SGLang keeps both apart at the root of its tree, and a server of another model has another
cache. So the columns `model`, `adapter` and `cache_salt` of a trace separate what is otherwise
equal, a missing value being a value of its own, unless the user names other columns, or none.
Everything that compares content asks here, so that one trace has the same hits everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.errors import UnknownNameError
from replay.trace.blocks import codes_as_seen
from replay.trace.content_names import content_column

if TYPE_CHECKING:
    from replay.trace.frame import Trace

AUTO, NONE = "auto", "none"
NEVER_SHARED = ("model", "adapter", "cache_salt")


def separated(trace: Trace, columns: Sequence[str] | str) -> Trace:
    """Return the trace with the columns that separate its requests; AUTO leaves that to the trace.

    Of a canonical file that was written with columns named, AUTO keeps those. With NONE, or no
    columns, all requests share. A text names several with commas between them, and a name that
    sources have for a column (`replay.trace.content_names`) stands for it. Raises UnknownNameError
    for one the trace does not have, or that holds lists: content itself keeps nobody apart.
    """
    if columns == AUTO:
        return trace
    if isinstance(columns, str):
        columns = () if columns == NONE else [name.strip() for name in columns.split(",")]
    chosen = dict.fromkeys(_column(trace, name) for name in columns)
    return trace.changed(trace.frame, replace(trace.meta, separate_by=tuple(chosen)))


def _column(trace: Trace, name: str) -> str:
    known = [name for name, kind in trace.frame.schema.items() if not kind.is_nested()]
    if name in known:
        return name
    other = content_column(name)
    if other is not None and other in known:
        return other
    raise UnknownNameError("column of the trace", name, known)


def separating_columns(trace: Trace) -> tuple[str, ...]:
    """Return the columns that separate requests: those named, else NEVER_SHARED that differ."""
    if trace.meta.separate_by is not None:
        return trace.meta.separate_by
    return tuple(name for name in NEVER_SHARED if _values(trace, name) > 1)


def roots_of(trace: Trace) -> np.ndarray:
    """Return a code from 0 per request, int32[R]: requests of different codes share nothing."""
    columns = separating_columns(trace)
    if not columns:
        return np.zeros(trace.requests, np.int32)
    codes = trace.frame.select(pl.struct(columns).rank("dense") - 1).to_series()
    return codes.to_numpy().astype(np.int32)


def apart(codes: np.ndarray, size: int, owners: np.ndarray, trace: Trace) -> tuple[np.ndarray, int]:
    """Return codes of ids anew, int32[P], and how many: none is that of two roots of a trace.

    `codes` are below `size`, `owners` int[P] the requests they are of. Without roots they stay as
    they are, else they count from 0 in order of first appearance.
    """
    roots = roots_of(trace)
    if not roots.any():
        return codes, size
    pairs = codes.astype(np.int64) * (int(roots.max()) + 1) + roots[owners]
    return codes_as_seen(pairs)


def root_names(trace: Trace) -> list[bytes]:
    """Return what is equal in requests that may share, as bytes by request; empty for all alike.

    Values and no codes, so that two traces of the same models have the same names.
    """
    columns = separating_columns(trace)
    if not columns:
        return [b""] * trace.requests
    return [json.dumps(row).encode() for row in trace.frame.select(columns).iter_rows()]


def sharing_notes(trace: Trace, *, content_known: bool) -> list[str]:
    """Return what a reader of hits should know of who could share, and who never looked."""
    notes = []
    if content_known:
        named = separating_columns(trace)
        if named:
            notes.append(f"prompts share KV only within one {_counted(trace, named, ' and one ')}")
        mixed = [name for name in NEVER_SHARED if name not in named and _values(trace, name) > 1]
        if mixed:
            notes.append(
                f"prompts share KV across {_counted(trace, mixed, ' and ')}, as no engine does"
            )
    skips = skipping(trace)
    if skips is not None:
        notes.append(
            f"{int(skips.sum()):,} of {trace.requests:,} requests skip the look-up, as those for "
            "prompt log-probabilities do: they hit nothing, and leave what they compute"
        )
    return notes


def skipping(trace: Trace) -> np.ndarray | None:
    """Return which requests skip the look-up, bool[R]; None where none does."""
    if "skips_lookup" not in trace.frame.columns:
        return None
    skips = trace.frame["skips_lookup"].fill_null(False).to_numpy()
    return skips if skips.any() else None


def deciding_columns(trace: Trace) -> tuple[str, ...]:
    """Return the columns that decide who can share and who looks: a copy without them hits more."""
    skips = () if skipping(trace) is None else ("skips_lookup",)
    return separating_columns(trace) + skips


def _values(trace: Trace, name: str) -> int:
    return trace.frame[name].n_unique() if name in trace.frame.columns else 0


def _counted(trace: Trace, names: Sequence[str], word: str) -> str:
    return word.join(f"{name} ({_words(trace.frame[name])})" for name in names)


def _words(values: pl.Series) -> str:
    known = values.n_unique() - (values.null_count() > 0)
    words = f"{known:,} value" + "s" * (known != 1)
    return f"{words} or none" if values.null_count() else words
