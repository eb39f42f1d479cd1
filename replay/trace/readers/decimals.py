"""Decimals of JSON by their digits: a float holds fifteen of them, a time in seconds has more.

    1735689600.123456789 s is 1735689600123456789 ns, though the nearest float ends in 0.123456717

`Decimal(repr(value))` is a number as it was written, whether it is an integer, a float or one of
these.
"""

from __future__ import annotations

_EXACT_CHARACTERS = 16  # fifteen digits and a point


class WrittenFloat(float):
    """A float that shows the digits it was written with."""

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str) -> WrittenFloat:
        """Return the float that this text of a number means."""
        value = super().__new__(cls, text)
        value._text = text
        return value

    def __repr__(self) -> str:
        """Return the digits as written."""
        return self._text


def written_float(text: str) -> float:
    """Return a JSON number that is no integer, for `parse_float`: with its digits where they count.

    Short ones are plain floats, because these show themselves as they were written.
    """
    return float(text) if len(text) <= _EXACT_CHARACTERS else WrittenFloat(text)


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a number; truths are none."""
    return isinstance(value, float) or type(value) is int
