"""One way to read a file whole: never without end, and never waiting for what does not come.

A path may name a pipe (`<(command)`, a FIFO) or a device. A pipe is read to its end; one that
nobody writes to is an error after `PATIENCE_S`. Of devices only the terminal and /dev/null are
read: the others have no end. What is no regular file does not say its size beforehand, so it is
read up to half of the memory.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
import time
from pathlib import Path
from typing import BinaryIO

PATIENCE_S = 10.0
_WAIT_S = 0.02
_CHUNK_BYTES = 1 << 20
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_NULL = os.makedev(1, 3)


def read_whole(path: str | Path, *, most_bytes: int | None = None) -> bytes:
    """Return the content of a file.

    Raises OSError, also for a pipe without a writer, for a device without end, for more than
    `most_bytes`, and for more than half of the memory from what is no regular file; ValueError for
    a path that is none.
    """
    path = Path(path)
    kind = path.stat()
    first = b""
    if stat.S_ISFIFO(kind.st_mode) and not _is_anonymous(path):
        descriptor, first = _open_pipe(path)
        file = os.fdopen(descriptor, "rb")
    elif stat.S_ISBLK(kind.st_mode) or stat.S_ISSOCK(kind.st_mode):
        raise OSError(errno.EINVAL, "is a device or a socket, not a file")
    else:
        file = path.open("rb")
    with file:
        if stat.S_ISREG(kind.st_mode) and most_bytes is None:
            return file.read()
        _check_has_an_end(file, kind)
        return _all_of(file, first, most_bytes=most_bytes)


def read_standard_input() -> bytes:
    """Return what standard input holds; raises OSError as `read_whole`, and where it is closed."""
    if sys.stdin is None:  # closed by whoever started this process
        raise OSError(errno.EBADF, "standard input is closed")
    with contextlib.suppress(io.UnsupportedOperation):  # one that lies in memory
        _check_has_an_end(sys.stdin.buffer, os.fstat(sys.stdin.buffer.fileno()))
    return _all_of(sys.stdin.buffer)


def _check_has_an_end(file: BinaryIO, kind: os.stat_result) -> None:
    if stat.S_ISCHR(kind.st_mode) and not file.isatty() and kind.st_rdev != _NULL:
        raise OSError(errno.EINVAL, "is a device, not a file")


def _all_of(file: BinaryIO, first: bytes = b"", *, most_bytes: int | None = None) -> bytes:
    most = half_of_memory() if most_bytes is None else most_bytes
    pieces, total = [first], len(first)
    while piece := file.read(_CHUNK_BYTES):
        pieces.append(piece)
        total += len(piece)
        if total > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes")
    return b"".join(pieces)


def half_of_memory() -> int:
    """Return half of the bytes of memory that this machine, or its control group, has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int(_CGROUP_LIMIT.read_text())) // 2
    except (OSError, ValueError):
        return total // 2


def _is_anonymous(path: Path) -> bool:
    """Return whether a pipe has no name, as that of `<(command)`: its writer was there first."""
    return path.resolve().name.startswith("pipe:")


def _open_pipe(path: Path) -> tuple[int, bytes]:
    """Return a descriptor of a pipe that has a writer, and what was read to find that out."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            first = os.read(descriptor, 1)
        except BlockingIOError:  # somebody writes, but has yet to
            first = None
        if first != b"":
            os.set_blocking(descriptor, True)
            return descriptor, first or b""
        if time.monotonic() > until:
            os.close(descriptor)
            raise OSError(errno.ENXIO, "nobody writes to this pipe")
        time.sleep(_WAIT_S)
