"""Running a case and judging it: what is an error of replay's own, and what is told as it should.

Right is an exit code of 0 to 2 with words, whatever the input; nothing half-written, no control
characters printed, no warning of Python's, no more than `MOST_BYTES` of memory.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

from tests.fuzz.case import Case, Finding

MOST_BYTES = 2 * 2**30
PROCESS_WALL_S, PROCESS_CPU_S = 240, 20
_FRAME = re.compile(r'File "[^"]*?/(replay/[^"]+)", line (\d+)')
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_DATA = {"csv", "json", "jsonl", "parquet"}  # formats that hold what is there, byte for byte
_OUTPUTS = ("RUN", "out.parquet", "out.jsonl", "out.tokens.jsonl", "o.yaml", "o.jsonl", "o.parquet")
_STATUS, _PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_run_before = 0


def judged(case: Case, folder: Path) -> Finding | None:
    """Return what is wrong with how replay takes a case, None where nothing is.

    Works inside `folder`, which is emptied before.
    """
    _empty(folder)
    case.write(folder)
    os.chdir(folder)
    if case.process:
        return _judged_process(case)
    _reset_peak()
    before = _memory("VmRSS")
    code, out, err, warned = call(case.argv)
    grown = _memory("VmHWM") - before
    found = _judged_texts(case, code, out, err, warned)
    if found is None and grown > MOST_BYTES:
        found = Finding("memory", f"{case.argv[0]}: {grown / 2**30:.0f} GiB")
    return found or _leftovers(case, code)


def call(argv: tuple[str, ...]) -> tuple[int, str, str, list[str]]:
    """Run a command in this process; return exit code, both outputs and warnings of Python's."""
    global _run_before
    from replay.cli import main

    streams = [
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
        for _ in range(2)
    ]
    kept = sys.stdin, sys.stdout, sys.stderr, sys.argv
    sys.stdin = io.TextIOWrapper(io.BytesIO(b""))
    sys.stdout, sys.stderr = streams
    sys.argv = ["replay", *argv]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for quiet in (ResourceWarning, DeprecationWarning):  # which Python does not show either
            warnings.simplefilter("ignore", quiet)
        try:
            code = main.main([*argv], color=True)  # as on a terminal: nothing is left out
        except SystemExit as end:
            code = end.code
        finally:
            for stream in streams:
                stream.flush()
            sys.stdin, sys.stdout, sys.stderr, sys.argv = kept
    _run_before += 1
    if _run_before % 50 == 0:
        gc.collect()
    out, err = (stream.buffer.getvalue().decode("utf-8", "backslashreplace") for stream in streams)  # type: ignore[attr-defined]
    told = [
        f"{one.category.__name__}: {one.filename.rpartition('/replay/')[2]}:{one.lineno}"
        for one in caught
    ]
    return (code if isinstance(code, int) else 0), out, err, told


def _judged_texts(case: Case, code: int, out: str, err: str, warned: list[str]) -> Finding | None:
    if "internal error" in err:
        return Finding("internal", _where(case, err), detail=err)
    if "Error: out of memory" in err:
        return Finding("memory", f"{case.argv[0]}: MemoryError", detail=err)
    if code not in (0, 1, 2):
        return Finding("exit", f"{case.argv[0]}: {code}", detail=err)
    if code == 1 and case.argv[0] not in ("check", "verify", "fetch", "doctor"):
        return Finding("exit", f"{case.argv[0]}: 1", detail=err)
    if code and not err.strip() and case.argv[0] not in ("check", "verify"):
        return Finding("silent", case.argv[0])
    printed = err if _DATA & {*case.argv} else out + err
    if escape := _CONTROL.search(printed):
        start = max(escape.start() - 60, 0)
        around = ascii(printed[start : escape.end() + 20])
        return Finding("escape", f"{case.argv[0]}: {escape[0]!a}", detail=around)
    return Finding("warning", warned[0]) if warned else None


def _where(case: Case, err: str) -> str:
    """Return kind and innermost place of an internal error, found by running it again."""
    kind = err.partition("internal error: ")[2].partition(":")[0].split("\n")[0]
    if not case.process:
        shutil.rmtree("RUN", ignore_errors=True)
        _, _, err, _ = call(("--debug", *case.argv))
    frames = _FRAME.findall(err)
    frames = [one for one in frames if not one[0].startswith("replay/cli/__init__")]
    return f"{kind} {':'.join(frames[-1])}" if frames else kind


def _leftovers(case: Case, code: int) -> Finding | None:
    """Return what a command left behind that failed, or that it has yet to finish."""
    partial = [path.name for path in Path().iterdir() if ".replay-partial" in path.name]
    if partial:
        return Finding("leftover", f"{case.argv[0]}: a partial file")
    left = [name for name in _OUTPUTS if name not in case.files and os.path.lexists(name)]
    if code not in (0, 1) and left:
        return Finding("leftover", f"{case.argv[0]}: {left[0]}")
    return None


def _judged_process(case: Case) -> Finding | None:
    """Run a case in a process of its own, for commands that are contained by one."""
    argv = [sys.executable, "-m", "replay", "--debug", *case.argv]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as process:  # type: ignore[call-overload]
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (PROCESS_CPU_S, PROCESS_CPU_S))
        if "--html" in case.argv:  # what draws reserves more than it uses
            _, most = resource.prlimit(process.pid, resource.RLIMIT_AS)
            resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
        try:
            out, err = process.communicate(timeout=PROCESS_WALL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return Finding("hang", f"{case.argv[0]}: a process", detail=case.command)
    code = process.returncode
    if code == -signal.SIGXCPU:
        return Finding("hang", f"{case.argv[0]}: a process", detail=case.command)
    if code < 0:
        return Finding("abort", f"{case.argv[0]}: signal {-code}", detail=str(err))
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    if used > MOST_BYTES:
        return Finding("memory", f"{case.argv[0]}: {used / 2**30:.0f} GiB")
    texts = (text.decode("utf-8", "backslashreplace") for text in (out, err))
    return _judged_texts(case, code, *texts, [])


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes; 0 where there is none."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _reset_peak() -> None:
    """Let the peak of the memory of this process count from now on."""
    with contextlib.suppress(OSError):
        _PEAK.write_text("5")
