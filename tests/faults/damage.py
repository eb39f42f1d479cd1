"""Damaged runs, traces and kernel caches: every flipped bit is told, every cache heals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from tests.faults.trial import Attempt, Trial, made_run, run, trace

FLIPS = 100
CACHES = 20
_VARIABLE = "NUMBA_CACHE_DIR"  # replay.kernels.code_cache names it


def trials() -> Iterator[Trial]:
    """Yield FLIPS flipped bits of runs and of canonical traces, and CACHES damaged caches."""
    for number in range(FLIPS):
        kind = "trace" if number % 5 == 4 else "run"
        yield Trial(
            "flips", f"a bit of a {kind}, {number}", _of_trace if kind == "trace" else _of_run
        )
    for number in range(CACHES):
        name, damage = _DAMAGES[number % len(_DAMAGES)]
        yield Trial("caches", f"{name}, {number}", _of_cache(damage))


def flipped(data: bytes, random: Random) -> bytes:
    """Return the bytes with one bit of them flipped."""
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def _of_run(folder: Path, random: Random) -> str | None:
    made = made_run(folder)
    path = random.choice(sorted(made.iterdir()))
    path.write_bytes(flipped(path.read_bytes(), random))
    opening = random.choice(("report R summary", "query R SUMMARIZE", "verify R"))
    done = run(*opening.split(), cwd=folder)
    if opening.startswith("verify") and not done.fault:
        return None if done.code == 2 and "damaged" in done.out else "is not told"
    return done.refused(path.name)


def _of_trace(folder: Path, random: Random) -> str | None:
    trace(folder)
    run("convert", "t.jsonl", "-o", "t.parquet", cwd=folder)
    path = folder / "t.parquet"
    path.write_bytes(flipped(path.read_bytes(), random))
    return run("describe", "t.parquet", cwd=folder).refused("t.parquet")


Damage = Callable[[Path, Random], None]


def _of_cache(damage: Damage) -> Attempt:
    """Damage entries of a cache of our own; the command heals it and prints the same."""

    def attempt(folder: Path, random: Random) -> str | None:
        trace(folder)
        beside = {_VARIABLE: str(folder / "cache")}
        words = ("describe", "t.jsonl", "--format", "json")
        first = run(*words, cwd=folder, **beside)
        entries = sorted((folder / "cache").rglob("*.nbc"))
        if first.code or not entries:
            return f"cannot fill a cache: {first.err[-200:]}"
        for path in random.sample(entries, random.randint(1, min(2, len(entries)))):
            damage(path, random)
        healing = run(*words, cwd=folder, **beside)
        if healing.code or healing.out != first.out:
            return f"does not heal: exit code {healing.code}, {healing.err[-300:]}"
        healed = run(*words, cwd=folder, **beside)
        if healed.code or healed.out != first.out or "anew" in healed.err:
            return f"is not healed: {healed.err[-300:]}"
        return None

    return attempt


def _flip(path: Path, random: Random) -> None:
    path.write_bytes(flipped(path.read_bytes(), random))


def _cut(path: Path, random: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: random.randrange(len(data))])


def _empty(path: Path, _: Random) -> None:
    path.write_bytes(b"")


def _noise(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(5000))


def _longer(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes() + random.randbytes(9))


def _another(path: Path, _: Random) -> None:
    other = next((one for one in sorted(path.parent.glob("*.nbc")) if one != path), path)
    path.write_bytes(other.read_bytes() if other != path else b"x")


def _folder(path: Path, _: Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, _: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path, _: Random) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _device(path: Path, _: Random) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


_DAMAGES: tuple[tuple[str, Damage], ...] = (
    ("a bit flipped", _flip), ("cut", _cut), ("empty", _empty), ("noise", _noise),
    ("longer", _longer), ("another kernel's", _another), ("a folder", _folder), ("a pipe", _pipe),
    ("a dangling link", _dangling), ("a link to a device", _device),
)  # fmt: skip
