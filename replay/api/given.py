"""What a call was given, refused under its keyword where the call has no use for it."""

from __future__ import annotations

import operator
import re
from os import PathLike
from pathlib import Path
from typing import SupportsIndex

from replay.errors import InputError

Path_ = str | PathLike[str]
_DIGITS = re.compile(r"[0-9]{1,18}")


def whole_number(
    name: str, given: object, *, least: int | None = None, most: int | None = None
) -> int:
    """Return a whole number: an integer of Python or NumPy, a float without a fraction, digits.

    Raises InputError for anything else, truths among it, and outside of `least` and `most`.
    """
    found = _whole(given)
    if (
        found is None
        or (least is not None and found < least)
        or (most is not None and found > most)
    ):
        bounds = "" if least is None else f" of at least {least}"
        bounds += "" if most is None else f" and at most {most:,}"
        raise InputError(
            f"{name} must be a whole number{bounds} (got {given!r})",
            hint=f"{name}={max(1, least or 0)}, say",
        )
    return found


def _whole(given: object) -> int | None:
    if isinstance(given, str):
        return int(given) if _DIGITS.fullmatch(given) else None
    if isinstance(given, float):
        return int(given) if given.is_integer() else None
    if isinstance(given, bool) or not isinstance(given, SupportsIndex):
        return None
    try:
        return operator.index(given)
    except TypeError:  # an array has the method, and means it where it holds one number
        return None


def path_text(what: str, given: object, *, hint: str) -> str:
    """Return a path as it was given, as a pattern of files is no path; raises InputError."""
    if not isinstance(given, str | PathLike):
        raise InputError(f"not {what} (got {type(given).__name__})", hint=hint)
    return given if isinstance(given, str) else str(Path(given))


def path_of(name: str, given: object) -> Path:
    """Return the path that a keyword was given; raises InputError."""
    return Path(path_text(f"a path for {name}", given, hint=f'{name}="…", the path as text'))


def path_if(name: str, given: object) -> Path | None:
    """Return the path that a keyword was given, if any; raises InputError."""
    return None if given is None else path_of(name, given)
