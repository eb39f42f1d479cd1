"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from replay.errors import OutputExistsError
from replay.writing.failures import output_error, writing
from replay.writing.partial import beside, partial_file, partial_folder, remove_leftovers
from replay.writing.target import check_file, descriptor_of

_READER_WAIT_S = 10.0
_READER_POLL_S = 0.05
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h of macOS
_CANNOT_SWAP = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


if TYPE_CHECKING:

    class Stream(io.RawIOBase, BinaryIO):
        """What libraries that ask for a binary file take."""
else:
    Stream = io.RawIOBase


class Sink(Stream):
    """A stream to write to that knows its size and SHA-256, and why the disk refused.

    Libraries that write to it make a text of their own of what the operating system says;
    `failure` is what it said.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        self.failure: OSError | None = None

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hex."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write all of `data`; raises OSError."""
        with self._noted():
            self._file.write(data)
        self._digest.update(data)
        size = memoryview(data).nbytes
        self.size_bytes += size
        return size

    def flush(self) -> None:
        """Hand what is buffered to the operating system; raises OSError."""
        if not self._file.closed:
            with self._noted():
                self._file.flush()

    def patch(self, offset: int, data: bytes) -> None:
        """Write over what stands at `offset`; size and digest stay those of what was written."""
        self.flush()
        with self._noted():
            os.pwrite(self._file.fileno(), data, offset)

    def tail(self, size_bytes: int) -> bytes:
        """Return the last bytes that were written."""
        self.flush()
        size_bytes = min(size_bytes, self.size_bytes)
        return os.pread(self._file.fileno(), size_bytes, self.size_bytes - size_bytes)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[Sink]:
    """Yield a sink whose content gets the name `path` when the block ends, or vanishes if it fails.

    A link is followed, what is replaced keeps its permissions; a device, pipe or open descriptor
    is written as it is. Raises what `check_file` raises, and OutputError where writing fails.
    """
    path = Path(path)
    check_file(path, force=force)
    if (stream := _opened_stream(path)) is not None:
        with writing(path), stream:
            yield from _filled(stream, path)
        return
    real = path.resolve()
    remove_leftovers(real.parent)
    with (
        writing(path),
        partial_file(real) as (partial, descriptor),
        os.fdopen(descriptor, "w+b") as file,
    ):
        if real.exists():
            os.fchmod(descriptor, stat.S_IMODE(real.stat().st_mode))
        yield from _filled(file, path)
        os.fsync(descriptor)
        _put_file(partial, real, path, force=force)  # while it is locked


@contextmanager
def new_file(path: Path, *, shown: Path) -> Iterator[Sink]:
    """Yield a sink into a new file of a folder that is not there for others yet.

    It is on the disk when the block ends. Raises OutputError, which speaks of `shown`.
    """
    with writing(shown), path.open("xb") as file:
        yield from _filled(file, shown)
        os.fsync(file.fileno())


def _filled(file: BinaryIO, path: Path) -> Iterator[Sink]:
    """Yield a sink into a file and flush it; what the disk refused is raised as OutputError."""
    sink = Sink(file)
    try:
        yield sink
        sink.flush()
    except BrokenPipeError:
        raise
    except BaseException as error:
        if sink.failure is None or isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(sink.failure, BrokenPipeError):
            raise sink.failure from error
        raise output_error(path, sink.failure.errno, str(sink.failure)) from error


def _opened_stream(path: Path) -> io.BufferedWriter | None:
    """Return what is no regular file, opened to write to; None for what can be written whole."""
    with writing(path):
        descriptor = descriptor_of(path)
        if descriptor is not None:
            return os.fdopen(os.dup(descriptor), "wb")
        try:
            kind = path.stat().st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISREG(kind):
            return None
        if not stat.S_ISFIFO(kind):
            return path.open("wb")
        return _opened_fifo(path)


def _opened_fifo(path: Path) -> io.BufferedWriter:
    """Return a FIFO opened to write to; raises OSError where nobody comes to read it."""
    patient_until = time.monotonic() + _READER_WAIT_S
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > patient_until:
                raise output_error(path, error.errno) from error
            time.sleep(_READER_POLL_S)
        else:
            os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb")


def _put_file(partial: Path, real: Path, shown: Path, *, force: bool) -> None:
    """Give a partial file its name; without `force` never over one that appeared meanwhile."""
    if force:
        partial.replace(real)
        return
    try:
        os.link(partial, real)
    except FileExistsError as error:
        raise OutputExistsError(
            f"{shown}: appeared while it was written", hint="choose another name"
        ) from error
    except OSError:  # a file system without hard links
        check_file(shown, force=False)
        partial.replace(real)


@contextmanager
def whole_folder(folder: Path, *, check: Callable[[], object]) -> Iterator[Path]:
    """Yield an empty folder which gets the name `folder` when the block ends, or vanishes.

    Missing parents are made. `check` is asked again before a folder that is there is replaced: the
    two are swapped in one step where the file system can, so that one of them is always there.
    Raises what `check` raises and OutputError.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent)
        with partial_folder(folder) as partial:
            yield partial
            synced(partial)
            check()
            _put_folder(partial, folder)
            synced(folder.parent)


def _put_folder(partial: Path, folder: Path) -> None:
    """Give a partial folder its name; what had that name before is under the other one then."""
    if not os.path.lexists(folder):
        _rename_folder(partial, folder)
    elif not _swapped(partial, folder):
        old = beside(folder, "replaced")
        folder.rename(old)
        try:
            _rename_folder(partial, folder)
        except BaseException:
            with contextlib.suppress(OSError):  # something new is there: the old one is kept
                old.rename(folder)
            raise
        old.rename(partial)


def _rename_folder(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise OutputExistsError(
            f"{folder}: appeared while the run was written", hint="choose another name"
        ) from error


def _swapped(one: Path, other: Path) -> bool:
    """Swap two names in one step and return True; False where that cannot be done here."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        failed = libc.renamex_np(*names, _RENAME_SWAP)
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    else:
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_SWAP:
        return False
    raise OSError(code, os.strerror(code), str(other))


def synced(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(descriptor)
