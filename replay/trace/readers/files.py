"""Which files a path names: one file, a folder of them, or a pattern."""

from __future__ import annotations

from pathlib import Path

from replay.errors import InputError
from replay.trace.readers.source import STANDARD_INPUT

_MAGIC = frozenset("*?[")
_PACKED = (".gz", ".zst")


def trace_files(path: str | Path, suffixes: tuple[str, ...]) -> list[Path] | None:
    """Return the files that a folder or a pattern names, sorted; None for one file.

    A folder names all files below it that have one of these suffixes, packed or not, but hidden
    ones; a pattern names what it matches. Raises InputError where that is nothing.
    """
    text, path = str(path), Path(path)
    if text == STANDARD_INPUT or path.is_file():
        return None
    if path.is_dir():
        found = [file for file in path.rglob("*") if _is_trace(file.relative_to(path), suffixes)]
        hint = f"files of traces end in {', '.join(suffixes)}, packed or not"
    elif _MAGIC & set(text):
        found = _matching(path)
        hint = "quote a pattern, so that the shell leaves it alone"
    else:
        return None
    files = sorted(file for file in found if file.is_file())
    if not files:
        raise InputError(f"no trace files there (got {text!r})", hint=hint)
    return files


def passed_over(path: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of a folder that `trace_files` does not take for traces, but hidden ones."""
    path = Path(path)
    if not path.is_dir():
        return []
    beside = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return sorted(
        file
        for file in beside
        if not _is_trace(file, suffixes) and not any(part.startswith(".") for part in file.parts)
    )


def _matching(pattern: Path) -> list[Path]:
    try:
        return list(Path(pattern.anchor or ".").glob(str(pattern.relative_to(pattern.anchor))))
    except (ValueError, NotImplementedError) as error:
        raise InputError(
            f"no pattern of files (got {str(pattern)!r}): {error}",
            hint="* stands for a part of a name, ** alone for any folders",
        ) from error


def _is_trace(file: Path, suffixes: tuple[str, ...]) -> bool:
    name = file.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return name.endswith(suffixes) and not any(part.startswith(".") for part in file.parts)
