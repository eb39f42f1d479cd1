"""Making a case small: the fewest lines and bytes of the changed file that show the same fault."""

from __future__ import annotations

import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.case import Case, Finding
from tests.fuzz.workers import HANG_CPU_S, become_ready, cpu_s

MOST_S = 30.0
MOST_TRIES_OF_ENDS = 20  # where each one takes a process
SLACK_S = 60.0


def shrunk(case: Case, finding: Finding, samples: Path) -> Case:
    """Return the smallest case found that has a finding of the same cause; the case if none is."""
    if not case.changed or finding.kind == "hang":
        return case
    data = case.files[case.changed]
    if finding.kind == "abort":
        tries = [MOST_TRIES_OF_ENDS]

        def shows(smaller: bytes) -> bool:
            tries[0] -= 1
            found = judged_apart(case.with_changed(smaller), samples) if tries[0] >= 0 else None
            return found is not None and found.kind == "abort"

        return case.with_changed(smallest(data, shows))
    answer, _ = _apart(lambda folder: _shrunk_here(case, finding, folder), samples)
    return case if answer is None else case.with_changed(answer)


def smallest(data: bytes, shows: Callable[[bytes], bool], most_s: float = MOST_S) -> bytes:
    """Return the smallest part of the data found that still `shows` what it does: lines, bytes."""
    until = time.monotonic() + most_s
    for separator in (b"\n", b""):
        pieces = data.split(separator) if separator else [data[i : i + 1] for i in range(len(data))]
        size = max(len(pieces) // 2, 1)
        while size:
            place, better = 0, False
            while place < len(pieces) > 1 and time.monotonic() < until:
                kept = pieces[:place] + pieces[place + size :]
                if shows(separator.join(kept)):
                    pieces, better = kept, True
                else:
                    place += size
            size = size if better and size == 1 else size // 2
        data = separator.join(pieces)
    return data


def judged_apart(case: Case, samples: Path) -> Finding | None:
    """Return the finding of one case from a process of its own, how that ended included."""

    def judge(folder: Path) -> bytes:
        from tests.fuzz.judge import judged

        found = judged(case, folder)
        return json.dumps(None if found is None else asdict(found)).encode()

    answer, status = _apart(judge, samples)
    if answer is not None:
        found = json.loads(answer)
        return None if found is None else Finding(**found)
    if status is None:
        return Finding("hang", case.argv[0])
    signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Finding("abort", f"{case.argv[0]}: signal {signalled}")


def _shrunk_here(case: Case, finding: Finding, folder: Path) -> bytes:
    from tests.fuzz.judge import judged

    def shows(smaller: bytes) -> bool:
        found = judged(case.with_changed(smaller), folder)
        return found is not None and found.cause == finding.cause

    return smallest(case.files[case.changed], shows)


def _apart(work: Callable[[Path], bytes], samples: Path) -> tuple[bytes | None, int | None]:
    """Return what a process of its own makes of an empty folder, and how that process ended.

    The answer is None where it ended without one, and the status where it had to be stopped.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            _answer(work, samples, writing)
        finally:
            os._exit(0)
    os.close(writing)
    answer, over, until = b"", False, time.monotonic() + MOST_S + SLACK_S
    while not over and time.monotonic() < until and cpu_s(pid) < MOST_S + HANG_CPU_S:
        if select.select([reading], [], [], 0.5)[0]:
            data = os.read(reading, 1 << 16)
            answer, over = answer + data, not data
    os.kill(pid, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    whole = answer[:-1] if answer.endswith(b"!") else None
    return whole, status if over else None


def _answer(work: Callable[[Path], bytes], samples: Path, pipe: int) -> None:
    with tempfile.TemporaryFile() as beside:
        os.dup2(beside.fileno(), 1)
        os.dup2(beside.fileno(), 2)
    with tempfile.TemporaryDirectory(prefix="replay-fuzz-") as folder:
        become_ready(Path(folder), samples)
        place = Path(folder, "case")
        place.mkdir()
        answer = work(place) + b"!"
        os.chdir("/")
    while answer:
        answer = answer[os.write(pipe, answer) :]
