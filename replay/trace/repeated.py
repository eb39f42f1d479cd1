"""Calls that stand in several files: a log that was resumed or forked starts with a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from replay.trace.frame import Trace
from replay.trace.select import kept_rows


def once_each(traces: Sequence[Trace], columns: Mapping[str, str]) -> list[Trace]:
    """Return the traces with each call where it stands first; files of copies alone are left out.

    `columns` says for a format which column names a call alike in all files. Of one file nothing
    is left out: its reader knows its lines.
    """
    seen: dict[str, set[str]] = {}
    found = []
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
    return found
