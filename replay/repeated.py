"""Names that stand twice where each may stand once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def first_repeated(names: Iterable[Name]) -> Name | None:
    """Return the first name that stands for the second time, None where none does."""
    seen: set[Name] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
