"""What is being written, under a name that says so until it is whole.

`.NAME.replay-partial-PID` lies beside its target and is locked by whoever writes it, across process
id spaces and, where locks reach that far, machines. A process that is killed leaves it behind
without a lock, and the next one that writes to the same folder removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.replay-(partial|replaced)-\d+(-\d+)?", re.DOTALL)
_STEM_CHARACTERS = 40  # of up to four bytes: a name may have 255 in all


def beside(target: Path, word: str, attempt: int = 1) -> Path:
    """Return a hidden name beside `target` that tells of it, `word` and this process."""
    more = "" if attempt == 1 else f"-{attempt}"
    return target.with_name(f".{target.name[:_STEM_CHARACTERS]}.replay-{word}-{os.getpid()}{more}")


@contextmanager
def partial_file(target: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new empty file beside `target` and its descriptor, which the caller closes.

    It is made with the permissions of the umask, and removed when the block is left without its
    having been renamed. Raises OSError.
    """
    path, descriptor = _made(target, _new_file)
    try:
        yield path, descriptor
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `target`, removed with all in it when the block is left.

    Raises OSError.
    """
    path, descriptor = _made(target, _new_folder)
    try:
        yield path
    finally:
        try:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path) -> tuple[list[Path], list[Path]]:
    """Remove what killed processes left in a folder; return what was removed, and what was not.

    What somebody still writes is locked and in neither list. A run that was moved aside to be
    replaced, where folders cannot be swapped, is whole and is kept.
    """
    removed, kept = [], []
    try:
        found = sorted(path for path in folder.iterdir() if _LEFTOVER.fullmatch(path.name))
    except OSError:
        return [], []
    for path in found:
        try:
            if ".replay-replaced-" in path.name:
                kept.append(path)
            elif _remove_unless_locked(path):
                removed.append(path)
        except FileNotFoundError:
            continue
        except OSError:
            kept.append(path)
    return removed, kept


def _new_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _new_folder(path: Path) -> int:
    path.mkdir()
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:  # cleaned away before it could be locked: as if taken
        raise FileExistsError from error


def _made(target: Path, new: Callable[[Path], int]) -> tuple[Path, int]:
    """Return a partial that was made, and a descriptor that holds its lock."""
    attempt = 0
    while True:
        attempt += 1
        path = beside(target, "partial", attempt)
        try:
            descriptor = new(path)
        except FileExistsError:  # of a killed process with the same id, or of one elsewhere
            continue
        with contextlib.suppress(OSError):  # a file system without locks: nobody cleans there
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_there(path, descriptor):
            return path, descriptor
        os.close(descriptor)  # somebody cleaned it away before it was locked


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_unless_locked(path: Path) -> bool:
    """Remove a leftover and return whether it was one; raises OSError where that is refused."""
    kind = os.lstat(path).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if stat.S_ISDIR(kind):
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    finally:
        os.close(descriptor)
