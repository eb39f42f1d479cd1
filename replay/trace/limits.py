"""Limits on what a file may become: how much it unpacks to, and what code in it may take."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from replay.errors import InputError, Problem, TraceError
from replay.reading import half_of_memory
from replay.units import format_bytes

_LEAST_BYTES = 2**26
# Text seldom shrinks more; zeros shrink 1,000 times in gzip, 32,000 in zstandard.
_USUAL_RATIO = 200
_STATUS = Path("/proc/self/statm")


def usual_limit_bytes(packed_bytes: int) -> int:
    """Return how much a file of this size may unpack to: what text does, and half of the memory."""
    return min(max(_LEAST_BYTES, _USUAL_RATIO * packed_bytes), half_of_memory())


def too_large(shown: str, packed_bytes: int, limit: int) -> TraceError:
    """Return the error of a file that unpacks to more than `limit` bytes."""
    what = (
        f"{format_bytes(packed_bytes)} that unpack to more than {format_bytes(limit)}: too much to "
        "be text as traces are"
    )
    return TraceError([Problem(shown, what)], hint="--max-unpacked SIZE allows more, such as 8GiB")


@contextmanager
def limited(what: str, *, cpu_s: float, memory_bytes: int) -> Iterator[None]:
    """Raise InputError where the block takes more time of the processor or more memory than this.

    Time is measured in the main thread only, as others get no signals; memory where the system
    says how much is in use (Linux). `what` starts the message.
    """

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise InputError(f"{what} takes more than {cpu_s:g} s")

    try:
        with _timer(cpu_s, stop), _memory(memory_bytes):
            yield
    except MemoryError as error:
        raise InputError(f"{what} takes more than {memory_bytes >> 20:,} MiB of memory") from error


@contextmanager
def _timer(cpu_s: float, stop: signal.Handlers | object) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, stop)  # type: ignore[arg-type]
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _memory(memory_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError, ValueError):
        used = int(_STATUS.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        wanted = used + memory_bytes
        tightest = min(one for one in (soft, hard, wanted) if one != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (tightest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
