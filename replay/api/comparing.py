"""Runs side by side in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import polars as pl

from replay.api.answers import Answer
from replay.api.given import Path_
from replay.api.html_page import Page
from replay.api.progress import Progress, working
from replay.api.runs import Run, opened
from replay.errors import InputError
from replay.report.frames import table_frame
from replay.runs.open import Run as Folder


class Comparison(Answer):
    """What differs between runs: `text` says it, and `tables` names its frames.

    `delta` has a row for each metric and a verdict on the difference; of three runs and more it is
    `ranking`, of different traces `quantiles`. `differences` are those of the scenarios. `paired`
    is whether requests are compared one by one.
    """

    text: str
    paired: bool
    _runs: Sequence[Run]
    _names: Sequence[str] | None

    def page(self, *, static: bool = False, progress: Progress = False) -> Page:
        """Return it as one page of pictures that needs no network; see docs/compare.md.

        `static` draws the pictures as SVG and leaves scripts out. Raises InputError where what
        pages are made with is not installed (`pip install 'kvreplay[report]'`).
        """
        from replay.report.bundle import check_extra
        from replay.report.compare.compare import asked_runs, comparison
        from replay.report.compare.page.build import compose, page_text

        check_extra()
        kept = all(run.folder is not None for run in self._runs)
        with working(progress) as hook:
            hook("Comparing the runs", 0, 0)
            with (
                _on_disk(self._runs) as folders,
                asked_runs(folders, names=self._names) as asked,
            ):
                made = compose(asked, comparison(asked, kept=kept))
            hook("Drawing", 0, 0)
            text = page_text(made, command=self._page_call(static=static), static=static)
        return Page(text, title=", ".join(self.frame("runs")["name"]), warnings=self.warnings)

    def _page_call(self, *, static: bool) -> str:
        """Return how a page was made; runs in memory have no name to call them by."""
        words = [repr(str(run.folder)) for run in self._runs]
        words += [] if self._names is None else [f"names={[*self._names]!r}"]
        kept = all(run.folder is not None for run in self._runs)
        made = f"replay.compare({', '.join(words)})" if kept else "compared"
        return f"{made}.page({'static=True' if static else ''})"

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

    runs = [opened(one) for one in (a, b, *more)]
    called = _names(runs) if names is None else list(names)
    if called is not None and len(called) != len(runs):
        raise InputError(f"names must be as many as runs ({len(runs)}, got {len(called)})")
    with _on_disk(runs) as folders:
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
    answer._runs, answer._names = runs, called
    return answer


@contextmanager
def _on_disk(runs: Sequence[Run]) -> Iterator[list[Folder]]:
    """Yield the folders of runs, one for the while where a run is in memory."""
    with ExitStack() as stack:
        yield [stack.enter_context(run._on_disk()) for run in runs]


def _names(runs: Sequence[Run]) -> list[str] | None:
    """Return names of runs of which one is in memory; None where their folders tell them."""
    if all(run.folder is not None for run in runs):
        return None
    return [
        f"run {at}" if run.folder is None else run.folder.name for at, run in enumerate(runs, 1)
    ]
