"""A trace file as bytes, read once."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import zstandard

from replay.errors import InputError, Problem, TraceError
from replay.trace.frame import Rejected
from replay.trace.problems import ProblemList

_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
STANDARD_INPUT = "-"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Source:
    """One file: `data` unpacked and without byte order mark, `sha256` of the file itself."""

    path: str
    name: str
    data: bytes
    sha256: str

    def put_aside(self, problems: ProblemList) -> tuple[Rejected, ...]:
        """Return the rows of a file of lines that were put aside, in order."""
        aside = problems.put_aside
        if not aside:
            return ()
        lines = self.data.split(b"\n")
        return tuple(
            Rejected(
                self.path,
                line,
                reason,
                lines[line - 1].decode(errors="backslashreplace"),
                line in problems.rejected,
            )
            for line, reason in sorted(aside.items())
        )


def read_source(path: str | Path) -> Source:
    """Return the content of a file, gzip or zstandard unpacked; `-` is standard input.

    Raises InputError where it is missing, a folder or unreadable, TraceError where it is empty or
    its compression is damaged.
    """
    shown, path = str(path), Path(path)
    if path.is_dir():
        raise InputError(f"{shown} is a folder", hint="name a file")
    try:
        raw = sys.stdin.buffer.read() if shown == STANDARD_INPUT else path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no such trace file (got {shown!r})", hint=_near(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {shown}: {reason}") from error
    data = _unpacked(raw, shown)
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if not data.strip():
        raise TraceError([Problem(shown, "the file is empty")])
    name = "standard input" if shown == STANDARD_INPUT else path.name
    return Source(shown, name, data, hashlib.sha256(raw).hexdigest())


def _unpacked(raw: bytes, shown: str) -> bytes:
    if raw.startswith(_GZIP):
        try:
            return gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError([Problem(shown, f"damaged gzip file ({error})")]) from error
    if raw.startswith(_ZSTANDARD):
        try:
            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as reader:
                return reader.read()
        except zstandard.ZstdError as error:
            raise TraceError([Problem(shown, f"damaged zstandard file ({error})")]) from error
    return raw


def _near(path: Path) -> str | None:
    """Return a hint naming files in the same folder with a like name."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else None
