"""Commands killed at random moments: what they write is whole or not there, and no rest stays."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import polars as pl

from tests.faults.trial import WRITING, Attempt, Trial, command, environment, prepare, run

KILLS = 100
_TABLES = {f"{name}.csv" for name in ("requests", "timeline", "prefixes", "run", "columns")}
_MARK = ".replay-partial-"


def trials() -> Iterator[Trial]:
    """Yield KILLS trials over all writing commands, some of which replace what was there."""
    names = list(WRITING)
    for number in range(KILLS):
        name = names[number % len(names)]
        yield Trial("kills", f"{name}, {number}", _killing(name, replaces=number % 3 == 2))


def _killing(name: str, *, replaces: bool) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, random: Random) -> str | None:
        prepare(folder)
        target = folder / output
        if replaces:
            first = run(*words, cwd=folder)
            if first.code:
                return f"cannot write at all: {first.err[-200:]}"
        argv = command(*words, *(["--force"] if replaces else []))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(argv, cwd=folder, env=environment(), **quiet)  # type: ignore[call-overload]
        _wait(process, folder, random)
        process.kill()
        process.wait()
        return _left(folder, target, replaces=replaces) or _next(words, folder, target)

    return attempt


def _wait(process: subprocess.Popen[bytes], folder: Path, random: Random) -> None:
    """Wait for a moment at random, half of the time for one while something is being written."""
    until = time.monotonic() + (random.uniform(0, 4) if random.random() < 0.5 else 60)
    while process.poll() is None and time.monotonic() < until:
        if until - time.monotonic() > 5 and any(_MARK in one.name for one in folder.iterdir()):
            until = time.monotonic() + random.uniform(0, 0.03)
        time.sleep(0.0005)


def _left(folder: Path, target: Path, *, replaces: bool) -> str | None:
    """Return what a killed command left that is neither whole nor known for a rest."""
    if replaces and not target.exists():
        return f"{target.name} is gone"
    known = {"t.jsonl", "c.csv", "R", target.name}
    strange = [one.name for one in folder.iterdir() if one.name not in known]
    if any(_MARK not in name for name in strange):
        return f"left {strange}"
    return _not_whole(folder, target) if target.exists() else None


def _not_whole(folder: Path, target: Path) -> str | None:
    if target.is_dir() and not (target / "manifest.json").exists():
        lacking = _TABLES - {one.name for one in target.iterdir()}
        return f"{target.name} lacks {sorted(lacking)}" if lacking else None
    if target.is_dir():
        done = run("verify", target, cwd=folder)
        return f"{target.name} is not whole: {done.err[-200:]}" if done.code else None
    if target.suffix == ".parquet":
        try:
            pl.read_parquet(target)
        except (pl.exceptions.PolarsError, OSError) as error:
            return f"{target.name} is not whole: {error}"
        return None
    return (
        None
        if target.read_bytes().endswith((b"\n", b"}", b"</html>"))
        else f"{target.name} is cut off"
    )


def _next(words: tuple[str, ...], folder: Path, target: Path) -> str | None:
    """Run the command again: it works, and clears away what was left."""
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    done = run(*words, cwd=folder)
    if done.code:
        return f"the next command fails: {done.err[-200:]}"
    rest = [one.name for one in folder.iterdir() if _MARK in one.name]
    return f"the next command leaves {rest}" if rest else None
