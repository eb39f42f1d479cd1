"""Where outputs may go: asked before the work, not after it.

One rule for every command. What is there already is replaced with `--force` only, and only when it
is a regular file, or a run directory and nothing else. A link stays and what it names is written;
a device, a pipe or an open descriptor is written as it is. An input is never an output, and nothing
is written into a folder that is read.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from replay.errors import InputError, OutputExistsError
from replay.writing.failures import output_error, writing
from replay.writing.partial import partial_file

_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d{1,9})")
_PATTERN = frozenset("*?[")
STANDARD_INPUT = "-"


def check_file(path: Path, *, force: bool, inputs: Iterable[str | Path | None] = ()) -> None:
    """Raise unless a file can be written at `path`; cheap enough to ask before any work.

    `inputs` are files, folders and patterns that are read. Raises OutputExistsError for a file
    that is there already unless `force`; InputError for an input; OutputError for a folder, a name
    in no folder, and where the operating system refuses.
    """
    if str(path) == STANDARD_INPUT:
        raise InputError(
            "-o - names no file: output goes to standard output without -o",
            hint="where a file must be named, /dev/stdout will do",
        )
    path = Path(path)
    if descriptor_of(path) is not None:
        return
    kind = _kind(path)
    if kind is not None and stat.S_ISDIR(kind):
        raise output_error(path, errno.EISDIR)
    check_not_read(path, inputs)
    if kind is not None and not stat.S_ISREG(kind):
        if not os.access(path, os.W_OK):
            raise output_error(path, errno.EACCES)
        return
    if kind is not None and not force:
        raise OutputExistsError(f"{path} is there already", hint="--force overwrites it")
    real = path.resolve()
    if not real.parent.is_dir():
        raise output_error(path, errno.ENOENT)
    check_can_make(real, shown=path)


def check_not_read(output: Path, inputs: Iterable[str | Path | None]) -> None:
    """Raise InputError where an output is one of the inputs, or would lie in a folder of them."""
    real = output.resolve()
    for given in inputs:
        if given is None:
            continue
        source = Path(given)
        if str(given) == STANDARD_INPUT:
            if _is_standard_input(output):
                raise InputError(f"{output} is the input itself", hint="choose another name")
        elif source.is_dir():
            if real == source.resolve() or source.resolve() in real.parents:
                raise InputError(
                    f"{output} lies in the folder that is read ({given})",
                    hint="choose a place outside of it",
                )
        elif _is_same(output, source) or (_PATTERN & set(str(given)) and _matches(real, source)):
            what = "is the input itself" if source.exists() else f"is one of the inputs ({given})"
            raise InputError(f"{output} {what}", hint="choose another name")


def check_can_make(path: Path, *, shown: Path) -> None:
    """Raise OutputError unless a file can be made at `path`, found out by making one beside it."""
    with writing(shown):
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # tells of names that are too long
        with partial_file(path) as (_, descriptor):
            os.close(descriptor)


def descriptor_of(path: Path) -> int | None:
    """Return the open descriptor that a path such as /dev/stdout or /dev/fd/3 names, if any."""
    text = str(path)
    if text in _DESCRIPTORS:
        return _DESCRIPTORS[text]
    found = _DESCRIPTOR.fullmatch(text)
    return int(found[1]) if found else None


def _kind(path: Path) -> int | None:
    """Return the mode of what a path leads to, None where there is nothing; raises OutputError."""
    with writing(path):
        try:
            return path.stat().st_mode
        except FileNotFoundError:
            return None


def _is_standard_input(path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(0), path.stat())
    except OSError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _matches(path: Path, pattern: Path) -> bool:
    """Return whether a path is one that a pattern would read."""
    absolute = os.path.abspath(pattern)  # noqa: PTH100  (does not follow links)
    if "**" not in absolute and absolute.count(os.sep) != str(path).count(os.sep):
        return False
    return fnmatch.fnmatchcase(str(path), absolute.replace("**/", "*"))
