"""Where a trace may be written: asked before the work, not after it."""

from __future__ import annotations

from pathlib import Path

from replay.errors import InputError, OutputExistsError


def check_target(path: Path, *, force: bool) -> None:
    """Raise where a file cannot be written: there already, a folder, or in no folder.

    Raises OutputExistsError unless `force`, InputError for a folder that is not there.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="name a file")
    if path.exists() and not force:
        raise OutputExistsError(f"{path} is there already", hint="--force overwrites it")
    if not path.parent.is_dir():
        raise InputError(f"no such folder (got {str(path.parent)!r})", hint="make it first")
