"""Where the machine code of kernels is kept between runs, and how an entry is known to be whole.

An entry is a file of its own: a mark, the SHA-256 of the rest, and the rest. One that is empty,
cut, changed in a single bit, unreadable or no file at all is dropped and said in `troubles`, and
its kernel is compiled anew; so is one that cannot be written. Code is never run that is not
byte for byte what was compiled.

Compiled code is kept in a private folder named after the hash of all kernel sources: Numba does
not notice when a *callee* in another file changes, so a change anywhere gives a new folder.
Loading an entry runs code, so the folder must belong to us and be writable by nobody else; where
there is none such, kernels compile in memory on each run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

FOLDER_VARIABLE = "NUMBA_CACHE_DIR"
SUFFIX = ".nbc"

_MARK = b"replay kernel 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size

troubles: list[str] = []  # what could not be loaded or kept in this process, a line each


def source_digest() -> str:
    """Return twelve hex digits that change when any kernel source changes, in subfolders too."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        name = path.relative_to(here).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def cache_folder() -> Path | None:
    """Return a private, writable folder for compiled kernels, or None where there is none.

    A folder named in NUMBA_CACHE_DIR is taken as it is: whoever names one answers for it.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    above = Path(chosen) if chosen else Path(home) / "replay" / "kernels"
    folder = above.absolute() / source_digest()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
        owned = bool(chosen) or (private and status.st_uid == os.getuid())
        if owned and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    return None


FOLDER = cache_folder()


def entry_files() -> list[Path]:
    """Return every entry in the cache folder, whichever machine made it."""
    return sorted(FOLDER.glob(f"*{SUFFIX}")) if FOLDER is not None else []


def is_compiled(kernel: str) -> bool:
    """Return whether machine code of a kernel lies in the cache folder.

    `kernel` is its name, or name and class of the tables it is compiled for: `f`, `f-Tables`.
    """
    return FOLDER is not None and any(FOLDER.glob(f"*.{kernel}-*{SUFFIX}"))


def read_entry(path: Path) -> bytes | None:
    """Return what was kept under this name, or None where nothing whole is; the rest is dropped."""
    try:
        content = _content(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        drop_entry(path, error.strerror or str(error))
        return None
    start = len(_MARK) + _DIGEST_BYTES
    payload = content[start:]
    if content[:start] != _MARK + hashlib.sha256(payload).digest():
        drop_entry(path, "damaged")
        return None
    return payload


def write_entry(path: Path, payload: bytes) -> None:
    """Keep bytes under a name, all of them or none; where that fails it is said in `troubles`."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(_MARK + hashlib.sha256(payload).digest() + payload)
        partial.replace(path)
    except OSError as error:
        troubles.append(f"{path}: cannot be kept: {error.strerror}")
        with contextlib.suppress(OSError):
            partial.unlink()


def drop_entry(path: Path, why: str) -> None:
    """Take an entry away that cannot be used, and say so."""
    troubles.append(f"{path}: {why}")
    with contextlib.suppress(OSError):  # a full folder, or of somebody else: ignored
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def leftovers() -> Iterator[Path]:
    """Yield what processes that are gone were about to keep."""
    for path in FOLDER.glob("*.partial-*") if FOLDER is not None else ():
        process = path.name.rpartition("-")[2]
        if not (process.isdecimal() and Path("/proc", process).exists()):
            yield path


def _content(path: Path) -> bytes:
    """Return the bytes of a file, never waiting for a pipe; raises OSError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a file")
        return file.read()
