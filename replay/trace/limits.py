"""Limits on what code out of a file may take while it runs: time of the processor, and memory."""

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

from replay.errors import InputError

_STATUS = Path("/proc/self/statm")


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
