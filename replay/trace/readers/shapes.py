"""What a row of a format is: its own keys and the kinds of their values.

A file is of a format when one of its first rows has this shape. Where none has, the nearest shape
says what is missing or of another kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from replay.trace.problems import shown
from replay.trace.readers.head import head_rows

_WRONG_KIND_COUNTS = 0.5
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: its words stand behind `must be`."""

    words: str
    has: Callable[[object], bool]


INTEGER = Kind("an integer", lambda value: type(value) is int)
NUMBER = Kind("a number", lambda value: type(value) in (int, float))
TEXT = Kind("text", lambda value: isinstance(value, str))
LIST = Kind("a list", lambda value: isinstance(value, list))
OBJECT = Kind("an object", lambda value: isinstance(value, Mapping))
OBJECTS = Kind(
    "a list of objects",
    lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value[:1]),
)
ANYTHING = Kind("there", lambda value: value is not None)


def one_of(*texts: str) -> Kind:
    """Return the kind of a text that is one of these."""
    return Kind(f"one of {', '.join(texts)}", lambda value: value in texts)


def messages_by(*keys: tuple[str, str]) -> Kind:
    """Return the kind of a list of messages, each with one of these pairs of role and text."""

    def has(value: object) -> bool:
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            return False
        return any(role in value[0] for role, _ in keys)

    return Kind(f"a list of messages with {' or '.join(' and '.join(pair) for pair in keys)}", has)


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a row, under one of several names; null counts as missing.

    An `optional` one may be missing, but must not be of another kind.
    """

    names: tuple[str, ...]
    kind: Kind
    optional: bool = False

    def found(self, row: Mapping[str, object]) -> object:
        """Return its value, None where there is none."""
        return next((row[name] for name in self.names if row.get(name) is not None), None)


def key(*names: str, kind: Kind, optional: bool = False) -> Key:
    """Return a key of these names."""
    return Key(names, kind, optional)


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near a file is to a shape, 0..1, and in words what keeps it from being one."""

    share: float
    words: str


class Shape(Protocol):
    """What tells the files of a format from others by their first bytes."""

    def fits(self, head: bytes) -> bool:
        """Return whether these bytes start a file of this shape."""

    def nearness(self, head: bytes) -> Nearness:
        """Return how near they are, and what is missing."""


@dataclass(frozen=True, slots=True)
class RowShape:
    """A JSON object with these keys of its own, and none of the `never` ones.

    `within` names keys that may hold the object.
    """

    keys: tuple[Key, ...]
    never: frozenset[str] = frozenset()
    within: tuple[str, ...] = ()

    def fits(self, head: bytes) -> bool:
        """Return whether one of the first objects has this shape."""
        return any(self.has(row) for row in head_rows(head))

    def has(self, row: Mapping[str, object]) -> bool:
        """Return whether an object has this shape."""
        row = self._inner(row)
        return not self.never & row.keys() and all(
            one.optional if (value := one.found(row)) is None else one.kind.has(value)
            for one in self.keys
        )

    def nearness(self, head: bytes) -> Nearness:
        """Return how near the nearest of the first objects is."""
        rows = head_rows(head)
        found = [self._nearness(self._inner(row)) for row in rows]
        return max(found, key=lambda one: one.share, default=Nearness(0.0, ""))

    def _inner(self, row: Mapping[str, object]) -> Mapping[str, object]:
        for name in self.within:
            inner = row.get(name)
            if isinstance(inner, Mapping):
                return inner
        return row

    def _nearness(self, row: Mapping[str, object]) -> Nearness:
        asked = matched = 0.0
        lacking = []
        for one in self.keys:
            value = one.found(row)
            if value is None and one.optional:
                continue
            asked += 1
            if value is None:
                lacking.append(f"{' or '.join(one.names)} is missing")
            elif one.kind.has(value):
                matched += 1
            else:
                matched += _WRONG_KIND_COUNTS
                name = next(name for name in one.names if row.get(name) is not None)
                lacking.append(f"{name} must be {one.kind.words} (got {shown(value)})")
        odd = sorted(self.never & row.keys())
        lacking += [f"{name} must not be there" for name in odd]
        share = matched / (asked + len(odd)) if matched else 0.0
        return Nearness(share, ", ".join(lacking))


@dataclass(frozen=True, slots=True)
class HeaderShape:
    """A table of text whose first line names these columns; `spaced` ones stand apart by spaces."""

    columns: tuple[str, ...]
    spaced: bool = False

    def fits(self, head: bytes) -> bool:
        """Return whether the first line names all columns."""
        return set(self.columns) <= self._names(head)

    def nearness(self, head: bytes) -> Nearness:
        """Return how many of them it names."""
        names = self._names(head)
        missing = [name for name in self.columns if name not in names]
        share = 1 - len(missing) / len(self.columns)
        return Nearness(share, f"the header lacks {', '.join(missing)}")

    def _names(self, head: bytes) -> set[str]:
        line = head.lstrip().split(b"\n", 1)[0].decode(errors="replace")
        names = line.split() if self.spaced else line.split(",")
        return {name.strip().strip('"') for name in names}


def fits_any(head: bytes, shapes: Sequence[Shape]) -> bool:
    """Return whether these bytes start a file of one of these shapes."""
    return any(shape.fits(head) for shape in shapes)


def nearest_in(head: bytes, named: Sequence[tuple[str, Sequence[Shape]]]) -> str | None:
    """Return which of these formats is nearest and why it is not it; None where none is near."""
    found = [
        (near.share, name, near.words)
        for name, shapes in named
        for shape in shapes
        if (near := shape.nearness(head)).share >= _NEAR and near.words
    ]
    if not found:
        return None
    _, name, words = max(found, key=lambda one: one[0])
    return f"nearest is {name}, but {words}"
