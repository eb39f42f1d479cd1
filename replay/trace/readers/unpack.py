"""Packed files as bytes: gzip and zstandard, one member or many, whole or not at all.

Unpacking stops at a bound, so that a small file that unpacks to terabytes is told within seconds,
and a stream that ends before its end is told rather than taken for all there is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from replay.errors import Problem, TraceError
from replay.trace.limits import too_large, usual_limit_bytes

_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_GZIP_WINDOW = 31  # with the header and the checksum of a gzip member
_ZSTANDARD_RATIO = 2**15
_PIECE_BYTES = 2**10, 2**16


class _Member(Protocol):
    """What unpacks one member of a file: fed piece by piece, until `eof`."""

    @property
    def eof(self) -> bool:
        """Whether the member is whole."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond its end."""

    def decompress(self, data: bytes) -> bytes:
        """Return what these bytes unpack to."""


def unpacked(raw: bytes, shown: str, *, most_bytes: int | None = None) -> bytes:
    """Return the content of a gzip or zstandard file, any other as it is.

    Raises TraceError where the file is damaged or ends early, and where it unpacks to more than
    `most_bytes`, by default `usual_limit_bytes` of its size.
    """
    if raw.startswith(_GZIP):
        kind, member, ratio = "gzip", _gzip_member, 2**10
    elif raw.startswith(_ZSTANDARD):
        kind, member, ratio = "zstandard", _zstandard_member, _ZSTANDARD_RATIO
    else:
        return raw
    limit = usual_limit_bytes(len(raw)) if most_bytes is None else most_bytes
    try:
        pieces = list(_pieces(raw, member, limit=limit, ratio=ratio))
    except OverflowError as error:
        raise too_large(shown, len(raw), limit) from error
    except EOFError as error:
        what = f"the file ends early: its {kind} stream is cut off ({error})"
        hint = "copy or download it again; nothing of it is used"
        raise TraceError([Problem(shown, what)], hint=hint) from error
    except (zlib.error, zstandard.ZstdError) as error:
        raise TraceError([Problem(shown, f"damaged {kind} file ({error})")]) from error
    return b"".join(pieces)


def _pieces(
    raw: bytes, member: Callable[[], _Member], *, limit: int, ratio: int
) -> Iterator[bytes]:
    """Yield the content piece by piece, none of them large: a byte unpacks to `ratio` at most.

    Raises EOFError where the last member is not whole, OverflowError for more than `limit` bytes.
    Zeros behind a member are padding.
    """
    at = total = 0
    while at < len(raw):
        start, reading = at, member()
        while not reading.eof:
            if at >= len(raw):
                raise EOFError(f"{len(raw) - start:,} of its bytes are there")
            size = min(max((limit - total) // ratio, _PIECE_BYTES[0]), _PIECE_BYTES[1])
            piece = reading.decompress(raw[at : at + size])
            total += len(piece)
            if total > limit:
                raise OverflowError
            yield piece
            at = min(at + size, len(raw))
        at -= len(reading.unused_data)
        if raw[at : at + 1] == b"\0" and not raw[at:].strip(b"\0"):
            return


def _gzip_member() -> _Member:
    return zlib.decompressobj(_GZIP_WINDOW)


def _zstandard_member() -> _Member:
    return zstandard.ZstdDecompressor().decompressobj()
