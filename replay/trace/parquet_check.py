"""Whether a Parquet file can be decoded at all, found out before it is.

Decoders trust what they read: some damaged files make them abort the process. A file of ours says
what it should be (its seal), so any change is told without decoding. Every other file is decoded
once by a process of its own, which may end as it likes.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from replay.errors import Problem, TraceError
from replay.trace.limits import too_large, usual_limit_bytes
from replay.writing.whole import Sink

MAGIC = b"PAR1"
FILE_DIGEST = "file_sha256"
UNSEALED = "0" * 64
_MARK = f'"{FILE_DIGEST}": "'.encode()
_TRAILER_BYTES = 8  # the length of the footer and the magic
_LEAST_BYTES = 4 + _TRAILER_BYTES
_CHUNK_BYTES = 1 << 20
_CUT_SHORT = "not a Parquet file, or one that was cut short"
_BYTES_PER_CPU_S = 5 * 2**20  # a fifth of the slowest decoding measured
_LEAST_CPU_S = 60
_SLACK_BYTES = 3 * 2**30  # of address space: the interpreter, libraries, their threads
_TOO_LARGE = 2  # the exit code below
_decoded: set[bytes] = set()  # digests of files that another process has decoded
_TRIAL = """\
import io, json, resource, sys
sys.path[:] = json.loads(sys.argv[1])
cpu_s, most_bytes, slack_bytes = map(int, sys.argv[2:5])
resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import polars
path = sys.argv[5]
source = path if path else io.BytesIO(sys.stdin.buffer.read())
hard = resource.getrlimit(resource.RLIMIT_AS)[1]
if hard == resource.RLIM_INFINITY:
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes + slack_bytes, hard))
size = 0
try:
    for batch in polars.scan_parquet(source, glob=False).collect_batches():
        size += batch.estimated_size()
        if size > most_bytes:
            sys.exit(2)
except SystemExit:
    raise
except BaseException as error:
    print((str(error).splitlines() or [type(error).__name__])[0])
    sys.exit(1)
"""


def seal(sink: Sink) -> None:
    """Put the digest of a Parquet file into its footer, over `UNSEALED`; the sink ends behind it.

    The digest is that of the file with `UNSEALED` in its place.
    """
    footer = sink.tail(_TRAILER_BYTES)
    tail = sink.tail(_TRAILER_BYTES + int.from_bytes(footer[:4], "little"))
    at = tail.rindex(_MARK + UNSEALED.encode()) + len(_MARK)
    sink.patch(sink.size_bytes - len(tail) + at, sink.sha256.encode())


@dataclass(frozen=True, slots=True)
class Checked:
    """A Parquet file that can be decoded: whether a seal vouches for it, and its own SHA-256."""

    sealed: bool
    sha256: str


def check_parquet(data: bytes, shown: str, *, most_bytes: int | None = None) -> Checked:
    """Return what vouches for a Parquet file; raises TraceError where it is damaged.

    A file without seal has been decoded once when this returns; it is refused where that makes more
    than `most_bytes`, by default `usual_limit_bytes` of its size.
    """
    with memoryview(data) as view:
        return _checked(view, data, shown, most_bytes)


def check_parquet_file(path: Path) -> Checked:
    """Return what `check_parquet` does for a file, looked at once as long as it stays the same.

    Raises OSError where it cannot be read.
    """
    found = path.stat()
    return _checked_file(path.resolve(), str(path), found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=64)
def _checked_file(path: Path, shown: str, inode: int, size_bytes: int, changed_ns: int) -> Checked:
    if size_bytes < _LEAST_BYTES:
        raise TraceError([Problem(shown, _CUT_SHORT)])
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
        memoryview(pages) as view,
    ):
        return _checked(view, path, shown, None)


def _checked(data: memoryview, source: bytes | Path, shown: str, most_bytes: int | None) -> Checked:
    footer_at = len(data) - _TRAILER_BYTES - int.from_bytes(data[-_TRAILER_BYTES:-4], "little")
    whole = len(data) >= _LEAST_BYTES and data[:4] == MAGIC and data[-4:] == MAGIC
    if not whole or footer_at < len(MAGIC):
        raise TraceError([Problem(shown, _CUT_SHORT)])
    mark = bytes(data[footer_at:]).rfind(_MARK)
    hole = len(data) if mark < 0 else footer_at + mark + len(_MARK)
    sealed = hashlib.sha256()
    for first in range(0, hole, _CHUNK_BYTES):
        sealed.update(data[first : min(first + _CHUNK_BYTES, hole)])
    own = sealed.copy()
    own.update(data[hole:])
    if mark < 0:
        if own.digest() not in _decoded:
            _try(source, shown, most_bytes or usual_limit_bytes(len(data)))
            _decoded.add(own.digest())
        return Checked(sealed=False, sha256=own.hexdigest())
    sealed.update(UNSEALED.encode())
    sealed.update(data[hole + len(UNSEALED) :])
    if data[hole : hole + len(UNSEALED)] != sealed.hexdigest().encode():
        raise TraceError(
            [Problem(shown, f"damaged: its content is not what its {FILE_DIGEST} says")],
            hint="make it again, or take a copy that is whole",
        )
    return Checked(sealed=True, sha256=own.hexdigest())


def _try(source: bytes | Path, shown: str, most_bytes: int) -> None:
    """Decode a file in another process; raises TraceError where that fails in whatever way."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    path = "" if isinstance(source, bytes) else str(source)
    command = [sys.executable, "-c", _TRIAL, json.dumps(sys.path)]
    command += [str(_LEAST_CPU_S + size // _BYTES_PER_CPU_S)]
    command += [str(most_bytes), str(_SLACK_BYTES + size), path]
    done = subprocess.run(
        command,
        input=source if isinstance(source, bytes) else b"",
        capture_output=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if done.returncode == _TOO_LARGE:
        raise too_large(shown, size, most_bytes)
    reason = done.stdout.decode(errors="replace").strip()
    if done.returncode < 0:
        reason = f"decoding it ended with signal {-done.returncode}"
    raise TraceError([Problem(shown, f"damaged Parquet file ({reason or 'no reason given'})")])
