"""A trace file as bytes, read once."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from replay.errors import InputError, Problem, TraceError

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Source:
    """One file: `data` unpacked and without byte order mark, `sha256` of the file itself."""

    path: str
    name: str
    data: bytes
    sha256: str


def read_source(path: str | Path) -> Source:
    """Return the content of a file, gzip unpacked.

    Raises InputError where it is missing, a folder or unreadable, TraceError where it is empty or
    its compression is damaged.
    """
    shown, path = str(path), Path(path)
    if path.is_dir():
        raise InputError(f"{shown} is a folder", hint="name one trace file")
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no such trace file (got {shown!r})", hint=_near(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {shown}: {reason}") from error
    data = raw
    if raw.startswith(_GZIP):
        try:
            data = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError([Problem(shown, f"damaged gzip file ({error})")]) from error
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if not data.strip():
        raise TraceError([Problem(shown, "the file is empty")])
    return Source(shown, path.name, data, hashlib.sha256(raw).hexdigest())


def _near(path: Path) -> str | None:
    """Return a hint naming files in the same folder with a like name."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_file()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else None
