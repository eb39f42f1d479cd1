"""Runs side by side in Python."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import polars as pl

from replay.api.answers import Answer
from replay.api.runs import Run, open_run
from replay.api.traces import Path_
from replay.errors import InputError
from replay.report.frames import table_frame


class Comparison(Answer):
    """What differs between runs: `text` says it, and `tables` names its frames.

    `delta` has a row for each metric and a verdict on the difference; of three runs and more it is
    `ranking`, of different traces `quantiles`. `differences` are those of the scenarios. `paired`
    is whether requests are compared one by one.
    """

    text: str
    paired: bool

    def _head(self) -> object:
        return f"{self.text}\n{self._shown()}"


def compare(
    a: Run | Path_, b: Run | Path_, *more: Run | Path_, names: Iterable[str] | None = None
) -> Comparison:
    """Return what differs between runs, compared with the first; see docs/compare.md.

    By request where they are of one trace, else by quantiles, and `warnings` say which. `names` are
    what runs are called, by default their folders; one in memory is called `run 1` and so on.
    Raises InputError for runs that have nothing to compare, and QueryError.
    """
    from replay.report.compare.compare import compare_runs

    runs = [one if isinstance(one, Run) else open_run(one) for one in (a, b, *more)]
    called = _names(runs) if names is None else list(names)
    if called is not None and len(called) != len(runs):
        raise InputError(f"names must be as many as runs ({len(runs)}, got {len(called)})")
    with ExitStack() as stack:
        folders = [stack.enter_context(run._on_disk()) for run in runs]
        found = compare_runs(folders, names=called)
    frames = {name: table_frame(table) for name, table in found.tables.items()}
    where = [None if run.folder is None else str(run.folder) for run in runs]
    frames["runs"] = frames["runs"].with_columns(folder=pl.Series(where, dtype=pl.String))
    answer = Comparison(
        frames,
        title="Compared by request" if found.why_unpaired is None else "Compared by quantiles",
        warnings=(*found.warnings, *found.left_out),
        notes=(*found.assumed, *found.verdicts),
    )
    answer.text = "\n".join(found.said)
    answer.paired = found.why_unpaired is None
    return answer


def _names(runs: Sequence[Run]) -> list[str] | None:
    """Return names of runs of which one is in memory; None where their folders tell them."""
    if all(run.folder is not None for run in runs):
        return None
    return [
        f"run {at}" if run.folder is None else run.folder.name for at, run in enumerate(runs, 1)
    ]
