"""A trial, and running a command of replay in a process with limits."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO

from tests.fuzz.samples import MEASURED, SAMPLE

ROOT = Path(__file__).parents[2]
MOST_CPU_S = 20
MOST_WALL_S = 180  # of a machine that others use too
MOST_BYTES = 2 * 2**30
PROFILE = ROOT / "traces" / "chat.yaml"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Attempt = Callable[[Path, Random], str | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing that goes wrong: `attempt` gets an empty folder and says what was not right."""

    kind: str
    name: str
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended: `code` is negative for a signal; times and memory of its own."""

    code: int
    out: str
    err: str
    cpu_s: float
    peak_bytes: int

    @property
    def fault(self) -> str | None:
        """What no command may do, whatever it was given; None where it did nothing of it."""
        if "internal error" in self.err or "Traceback" in self.err:
            return f"internal error: {self.err[-400:]}"
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}: {self.err[-300:]}"
        if self.cpu_s > MOST_CPU_S:
            return f"{self.cpu_s:.0f} CPU s"
        if self.peak_bytes > MOST_BYTES:
            return f"{self.peak_bytes / 2**30:.1f} GiB of memory"
        return None

    @property
    def steers(self) -> str | None:
        """What of the output could steer a terminal."""
        found = _CONTROL.search(self.out + self.err)
        return None if found is None else f"prints {found[0]!a}"

    def refused(self, *words: str) -> str | None:
        """Return what is not right where an error with these words and exit code 2 is."""
        if self.fault:
            return self.fault
        if self.code != 2:
            return f"exit code {self.code} instead of 2: {self.err[-300:]}"
        plain = " ".join(self.err.split())
        missing = [word for word in words if word not in plain]
        return f"does not say {missing[0]!r}: {plain[:300]}" if missing else None


def command(*argv: str | Path) -> list[str]:
    """Return a command line of replay, run by this Python."""
    return [sys.executable, "-m", "replay", *map(str, argv)]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of this process with this checkout first."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", **more}


def run(
    *argv: str | Path,
    cwd: Path,
    stdin: str | bytes | int | None = None,
    most_file_bytes: int | None = None,
    address_bytes: int | None = None,
    wrap: Sequence[str] = (),
    **more: str,
) -> Done:
    """Run a command in a folder and return how it ended; stopped after MOST_WALL_S.

    `most_file_bytes` limits the files it may write, `address_bytes` its memory. `wrap` are words of
    a shell command that runs it, as `"$@"`.
    """

    words = command(*argv)
    if wrap:
        words = ["bash", "-c", " ".join(wrap), "bash", *words]
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.PIPE if isinstance(stdin, str | bytes) else (stdin or subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _bind(process.pid, most_file_bytes, address_bytes)
    texts: dict[str, str] = {}
    readers = [
        threading.Thread(target=_read, args=(name, stream, texts), daemon=True)
        for name, stream in (("out", process.stdout), ("err", process.stderr))
    ]
    for reader in readers:
        reader.start()
    if isinstance(stdin, str | bytes):
        _feed(process, stdin if isinstance(stdin, bytes) else stdin.encode())
    status, usage = _waited(process)
    for reader in readers:
        reader.join(10)
    code = os.waitstatus_to_exitcode(status)
    return Done(
        code,
        texts.get("out", ""),
        texts.get("err", ""),
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * 1024,
    )


def _bind(pid: int, most_file_bytes: int | None, address_bytes: int | None) -> None:
    """Limit a process that has only just started; Python ignores the signal of RLIMIT_FSIZE."""
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, 4 * MOST_CPU_S),
        (resource.RLIMIT_FSIZE, most_file_bytes),
        (resource.RLIMIT_AS, address_bytes),
    ):
        if most is not None:
            resource.prlimit(pid, what, (most, most))


def _read(name: str, stream: IO[bytes] | None, texts: dict[str, str]) -> None:
    assert stream is not None
    with stream:
        texts[name] = stream.read().decode("utf-8", "backslashreplace")


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(data)
        process.stdin.close()
    except BrokenPipeError:
        pass


def _waited(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    until = time.monotonic() + MOST_WALL_S
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return status, usage
        if time.monotonic() > until:
            process.kill()
        time.sleep(0.01)


def trace(folder: Path, name: str = "t.jsonl") -> Path:
    """Write a small trace into a folder and return its path."""
    path = folder / name
    path.write_bytes(SAMPLE)
    return path


def measured(folder: Path) -> Path:
    """Write measured steps into a folder and return their path."""
    path = folder / "c.csv"
    path.write_bytes(MEASURED)
    return path


def made_run(folder: Path) -> Path:
    """Write a run into a folder and return it."""
    from tests import run_fixture

    return run_fixture.write(folder / "R")


# Every command that writes: its words, and the file or folder that it makes.
WRITING: dict[str, tuple[tuple[str, ...], str]] = {
    "run": (("run", "t.jsonl", "--untimed", "-o", "out"), "out"),
    "run, timed": (("run", "t.jsonl", "-o", "out"), "out"),
    "convert to Parquet": (("convert", "t.jsonl", "-o", "out.parquet"), "out.parquet"),
    "convert to Mooncake": (("convert", "t.jsonl", "-o", "out.jsonl"), "out.jsonl"),
    "anonymize": (("anonymize", "t.jsonl", "-o", "out.jsonl"), "out.jsonl"),
    "generate": (
        ("generate", str(PROFILE), "--requests", "300", "-o", "out.parquet"),
        "out.parquet",
    ),
    "curve": (("curve", "t.jsonl", "-o", "out.csv"), "out.csv"),
    "policies": (
        ("policies", "t.jsonl", "--capacity", "9blocks", "--policy", "lru", "-o", "out.csv"),
        "out.csv",
    ),
    "describe": (("describe", "t.jsonl", "-o", "out.json"), "out.json"),
    "calibrate": (("calibrate", "c.csv", "-o", "out.yaml"), "out.yaml"),
    "cost": (("cost", "--new", "512", "-o", "out.csv"), "out.csv"),
    "report": (("report", "R", "summary", "-o", "out.csv"), "out.csv"),
    "page": (("report", "R", "--html", "out.html"), "out.html"),
    "compare": (("compare", "R", "R", "-o", "out.csv"), "out.csv"),
    "export to Perfetto": (("export", "R", "-o", "out.json"), "out.json"),
    "export to CSV": (("export", "R", "--to", "csv", "-o", "out"), "out"),
    "query": (("query", "R", "FROM requests", "-o", "out.parquet"), "out.parquet"),
    "list": (("list", "gpus", "-o", "out.csv"), "out.csv"),
}


def prepare(folder: Path) -> None:
    """Write the inputs of all writing commands into a folder."""
    trace(folder)
    measured(folder)
    made_run(folder)
