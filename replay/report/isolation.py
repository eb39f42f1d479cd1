"""A process of its own for SQL: it gets so much memory and so much time, and no more.

DuckDB is asked to stop when time is over, and to keep to its memory limit; inside one function, in
the parser and in the binder it does neither. So a command that runs SQL forks before it imports
anything heavy. The child works under an address-space limit and, while a query runs, under an alarm
that ends it; the parent waits, and says what ended the child where that could not say it itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from replay.errors import Interrupted, QueryError
from replay.units import format_bytes

GRACE_S = 1.0  # between asking a query to stop and ending its process
_LEAST_S = 0.01
_LEAST_BYTES = 2**30
_BYTES_PER_TABLE_BYTE = 16  # tables in memory, over their Parquet files
_BESIDE_BYTES = 2**30  # Python, results on their way out
_BYTES_PER_THREAD = 2**27  # of address space: stacks and arenas
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_HEAVY = ("polars", "numba", "numpy", "duckdb")  # their threads do not survive a fork


@dataclass(slots=True)
class _Child:
    """Whether this process is the child: only that one may be ended by an alarm."""

    here: bool = False


_child = _Child()


def memory_of(tables: list[Path]) -> int:
    """Return the bytes that SQL over these Parquet files may take unless told otherwise.

    1 GiB and 16 times the files, at most half of what this machine, or its control group, has.
    """
    files = sum(path.stat().st_size for path in tables)
    return min(_LEAST_BYTES + _BYTES_PER_TABLE_BYTE * files, half_of_machine())


def half_of_machine() -> int:
    """Return half of the memory of this machine, or of the control group if that has less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            sizes.append(int(Path(file).read_text()))
    return min(sizes) // 2


def supervise(memory_bytes: int, *, timeout_s: float | None = None) -> None:
    """Return in a child process; in the parent wait for it and raise how it ended.

    The child may take `memory_bytes` for its database and as much beside it as that needs. Raises
    SystemExit with its exit code, Interrupted, and QueryError where it was ended: its memory, its
    stack, or `timeout_s` where it could not be asked to stop. A process that has threads already,
    or whose standard streams are not its own (one that embeds replay), works itself, and is held
    to what DuckDB can be asked.
    """
    if not _can_fork():
        return
    sys.stdout and sys.stdout.flush()
    sys.stderr and sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _child.here = True
        _bind(parent, memory_bytes)
        return
    status, interrupted = _wait(pid)
    if os.WIFEXITED(status):
        raise SystemExit(os.WEXITSTATUS(status))
    if interrupted:
        raise Interrupted("interrupted")
    raise _ended(os.WTERMSIG(status), memory_bytes, timeout_s)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process unless the block is left in time, where it is a child of `supervise`."""
    if not _child.here:
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, max(seconds, _LEAST_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextmanager
def paused() -> Iterator[None]:
    """Stop the clock of `deadline` inside the block: who reads the output takes that time."""
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0) if _child.here else (0.0, 0.0)
    try:
        yield
    finally:
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, left_s)


def unbind() -> None:
    """Lift the memory limit of a child: from here on it runs no SQL, and draws, which reserves."""
    if _child.here:
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def hurry() -> None:
    """End this process soon, where it is a child: what it runs was asked to stop."""
    if _child.here:
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)


def _can_fork() -> bool:
    if threading.active_count() > 1 or any(name in sys.modules for name in _HEAVY):
        return False
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            if stream is not None and stream.fileno() != descriptor:
                return False
        except (OSError, ValueError):  # in memory, or closed
            return False
    return True


def _bind(parent: int, memory_bytes: int) -> None:
    """Set the limits of the child, which ends with its parent."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        with contextlib.suppress(OSError):  # if memory runs out, the right one is ended
            Path("/proc/self/oom_score_adj").write_text("1000")
    threads = (os.cpu_count() or 1) * _BYTES_PER_THREAD
    wanted = _address_bytes() + memory_bytes + _BESIDE_BYTES + threads
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _wait(pid: int) -> tuple[int, bool]:
    """Return how the child ended and whether Ctrl-C was pressed; passes on what would end us.

    A terminal tells the child of Ctrl-C itself. One that has not ended soon after is told by us,
    and one that does not look is killed.
    """
    ends = [signal.SIGINT, signal.SIGKILL]
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        signal.setitimer(signal.ITIMER_REAL, GRACE_S / 4, GRACE_S)

    def remind(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, ends.pop(0) if len(ends) > 1 else ends[0])

    def end(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGINT, note)
    signal.signal(signal.SIGALRM, remind)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    _, status = os.waitpid(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return status, bool(pressed)


def _ended(number: int, memory_bytes: int, timeout_s: float | None) -> QueryError:
    if number == signal.SIGALRM and timeout_s is not None:
        return QueryError(
            f"stopped after {timeout_s:g} s", hint="give it more time, or ask for less"
        )
    return QueryError(
        f"the database ended with signal {number}: out of the {format_bytes(memory_bytes)} of "
        "memory it may take, nested too deep, or reading a damaged table",
        hint="ask for less at once, or give it more with --memory; `replay verify` checks the run",
    )


def _address_bytes() -> int:
    """Return the address space in use."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
