"""Values of a JSON object, held against what a format says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from replay.trace.problems import shown
from replay.units import NS_PER_S

MOST_TOKENS = 2**31 - 1
MOST_NS = 2**63 - 1


def missing_fault(row: Mapping[str, object], names: Iterable[str]) -> list[str]:
    """Return the fault of a row that lacks any of these keys, and none where it has all."""
    missing = [name for name in names if name not in row]
    if not missing:
        return []
    got = ", ".join(map(shown, row)) or "no keys"
    return [f"lacks {', '.join(missing)} (got {got})"]


def integer_fault(
    row: Mapping[str, object], name: str, lowest: int, highest: int, *, label: str | None = None
) -> list[str]:
    """Return the fault of a value that is no integer of this range; truths are no integers."""
    value, called = row[name], label or name
    if type(value) is not int:
        return [f"{called} must be an integer (got {shown(value)})"]
    if not lowest <= value <= highest:
        return [f"{called} must be between {lowest} and {highest} (got {value})"]
    return []


def integers_fault(values: object, lowest: int, highest: int, *, label: str) -> list[str]:
    """Return the fault of what is no list of integers of this range."""
    if not isinstance(values, list):
        return [f"{label} must be a list of integers (got {shown(values)})"]
    if set(map(type, values)) <= {int} and all(
        lowest <= value <= highest
        for value in (min(values, default=lowest), max(values, default=lowest))
    ):
        return []
    for at, value in enumerate(values):
        if type(value) is not int:
            return [f"{label}[{at}] must be an integer (got {shown(value)})"]
        if not lowest <= value <= highest:
            return [f"{label}[{at}] must be between {lowest} and {highest} (got {value})"]
    return []


def duration_ns_fault(
    row: Mapping[str, object], name: str, *, label: str | None = None
) -> list[str]:
    """Return the fault of a value that is no time in seconds from 0 on that fits in Int64 ns."""
    value, called = row[name], label or name
    if type(value) not in (int, float):
        return [f"{called} must be a number of seconds (got {shown(value)})"]
    if not 0 <= value <= MOST_NS // NS_PER_S:  # type: ignore[operator]
        return [f"{called} must be between 0 and {MOST_NS // NS_PER_S} s (got {shown(value)})"]
    return []


def seconds_to_ns(value: float) -> int:
    """Return seconds in ns: what the digits say that a float is written with, not its bits."""
    return int(Decimal(repr(value)) * NS_PER_S)
