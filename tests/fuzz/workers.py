"""Worker processes with limits: an abort, a hang or a bomb is laid to the case it came from.

A worker is forked from a process that has no threads and has imported nothing heavy. It says which
case it is at, and what it found; a process that ends, or takes too long over one case, is replaced
by another that goes on with the next one.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.case import Finding

HANG_CPU_S = 20.0  # of the processor: others may use the machine
HANG_WALL_S = 300.0  # and asleep: waiting for what does not come
ADDRESS_BYTES = 5 * 2**30  # beyond what a worker has when it starts
CASES_A_WORKER = 4_000  # then another takes over: nothing adds up

Work = Sequence[tuple[str, int]]  # (target, index) of cases


@dataclass(slots=True)
class _Worker:
    pid: int
    pipe: int
    work: Work
    samples: Path
    done: int = 0  # cases that are over
    started: float = field(default_factory=time.monotonic)
    started_cpu: float = 0.0
    rest: bytes = b""
    recycled: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How one case went: `finding` is None where all was right."""

    target: str
    index: int
    finding: Finding | None
    cpu_s: float


def run_all(work: Work, *, seed: int, samples: Path, workers: int) -> Iterator[Told]:
    """Yield how each case went, in any order."""
    share = -(-len(work) // workers) if work else 1
    queues = [work[start : start + share] for start in range(0, len(work), share)]
    running = [_start(queue, seed, samples) for queue in queues]
    try:
        while running:
            ready, _, _ = select.select([one.pipe for one in running], [], [], 1.0)
            for worker in list(running):
                if worker.pipe in ready:
                    yield from _messages(worker)
                    over = not worker.rest and worker.recycled
                else:
                    over = False
                if over or _takes_too_long(worker):
                    running.remove(worker)
                    yield from _ended(worker, hung=not over)
                    left = worker.work[worker.done :]
                    if left:
                        running.append(_start(left, seed, samples))
    finally:
        for worker in running:
            _stop(worker)


def _messages(worker: _Worker) -> Iterator[Told]:
    data = os.read(worker.pipe, 1 << 16)
    if not data:
        worker.recycled, worker.rest = True, b""
        return
    *lines, worker.rest = (worker.rest + data).split(b"\n")
    for line in lines:
        message = json.loads(line)
        target, index = worker.work[worker.done]
        found = message["finding"]
        finding = None if found is None else Finding(**found)
        worker.done += 1
        worker.started, worker.started_cpu = time.monotonic(), message["cpu_at"]
        yield Told(target, index, finding, message["cpu_s"])


def _takes_too_long(worker: _Worker) -> bool:
    if time.monotonic() - worker.started > HANG_WALL_S and not _is_running(worker.pid):
        return True
    return worker.done > 0 and cpu_s(worker.pid) - worker.started_cpu > HANG_CPU_S


def _ended(worker: _Worker, *, hung: bool) -> Iterator[Told]:
    """Yield what ended a worker before its time."""
    status = _stop(worker)
    if worker.done >= len(worker.work) or (not hung and status == 0):
        return
    target, index = worker.work[worker.done]
    worker.done += 1
    trouble = worker.samples / "trouble"
    if trouble.exists():
        raise RuntimeError(f"a worker broke down at {target} {index}:\n{trouble.read_text()}")
    if hung:
        finding = Finding("hang", target, target, index)
    else:
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        finding = Finding("abort", f"{target}: signal {signalled}", target, index)
    yield Told(target, index, finding, HANG_CPU_S if hung else 0.0)


def _stop(worker: _Worker) -> int:
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    os.close(worker.pipe)
    _, status = os.waitpid(worker.pid, 0)
    return status


def _is_running(pid: int) -> bool:
    """Return whether a process runs, or would if a processor were free."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and of its children that are over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _start(work: Work, seed: int, samples: Path) -> _Worker:
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return _Worker(pid, reading, work, samples)
    code = 1
    try:
        os.close(reading)
        _work(work, seed, samples, writing)
        code = 0
    except BaseException:
        (samples / "trouble").write_text(traceback.format_exc())
        raise
    finally:
        os._exit(code)


def _work(work: Work, seed: int, samples: Path, pipe: int) -> None:
    """Judge cases one by one and write what was found; never returns into the caller's stack."""
    with tempfile.TemporaryFile() as beside:  # what C code prints
        os.dup2(beside.fileno(), 1)
        os.dup2(beside.fileno(), 2)
    folder = Path(tempfile.mkdtemp(prefix="replay-fuzz-", dir=_memory_disk()))
    try:
        become_ready(folder, samples)
        _judge_all(work[:CASES_A_WORKER], seed, folder, pipe)
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def become_ready(folder: Path, samples: Path) -> None:
    """Import what is heavy, take the samples, and bind this process."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import duckdb  # noqa: F401
    import polars  # noqa: F401

    import replay.kernels.jit  # noqa: F401 - it finds its cache before that is elsewhere
    from tests.fuzz import targets

    os.environ["XDG_CACHE_HOME"] = str(folder.parent / f"{folder.name}-cache")
    targets.prepare(samples)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + ADDRESS_BYTES
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _judge_all(work: Work, seed: int, folder: Path, pipe: int) -> None:
    from tests.fuzz.judge import judged
    from tests.fuzz.targets import case_of, targets

    for target, index in work:
        before = time.process_time()
        finding = judged(case_of(targets()[target], seed, index), folder)
        if finding is not None:
            finding = Finding(finding.kind, finding.what, target, index, finding.detail[:4000])
        now = cpu_s(os.getpid())
        message = {
            "finding": None if finding is None else asdict(finding),
            "cpu_s": time.process_time() - before,
            "cpu_at": now,
        }
        os.write(pipe, json.dumps(message).encode() + b"\n")
