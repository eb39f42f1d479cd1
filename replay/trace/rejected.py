"""Rows that were put aside, as a file beside what was made of the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from replay.trace.frame import Rejected
from replay.writing.whole import whole_file

SUFFIX = ".rejected.jsonl"


def rejected_beside(path: str | Path) -> Path:
    """Return the name of the file for rejected rows beside a trace: OUT.rejected.jsonl."""
    path = Path(path)
    return path.with_name(path.name + SUFFIX)


def rejected_text(rows: Sequence[Rejected]) -> str:
    """Return rows as JSON lines with file, line, reason and the text as it stood."""
    return "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def write_rejected(rows: Sequence[Rejected], path: Path, *, force: bool = False) -> Path | None:
    """Write rows as JSON lines and return the path; None, and no file, where there are none.

    A file that an earlier conversion left is removed then, where `force` allows. Raises
    OutputExistsError where a file is there already, OutputError where writing fails.
    """
    if not rows:
        if force and path.is_file() and not path.is_symlink():
            path.unlink()
        return None
    with whole_file(path, force=force) as file:
        file.write(rejected_text(rows).encode("utf-8", "backslashreplace"))
    return path
