"""Progress of a call, where it was asked for: a bar in a terminal or under a notebook's cell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from replay.compiling.parts import uncompiled
from replay.compiling.processes import compile_apart
from replay.kernels.code_cache import FOLDER
from replay.progress import Hook, ignore

Progress = bool | Hook
"""False shows nothing, True a bar; a function is told the title, how much is done, and of what."""

_CELLS = 30


@contextmanager
def working(progress: Progress, *parts: str) -> Iterator[Hook]:
    """Yield the hook of a call, what it needs of the kernels compiled; the bar goes afterwards.

    `parts` are those of `replay.compiling.parts`. What is not compiled yet takes half a minute or
    so, on first use only, in two processes that leave it for every later one.
    """
    if callable(progress):
        _compile(parts, progress)
        yield progress
        return
    bar = _bar() if progress else None
    hook = ignore if bar is None else bar.show
    try:
        _compile(parts, hook)
        yield hook
    finally:
        if bar is not None:
            bar.close()


def _compile(parts: tuple[str, ...], hook: Hook) -> None:
    left = uncompiled(*parts) if parts else []
    if not left or FOLDER is None:  # without a cache, each process compiles for itself
        return
    hook("Compiling kernels, on first use only", 0, len(left))
    for done, _ in enumerate(compile_apart([part.name for part in left]), start=1):
        hook("Compiling kernels, on first use only", done, len(left))


class _TerminalBar:
    """One line on standard error, drawn over itself, and only where that is a terminal."""

    def __init__(self) -> None:
        self._drawn = ""

    def show(self, title: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        filled = _CELLS * done // total if total else 0
        bar = f" [{'#' * filled}{'.' * (_CELLS - filled)}] {done / total:.0%}" if total else " ..."
        line = f"{title}{bar}"
        if line != self._drawn:
            sys.stderr.write(f"\r{line.ljust(len(self._drawn))}")
            sys.stderr.flush()
            self._drawn = line

    def close(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\r{' ' * len(self._drawn)}\r")
            sys.stderr.flush()


class _NotebookBar:
    """One element under the cell, replaced as work goes on; it needs no widgets."""

    def __init__(self, display: Callable[..., Any]) -> None:
        self._drawn = ""
        self._handle = display(_Html(""), display_id=True)

    def show(self, title: str, done: int, total: int) -> None:
        share = f' value="{done}" max="{total}"' if total else ""
        page = f"<progress{share}></progress> {escape(title)}"
        if page != self._drawn:
            self._handle.update(_Html(page))
            self._drawn = page

    def close(self) -> None:
        self._handle.update(_Html(""))


class _Html:
    """What a notebook shows as it stands."""

    def __init__(self, page: str) -> None:
        self._page = page

    def _repr_html_(self) -> str:
        return self._page


def _bar() -> _TerminalBar | _NotebookBar:
    """Return the bar for where this runs; IPython is there already where there is a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and shell.has_trait("kernel"):
        from IPython.display import display

        return _NotebookBar(display)
    return _TerminalBar()
