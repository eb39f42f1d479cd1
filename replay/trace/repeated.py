"""Calls that stand in several files: a log that was resumed or forked starts with a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from replay.trace.frame import Trace
from replay.trace.select import kept_rows

_SHOWN_FILES = 5


def once_each(traces: Sequence[Trace], columns: Mapping[str, str]) -> list[Trace]:
    """Return the traces with each call where it stands first; files of copies alone are left out.

    `columns` says for a format which column names a call alike in all files. Of one file nothing
    is left out: its reader knows its lines. Notes of the first trace say which files are missing.
    """
    seen: dict[str, set[str]] = {}
    found: list[Trace] = []
    copied: list[Trace] = []
    for trace in traces:
        column = columns.get(trace.meta.format)
        if column is None or column not in trace.frame.columns:
            found.append(trace)
            continue
        known = seen.setdefault(trace.meta.format, set())
        names = trace.frame[column].to_list()
        keep = np.array([name is None or name not in known for name in names])
        known.update(name for name in names if name is not None)
        if keep.all():
            found.append(trace)
        elif keep.any():
            copies = int((~keep).sum())
            note = f"{copies:,} calls stand in an earlier file as well and count once"
            found.append(kept_rows(trace, keep, note))
        else:
            copied.append(trace)
    if copied:
        found[0] = found[0].changed(found[0].frame, found[0].meta.noting(_left_out(copied)))
    return found


def _left_out(copied: Sequence[Trace]) -> str:
    calls = sum(trace.requests for trace in copied)
    names = ", ".join(trace.meta.name for trace in copied[:_SHOWN_FILES])
    more = f" and {len(copied) - _SHOWN_FILES:,} more" if len(copied) > _SHOWN_FILES else ""
    return f"all {calls:,} calls of {names}{more} stand in earlier files as well and count once"
