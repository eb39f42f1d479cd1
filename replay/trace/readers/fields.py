"""Values of a JSON object, held against what a format says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from replay.trace.problems import shown

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
    for at, value in enumerate(values):
        if type(value) is not int:
            return [f"{label}[{at}] must be an integer (got {shown(value)})"]
        if not lowest <= value <= highest:
            return [f"{label}[{at}] must be between {lowest} and {highest} (got {value})"]
    return []
