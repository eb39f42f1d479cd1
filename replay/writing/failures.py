"""Trouble while writing: disk errors as OutputError, Ctrl-C held back until it can do no harm."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from replay.errors import OutputError

_TROUBLE = {
    errno.ENOSPC: ("the disk is full", "free some space, or write to another disk"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another disk"),
    errno.EFBIG: ("a file grew past the size limit", "raise the limit, see `ulimit -f`"),
    errno.EROFS: ("the file system is read-only", "write to a folder that can be changed"),
    errno.EACCES: ("permission denied", "write to a folder that is yours"),
    errno.EPERM: ("not permitted", "write to a folder that is yours"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ENOTDIR: ("a part of the path is a file", "choose another path"),
    errno.ENOENT: ("no such folder", "make it first"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.ENXIO: ("nobody reads this pipe", None),
}


def output_error(path: Path, code: int | None, reason: str = "") -> OutputError:
    """Return the error that says why `path` cannot be written and what to do about it.

    `code` is an errno, or None where only `reason` is known.
    """
    known, hint = _TROUBLE.get(code or 0, (os.strerror(code).lower() if code else reason, None))
    return OutputError(f"{path}: cannot write: {known}", hint=hint)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses inside the block into an OutputError about `path`.

    A closed pipe stays a BrokenPipeError: the reader has seen enough, which is no error.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(path, error.errno, str(error)) from error


@contextmanager
def interrupts_held() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back inside the block and yield a function that lets one through.

    The function raises KeyboardInterrupt when Ctrl-C was pressed since; call it where the block
    can undo its work. One that comes later is delivered after the block. Only the main thread
    receives Ctrl-C, so elsewhere, and where Ctrl-C is ignored, nothing needs holding.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield lambda: None
        return
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)

    def let_through() -> None:
        if pressed:
            pressed.clear()
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, previous if previous is not None else signal.SIG_DFL)
    if pressed:
        signal.raise_signal(signal.SIGINT)
