"""A trace file as bytes, read once."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError, Problem, TraceError
from replay.reading import read_standard_input, read_whole
from replay.trace.frame import Rejected
from replay.trace.problems import ProblemList
from replay.trace.readers.unpack import unpacked

STANDARD_INPUT = "-"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIRST_OTHER = re.compile(rb"^[ \t\r]*(?:[^\s#/]|/(?!/))", re.MULTILINE)


class EmptyFileError(TraceError):
    """Raised for a file that holds nothing, which a folder of others may."""


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


def read_source(path: str | Path, *, max_unpacked_bytes: int | None = None) -> Source:
    """Return the content of a file, gzip or zstandard unpacked; `-` is standard input.

    Lines of comment before the first JSON are blanked, so that line numbers stay. Raises
    InputError where the file is missing, a folder or unreadable, EmptyFileError where it holds
    nothing, TraceError where its compression is damaged, cut off, or unpacks to more than allowed.
    """
    shown, path = str(path), Path(path)
    if path.is_dir():
        raise InputError(f"{shown} is a folder", hint="name a file")
    try:
        raw = read_standard_input() if shown == STANDARD_INPUT else read_whole(path)
    except FileNotFoundError as error:
        raise InputError(f"no such trace file (got {shown!r})", hint=_near(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {shown}: {reason}") from error
    data = unpacked(raw, shown, most_bytes=max_unpacked_bytes)
    data = _without_comments(data.removeprefix(_BYTE_ORDER_MARK))
    if not data.strip():
        raise EmptyFileError([Problem(shown, "the file is empty")])
    name = "standard input" if shown == STANDARD_INPUT else path.name
    return Source(shown, name, data, hashlib.sha256(raw).hexdigest())


def _without_comments(data: bytes) -> bytes:
    """Return the data with lines of `#` or `//` before its first JSON made blank."""
    first = _FIRST_OTHER.search(data)
    if first is None or first[0][-1:] not in (b"{", b"["):
        return data
    before = data[: first.start()]
    return b"\n" * before.count(b"\n") + data[first.start() :] if before.strip() else data


def _near(path: Path) -> str | None:
    """Return a hint naming files in the same folder with a like name."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else None
