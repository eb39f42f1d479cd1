"""A progress bar on the terminal, for whatever takes longer than a moment."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

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
            self._task = self._display.add_task(self.title, total=None)
            self._display.start()
        if self._task is not None:
            self._display.update(
                self._task, description=self.title, completed=done, total=total or None
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


def announce_compiling(entry: str) -> float:
    """Say so when the kernel `entry` must be compiled first; return how soon to show a bar."""
    from replay.kernels.jit import CACHED, is_compiled

    if is_compiled(entry):
        return PATIENCE_S
    when = "on first use only" if CACHED else "on every run: `replay doctor` says why"
    click.echo(f"Compiling kernels, half a minute or so ({when})", err=True)
    return 0.0


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
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )
