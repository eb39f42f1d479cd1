"""Where the trace of a run is to be read again: for stories, which replay it."""

from __future__ import annotations

from pathlib import Path

from replay.errors import InputError
from replay.runs.layout import MANIFEST
from replay.runs.open import Run
from replay.writing.target import STANDARD_INPUT

_PATTERN = frozenset("*?[")


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
