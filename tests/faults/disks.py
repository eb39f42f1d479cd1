"""Disks that are full, limits on files, folders that cannot be written: told, and nothing left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.faults.trial import WRITING, Attempt, Trial, prepare, run

_WHOLE = ["t.jsonl", "c.csv", "R"]


def trials() -> Iterator[Trial]:
    """Yield trials of every writing command on every kind of bad place."""
    for name in WRITING:
        yield Trial("disks", f"{name}, a limit of 100 bytes a file", _limited(name))
        yield Trial("disks", f"{name}, a read-only place", _unwritable(name))
        yield Trial("disks", f"{name}, a full disk", _full(name))


def _limited(name: str) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, random: Random) -> str | None:
        prepare(folder)
        done = run(*words, cwd=folder, most_file_bytes=random.choice((0, 1, 100)))
        return done.refused() or _strange(folder, output)

    return attempt


def _unwritable(name: str) -> Attempt:
    words, output = WRITING[name]

    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        done = run(*(f"/proc/{output}" if word == output else word for word in words), cwd=folder)
        return done.refused(f"/proc/{output}") or _strange(folder, output)

    return attempt


def _full(name: str) -> Attempt:
    """Write to /dev/full, or into a small file system where there may be one."""
    words, output = WRITING[name]

    def attempt(folder: Path, _: Random) -> str | None:
        prepare(folder)
        disk = folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            if output == "out":  # a folder is no device
                return None
            argv = ["/dev/full" if word == output else word for word in words]
            done = run(*argv, *_format(name), cwd=folder)
            return done.refused()
        try:
            (disk / "fill").write_bytes(b"x" * 4096)
            done = run(
                *(f"disk/{output}" if word == output else word for word in words), cwd=folder
            )
            found = done.refused() or _strange(folder, output)
            left = [one.name for one in disk.iterdir() if one.name != "fill"]
            return found or (f"left {left}" if left else None)
        finally:
            subprocess.run(["umount", str(disk)], capture_output=True, check=False)
            disk.rmdir()

    return attempt


def _format(name: str) -> list[str]:
    kinds = {"convert to Parquet": "parquet", "convert to Mooncake": "mooncake"}
    if name in kinds:
        return ["--format-out", kinds[name]]
    if name == "generate":
        return ["--format", "parquet"]
    fixed = name in ("anonymize", "calibrate", "page") or name.startswith("export")
    return [] if fixed else ["--format", "csv"]


def _strange(folder: Path, output: str) -> str | None:
    left = [one.name for one in folder.iterdir() if one.name not in (*_WHOLE, "disk")]
    return f"left {left} of {output}" if left else None
