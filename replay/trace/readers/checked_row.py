"""One JSON object of a file, taken key by key: what is wrong with it is gathered, not raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from replay.trace.frame import MOST_TOKENS
from replay.trace.problems import shown
from replay.trace.readers.decimals import is_number
from replay.trace.readers.text_requests import writable

LARGEST_TOKENS = MOST_TOKENS  # a longer one is told with its line, where the row is read
LARGEST_NS = 2**63 - 1


class CheckedRow:
    """Values of one object by key, of the type and size asked for; a null counts as missing.

    Each method takes one key, or several names of the same thing, of which the first that is
    there counts. A value that is not as asked is told in `faults` and given as 0, None or nothing
    at all: whoever asks goes on, and drops the row in the end. `place` stands before each key.
    """

    def __init__(
        self, values: Mapping[str, Any], *, place: str = "", faults: list[str] | None = None
    ) -> None:
        self.values = values
        self.place = place
        self.faults: list[str] = [] if faults is None else faults
        self._asked: set[str] = set()

    def integer(self, *names: str, lowest: int, highest: int) -> int:
        """Return an integer that must be there."""
        name = self._named(names)
        return 0 if name is None else self._integer(name, lowest, highest) or 0

    def integer_or_none(self, *names: str, lowest: int, highest: int) -> int | None:
        """Return an integer, None where there is none."""
        name = self._found(names)
        return None if name is None else self._integer(name, lowest, highest)

    def tokens(self, *names: str, lowest: int = 1) -> int:
        """Return a length in tokens that must be there."""
        return self.integer(*names, lowest=lowest, highest=LARGEST_TOKENS)

    def duration_ns(self, *names: str, unit_ns: int) -> int | None:
        """Return a time or a duration in ns, None where there is none; as exact as it is written.

        The value may be an integer or not, and counts units of `unit_ns`.
        """
        name = self._found(names)
        if name is None:
            return None
        value = self.values[name]
        if not is_number(value):
            self._fault(name, "must be a number", value)
            return None
        # The digits that a number is written with, rather than what it is in binary.
        time = Decimal(repr(value)) * unit_ns if abs(value) <= LARGEST_NS else Decimal(-1)
        if not 0 <= time <= LARGEST_NS:
            self._fault(name, "is out of range", value)
            return None
        return int(time)

    def text(self, *names: str) -> str | None:
        """Return a text, None where there is none."""
        name = self._found(names)
        if name is None:
            return None
        if not isinstance(self.values[name], str):
            self._fault(name, "must be text", self.values[name])
            return None
        return writable(self.values[name])

    def integers(self, *names: str, lowest: int, highest: int) -> list[int] | None:
        """Return a list of integers, None where there is none."""
        name = self._found(names)
        if name is None:
            return None
        value = self.values[name]
        if not isinstance(value, list):
            self._fault(name, "must be a list of integers", value)
        elif not all(type(entry) is int for entry in value):
            wrong = next(entry for entry in value if type(entry) is not int)
            self._fault(name, "must hold integers alone", wrong)
        elif value and not (lowest <= min(value) and max(value) <= highest):
            wrong = next(entry for entry in value if not lowest <= entry <= highest)
            self._fault(name, f"must hold integers between {lowest} and {highest}", wrong)
        else:
            return value
        return None

    def within(self, name: str) -> CheckedRow | None:
        """Return the object under a key, None where there is none; its faults are this one's."""
        if self._found((name,)) is None:
            return None
        value = self.values[name]
        if not isinstance(value, Mapping):
            self._fault(name, "must be an object", value)
            return None
        return CheckedRow(value, place=f"{self.place}{name}.", faults=self.faults)

    def lacks(self, name: str) -> None:
        """Tell that a key is missing, and which keys are there."""
        keys = ", ".join(map(shown, self.values)) or "no keys"
        self.faults.append(f"lacks {self.place}{name} (got {keys})")

    def rest(self, *left_out: str) -> dict[str, object]:
        """Return the values that nobody has asked for, by their keys, but for some."""
        asked = self._asked.union(left_out)
        return {
            name: writable(value) if isinstance(value, str) else value
            for name, value in self.values.items()
            if name not in asked
        }

    def _found(self, names: Sequence[str]) -> str | None:
        self._asked.update(names)
        return next((name for name in names if self.values.get(name) is not None), None)

    def _named(self, names: Sequence[str]) -> str | None:
        name = self._found(names)
        if name is None:
            self.lacks(" or ".join(names))
        return name

    def _integer(self, name: str, lowest: int, highest: int) -> int | None:
        value = self.values[name]
        if type(value) is not int:
            self._fault(name, "must be an integer", value)
        elif not lowest <= value <= highest:
            self._fault(name, f"must be between {lowest} and {highest}", value)
        else:
            return value
        return None

    def _fault(self, name: str, what: str, value: object) -> None:
        self.faults.append(f"{self.place}{name} {what} (got {shown(value)})")
