"""The page of a run in Python: what `replay report RUN --html FILE` writes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from replay.api.progress import Progress
from replay.api.runs import Path_, Run, explained, opened
from replay.writing.whole import whole_file

if TYPE_CHECKING:
    from replay.api.runs import TraceLike

_HEIGHT_PX = 800  # of its window in a notebook
_MORE = "`run.explain(request)` tells the story of any request."


class RunPage:
    """A page: `html` is all of it, `write` makes it a file, and a notebook shows it in a frame.

    `warnings` must be read before any number, and stand first on the page too. `lack` says which
    stories of single requests it has not, and why; it is empty where none is missing.
    """

    def __init__(self, html: str, *, title: str, warnings: Sequence[str], lack: str) -> None:
        self.html = html
        self.warnings: tuple[str, ...] = tuple(warnings)
        self.lack = lack
        self._title = title

    def write(self, path: Path_, *, force: bool = False) -> Path:
        """Write the page to a file, whole or not at all, and return its path.

        Raises OutputExistsError unless `force`, and OutputError.
        """
        with whole_file(Path(path), force=force) as sink:
            sink.write(self.html.encode("utf-8", "backslashreplace"))
        return Path(path)

    def __repr__(self) -> str:
        size = f"{len(self.html.encode('utf-8', 'backslashreplace')) / 1e6:.1f} MB"
        lines = [*self.warnings, f"Page of {self._title}, {size}", self.lack]
        return "\n".join(filter(None, lines))

    def _repr_html_(self) -> str:
        """Return the page in a frame: its scripts run there, and reach nothing of the notebook."""
        return (
            f'<iframe title="Page of {escape(self._title)}" sandbox="allow-scripts" '
            f'style="width:100%;height:{_HEIGHT_PX}px;border:0" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )


def page(
    run: Run | Path_,
    *,
    static: bool = False,
    trace: TraceLike | None = None,
    progress: Progress = False,
) -> RunPage:
    """Return a run as one page of pictures that needs no network; see docs/page.md.

    `static` draws the pictures as SVG and leaves scripts out. The stories of the requests that
    suffered most replay the run's trace, or `trace` where that moved or was read with options of
    its own; where it is gone the page says that it has none. Raises InputError where what pages
    are made with is not installed (`pip install 'kvreplay[report]'`).
    """
    from replay.answers.stories import tell_stories
    from replay.report.bundle import check_extra
    from replay.report.page.build import compose, page_text

    check_extra()
    of = opened(run)
    with of._database() as database:
        made = compose(database)
        shown = database.run
    with of._on_disk() as folder:
        stories = tell_stories(
            folder,
            made.suffering,
            lambda requests: explained(of, folder, requests, trace=trace, progress=progress),
            more=_MORE,
        )
    text = page_text(made, shown, stories, command=_call(of, static=static), static=static)
    return RunPage(text, title=of._title, warnings=of.warnings, lack=stories.lack)


def _call(run: Run, *, static: bool) -> str:
    """Return how a page was made; a run in memory has no name to call it by."""
    made = "run" if run.folder is None else f"replay.open_run({str(run.folder)!r})"
    return f"{made}.page({'static=True' if static else ''})"
