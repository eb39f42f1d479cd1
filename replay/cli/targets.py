"""Where a command writes: asked before its work, the same way by every command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replay.cli.output import chosen_format, note

_READ_BESIDE = ("columns", "tokenizer", "chat_template", "config")


def check_output(
    format: str | None,
    output: Path | None,
    *,
    force: bool,
    inputs: Iterable[str | Path | None] = (),
) -> str:
    """Return the format to write, before any work is done for it.

    Raises InputError as `chosen_format` does, and what `claim` raises.
    """
    if output is not None:
        claim(output, force=force, inputs=inputs)
    return chosen_format(format, output)


def claim(path: Path, *, force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless a file can be written; see `replay.writing.target`.

    What killed processes left in its folder is removed, and named.
    """
    from replay.writing.target import check_file

    check_file(path, force=force, inputs=inputs)
    _tidy(path.resolve().parent)


def claim_run(folder: Path, *, force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless a run can be written to a folder; `claim` for run directories."""
    from replay.runs.layout import check_target

    check_target(folder, force, inputs=inputs)
    _tidy(folder.resolve().parent)


@contextmanager
def swept(output: Path | None) -> Iterator[None]:
    """Remove what a child process that was ended inside the block left half-written."""
    from replay.errors import ReplayError
    from replay.writing.partial import remove_leftovers

    try:
        yield
    except ReplayError:
        if output is not None:
            remove_leftovers(output.resolve().parent)
        raise


def read_beside(parameters: Mapping[str, Any]) -> list[Path]:
    """Return the files that the values of `trace_options` and `scenario_options` name."""
    return [path for name in _READ_BESIDE if (path := parameters.get(name)) is not None]


def _tidy(folder: Path) -> None:
    from replay.writing.partial import remove_leftovers

    removed, kept = remove_leftovers(folder)
    for path in removed:
        note(f"Note: removed {path}, half-written by a replay that was killed")
    for path in kept:
        note(f"Note: {path} was left by a replay that was killed: look at it, then remove it")
