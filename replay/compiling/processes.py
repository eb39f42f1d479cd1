"""Parts of the kernels compiled, and entries of their cache loaded, in processes of their own.

Numba compiles under one lock, so threads would take turns. What a process compiles goes to the
rest through the cache folder; where there is none, this is of no use.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from replay.kernels import code_cache
from replay.kernels.code_cache import entry_files

PROCESSES = 2
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import {}; {}()"
_COMPILES = "replay.compiling.processes", "serve"
_LOADS = "replay.kernels.jit", "load_entries"


class Compiled(NamedTuple):
    """A part that a process is done with: `trouble` is the last line of its error, if any."""

    part: str
    seconds: float
    trouble: str | None


class Loaded(NamedTuple):
    """How many entries were loaded, how many are of another machine, and what was dropped."""

    good: int
    foreign: int
    troubles: list[str]


def load_entries() -> Loaded:
    """Load every entry of the cache in another process, and drop those that cannot be.

    An entry that ends the process is dropped too, and the rest are loaded by the next one.
    """
    good = foreign = 0
    troubles: list[str] = []
    left = entry_files()
    while left:
        done = subprocess.run(
            [*_python(*_LOADS), *map(str, left)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        ready, *answers = [json.loads(line) for line in done.stdout.splitlines()] or [None]
        if ready is None:
            troubles.append(f"no entry could be looked at: a process ended with {done.returncode}")
            break
        for answer in answers:
            good += answer == "good"
            foreign += answer == "foreign"
            troubles += answer if isinstance(answer, list) else []
        if len(answers) < len(left):
            before = len(code_cache.troubles)
            code_cache.drop_entry(left[len(answers)], f"ended its process ({done.returncode})")
            troubles += code_cache.troubles[before:]
            del code_cache.troubles[before:]
        left = left[len(answers) + 1 :]
    return Loaded(good, foreign, troubles)


def compile_apart(parts: Sequence[str], processes: int = PROCESSES) -> Iterator[Compiled]:
    """Yield each part once it lies in the cache, in the order in which they are done.

    When the caller stops early, or Ctrl-C comes, the processes are stopped.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for part in parts:
        waiting.put(part)
    done: queue.SimpleQueue[Compiled] = queue.SimpleQueue()
    children: list[_Child] = []
    threads = [
        threading.Thread(target=_hand_out, args=(waiting, done, children), daemon=True)
        for _ in range(min(processes, len(parts)))
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in parts:
            yield done.get()
    finally:
        while not waiting.empty():
            waiting.get()
        for child in children:
            child.stop()
        for thread in threads:
            thread.join()


def serve() -> None:
    """Compile the parts named on standard input, a line each, and answer each with its seconds."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    from replay.compiling.warm import compile_part

    for line in sys.stdin:
        start = time.monotonic()
        compile_part(line.strip())
        answers.write(f"{time.monotonic() - start:.3f}\n")
        answers.flush()


def _python(module: str, function: str) -> list[str]:
    """Return the command that runs a function in a Python that finds what this one does."""
    start = _START.format(module, function, function)
    return [sys.executable, "-P", "-c", start, json.dumps(sys.path)]


class _Child:
    """A process that compiles part after part."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        self._process = subprocess.Popen(
            _python(*_COMPILES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def compile(self, part: str) -> Compiled:
        """Have a part compiled, and wait for it."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        answer = ""
        with contextlib.suppress(OSError):
            asked.write(f"{part}\n")
            asked.flush()
            answer = answers.readline()
        if answer:
            return Compiled(part, float(answer), None)
        status = self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().rpartition("\n")[2]
        return Compiled(part, 0.0, said or f"its process ended with status {status}")

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()


def _hand_out(
    waiting: queue.SimpleQueue[str], done: queue.SimpleQueue[Compiled], children: list[_Child]
) -> None:
    """Have parts compiled in a process, in a new one after each that failed, until none is left."""
    child = None
    while True:
        try:
            part = waiting.get_nowait()
        except queue.Empty:
            return
        if child is None:
            child = _Child()
            children.append(child)
        compiled = child.compile(part)
        done.put(compiled)
        if compiled.trouble is not None:
            child = None
