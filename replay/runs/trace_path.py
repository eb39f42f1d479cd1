"""Where the trace of a run is to be read again, and whether what was read is that trace."""

from __future__ import annotations

import shlex
from pathlib import Path

from replay.errors import InputError
from replay.runs.layout import MANIFEST
from replay.runs.open import Run
from replay.trace.frame import TraceMeta
from replay.writing.target import STANDARD_INPUT

_PATTERN = frozenset("*?[")
_READ_ALIKE = ("format", "block_size", "content", "rejected_rows")


def trace_path(run: Run, trace: Path | None = None) -> Path | str:
    """Return where the trace of a run lies: `trace` where it moved, else as its manifest says.

    Raises InputError where the manifest names none, and where it is not there.
    """
    if trace is not None:
        return trace
    record = run.manifest.get("trace")
    path = record.get("path") if isinstance(record, dict) else None
    if not path:
        raise InputError(
            f"{run.folder / MANIFEST}: names no trace", hint="say where it is: --trace PATH"
        )
    if path == STANDARD_INPUT:
        raise InputError(
            f"{run.folder}: its trace came from standard input",
            hint="put the trace into a file and name that: --trace PATH",
        )
    if not _PATTERN & set(path) and not Path(path).exists():
        raise InputError(
            f"{run.folder}: its trace is not there (got {path!r})",
            hint="say where it is now: --trace PATH",
        )
    return str(path)


def check_read_alike(run: Run, meta: TraceMeta, path: Path | str) -> None:
    """Raise InputError unless the trace is the run's, and was read as the run read it."""
    record = run.manifest.get("trace") or {}
    if record.get("sha256") != meta.sha256:
        raise InputError(
            f"{path}: not the trace of {run.folder} (sha256 {meta.sha256[:12]}…, the run's is "
            f"{str(record.get('sha256'))[:12]}…)",
            hint="give the file as it was: --trace PATH",
        )
    for name in _READ_ALIKE:
        got, wanted = getattr(meta, name), record.get(name)
        if got != wanted:
            raise InputError(
                f"{path}: read otherwise than by the run: {name} {got!r} (the run's is {wanted!r})",
                hint=how_it_ran(run),
            )


def how_it_ran(run: Run) -> str:
    """Return in words how to find the options of reading that a run had."""
    argv = run.manifest.get("argv")
    command = shlex.join(["replay", *map(str, argv)]) if argv else "see its manifest"
    return f"give the options of reading that the run had: {command}"
