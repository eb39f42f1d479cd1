"""A progress bar on the terminal, for whatever takes longer than a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from replay.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 1.0


class Bar:
    """What a person sees of work going on; nothing at all unless stderr is a terminal.

    The bar appears once `patience_s` have passed, so that short work leaves no flicker.
    """

    def __init__(self, title: str, *, patience_s: float = PATIENCE_S) -> None:
        self.title = title
        self._appears_at = time.monotonic() + patience_s
        self._display: Progress | None = None
        self._task: TaskID | None = None

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` is done; a total of zero shows motion only."""
        if self._display is None:
            if not sys.stderr.isatty() or time.monotonic() < self._appears_at:
                return
            self._display = _display()
            self._task = self._display.add_task(printable(self.title), total=None)
            self._display.start()
        if self._task is not None:
            self._display.update(
                self._task,
                description=printable(self.title),
                completed=done,
                total=total or None,
            )

    def hook(self, title: str, done: int, total: int) -> None:
        """Show progress of a named part: the hook that library code takes."""
        self.title = title
        self.update(done, total)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._display is not None:
            self._display.stop()
            self._display = None


def compile_first(*parts: str) -> float:
    """Compile what of these parts of the kernels is not yet; return how soon to show a bar.

    Two processes share the work and leave it in the cache. Where there is no cache, or a process
    fails, the command compiles for itself what it needs.
    """
    from replay.cli.output import note
    from replay.compiling.parts import uncompiled
    from replay.compiling.processes import compile_apart
    from replay.kernels.code_cache import FOLDER

    left = uncompiled(*parts)
    if not left:
        return PATIENCE_S
    if FOLDER is None:
        note("Compiling kernels, on every run: `replay doctor` says why")
        return 0.0
    seconds = max(left[0].seconds, sum(part.seconds for part in left) // 2)
    note(f"Compiling kernels, {seconds} seconds or so (on first use only)")
    with progress("Compiling kernels", patience_s=0) as bar:
        bar.update(0, len(left))
        for done, _ in enumerate(compile_apart([part.name for part in left]), start=1):
            bar.update(done, len(left))
    return PATIENCE_S


@contextmanager
def progress(title: str, *, patience_s: float = PATIENCE_S) -> Iterator[Bar]:
    """Yield a bar to update, gone again when the block is left."""
    bar = Bar(title, patience_s=patience_s)
    try:
        yield bar
    finally:
        bar.close()


def _display() -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from replay.cli.output import console

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )
