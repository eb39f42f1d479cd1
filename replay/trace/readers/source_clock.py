"""Times as logs write them: dates, or numbers whose unit the key or their size tells.

One rule for a whole file, that of the first value that is a time. Text is a date as ISO 8601 has
it, UTC where it names no offset. A number under a key that ends in a unit (`timestamp_ms`,
`startTimeUnixNano`) counts that unit. Any other number must be a time since 1970 that lies between
2001 and 2286, so its digits tell the unit: 10 before the point are seconds, 13 milliseconds, 16
microseconds, 19 nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from replay.trace.problems import ProblemList, shown
from replay.trace.readers.decimals import is_number

_UNIT_NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_SUFFIX = re.compile(
    r"(?:_|(?<=[a-z])(?=[A-Z]))(?:[uU]nix_?)?"
    r"(?i:(?P<s>s|secs?|seconds)|(?P<ms>ms|millis|milliseconds)|(?P<us>us|micros|microseconds)"
    r"|(?P<ns>ns|nanos?|nanoseconds))$"
)
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,12}))? ?(Z|UTC|[+-]\d\d:?\d\d)?"
)
A_DATE = (  # what is taken, for messages; the ns of a later one do not fit 64 bits
    "a date from 1970 to 2262-04-11 in extended ISO 8601, without leap seconds, "
    "as 2025-01-31T12:00:00.5Z"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS = 2**63 - 1
_YEAR_2001_S, _YEAR_2286_S = 10**9, 10**10


def split_unit(key: str) -> tuple[str, int | None]:
    """Return a key without the unit it ends in, and the ns in that unit, None where it has none."""
    found = _SUFFIX.search(key)
    if not found:
        return key, None
    unit = next(name for name, text in found.groupdict().items() if text)
    return key[: found.start()], _UNIT_NS[unit]


def arrivals_of(
    key: str, values: Sequence[tuple[int, object]], problems: ProblemList
) -> tuple[list[int | None], int | None]:
    """Return the ns of each (line, value), None for a faulty one, and the clock's start.

    That is 0 where times count from 1970, which files share, and None where they are the file's
    own. Faults are added to `problems`; `key` is the name that stands before the values.
    """
    unit = split_unit(key)[1]
    by_size = unit is None
    first = _first_time([value for _, value in values], by_size=by_size)
    if isinstance(first, str):
        return [_of_date(key, line, value, problems) for line, value in values], 0
    if unit is None and (unit := _unit_by_size(first)) is None:
        problems.add(f"{key} does not tell its unit (got {shown(first)})")
        problems.hint(
            f"times since 1970 in s, ms, us or ns are known by their size; for others name the "
            f"key {key}_s, {key}_ms, {key}_us or {key}_ns"
        )
        return [None] * len(values), None
    found = [
        _of_number(key, line, value, problems, unit_ns=unit, by_size=by_size)
        for line, value in values
    ]
    lowest = min((time for time in found if time is not None), default=0)
    return found, 0 if lowest >= _YEAR_2001_S * 10**9 else None


def _first_time(values: Sequence[object], *, by_size: bool) -> object:
    """Return the first value that is a time, the first of all where there is none.

    Where numbers that do not tell their unit are half of all values, they are no faults of their
    rows but may count from the file's own start: then that is the first number.
    """
    untold = [by_size and is_number(value) and _unit_by_size(value) is None for value in values]
    own_start = 2 * sum(untold) >= len(values)
    for value, is_untold in zip(values, untold, strict=True):
        if isinstance(value, str) and date_ns(value) is not None:
            return value
        if is_number(value) and (own_start or not is_untold):
            return value
    return values[0]


def _unit_by_size(value: object) -> int | None:
    if not is_number(value):
        return None
    assert isinstance(value, int | float)
    for unit_ns in _UNIT_NS.values():
        if _YEAR_2001_S * 10**9 <= value * unit_ns < _YEAR_2286_S * 10**9:
            return unit_ns if value * unit_ns <= _LATEST_NS else None
    return None


def _of_number(
    key: str,
    line: int,
    value: object,
    problems: ProblemList,
    *,
    unit_ns: int,
    by_size: bool,
) -> int | None:
    if not is_number(value):
        problems.add(f"{key} must be a number, as in other rows (got {shown(value)})", line=line)
        return None
    if by_size and _unit_by_size(value) != unit_ns:
        unit = next(name for name, size in _UNIT_NS.items() if size == unit_ns)
        problems.add(
            f"{key} must be a time since 1970 in {unit}, as in other rows (got {shown(value)})",
            line=line,
        )
        return None
    # The digits that a number is written with, rather than what it is in binary.
    time = Decimal(repr(value)) * unit_ns
    if not 0 <= time <= _LATEST_NS:
        problems.add(f"{key} is out of range (got {shown(value)})", line=line)
        return None
    return int(time)


def _of_date(key: str, line: int, value: object, problems: ProblemList) -> int | None:
    time = date_ns(value) if isinstance(value, str) else None
    if time is None:
        problems.add(f"{key} must be {A_DATE} (got {shown(value)})", line=line)
    return time


def ns_since_1970(value: object) -> int | None:
    """Return a time in ns since 1970: a date, or a number whose size tells the unit; else None."""
    if isinstance(value, str):
        return date_ns(value)
    unit_ns = _unit_by_size(value)
    return None if unit_ns is None else int(Decimal(repr(value)) * unit_ns)


def date_ns(text: str) -> int | None:
    """Return the ns since 1970 of an ISO 8601 date with a time of day, exact; None for others."""
    match = _DATE.fullmatch(text.strip())
    if not match:
        return None
    day, time, fraction, offset = match.groups()
    zone = "+00:00" if offset in (None, "Z", "UTC") else offset
    try:
        whole = (datetime.fromisoformat(f"{day}T{time}{zone}") - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    ns = whole * 10**9 + int((fraction or "0").ljust(9, "0")[:9])
    return ns if 0 <= ns <= _LATEST_NS else None
