"""`replay.page`: the page of what has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replay.api.comparing import Comparison
from replay.api.given import Path_
from replay.api.html_page import Page
from replay.api.progress import Progress
from replay.api.runs import Run, opened
from replay.errors import InputError

if TYPE_CHECKING:
    from replay.api.runs import TraceLike


def page(
    run: Run | Comparison | Path_,
    *,
    static: bool = False,
    trace: TraceLike | None = None,
    progress: Progress = False,
) -> Page:
    """Return a run, or a comparison of runs, as one page of pictures that needs no network.

    `static` draws the pictures as SVG and leaves scripts out. The stories of the requests that
    suffered most replay the run's trace, or `trace` where that moved or was read with options of
    its own; where it is gone the page says that it has none. A comparison has no stories, and takes
    no trace. See docs/page.md and docs/compare.md. Raises InputError where what pages are made with
    is not installed (`pip install 'kvreplay[report]'`).
    """
    if not isinstance(run, Comparison):
        return opened(run).page(static=static, trace=trace, progress=progress)
    if trace is not None:
        raise InputError("the page of a comparison needs no trace", hint="leave trace out")
    return run.page(static=static, progress=progress)
