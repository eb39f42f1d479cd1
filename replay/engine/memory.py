"""Memory that nobody uses any more, given back before the next part of a long run takes its own."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Return freed memory to the operating system: glibc keeps it, up to 100 bytes a request."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc, and not of musl
        if trim is not None:
            trim(0)
