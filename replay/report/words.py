"""Numbers in sentences: rounded as a person says them, never broken from their unit."""

from __future__ import annotations

import math

GLUE = "\u00a0"  # where no line may end
_SMALL = ("no", "one", "two", "three", "four", "five")


def percent(share: float) -> str:
    """Return a share as `23%`; one that rounds to nothing or to all keeps a digit: `0.4%`."""
    if share == 0 or share == 1 or 0.0095 <= abs(share) < 0.995 or abs(share) > 1:
        return f"{share * 100:,.0f}%"
    if abs(share) < 0.0005:
        return "under 0.1%"
    return "over 99.9%" if share > 0.9995 else f"{share * 100:.1f}%"


def points(difference: float) -> str:
    """Return the difference of two shares in points, without its sign."""
    return f"{abs(difference) * 100:.0f}{GLUE}points"


def wait(ms: float) -> str:
    """Return a time to wait: `8.3 ms`, `348 ms`, `1.56 s`, `8.9 min`, `3.2 h`."""
    if ms < 9.95:
        return f"{ms:.2g}{GLUE}ms"
    if ms < 995:
        return f"{ms:.0f}{GLUE}ms"
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.3g}{GLUE}s" if seconds >= 10 else f"{seconds:.2f}{GLUE}s"
    if seconds < 7200:
        return f"{_digits(seconds / 60)}{GLUE}min"
    return f"{_digits(seconds / 3600)}{GLUE}h"


def span(seconds: float) -> str:
    """Return a length of time: `76 s`, `8.9 min`, `20 h`, `3.5 days`."""
    if seconds < 1:
        return wait(seconds * 1000)
    if seconds < 120:
        return f"{seconds:.0f}{GLUE}s" if seconds >= 10 else f"{seconds:.2g}{GLUE}s"
    if seconds < 2 * 86_400:
        return wait(seconds * 1000)
    return f"{_digits(seconds / 86_400)}{GLUE}days"


def clock(seconds: float) -> str:
    """Return a moment of the trace: `13:09`, `2:05:00`."""
    whole = int(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes.rjust(5, '0')}"


def amount(number: float) -> str:
    """Return a large number in short: `3.86 M`, `16.6 M`, `57 k`, `884`."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(number) >= size:
            size = 1e3 if unit == "k" else size
            return f"{_three(number / size)}{GLUE}{unit}"
    return f"{number:,.0f}"


def count(number: int, what: str) -> str:
    """Return a number of things: `1 request`, `2,132 requests`."""
    return f"{number:,}{GLUE}{what}" if number == 1 else f"{number:,}{GLUE}{what}s"


def spelled(number: int) -> str:
    """Return a small number as a word, a larger one in digits."""
    return _SMALL[number] if 0 <= number < len(_SMALL) else f"{number:,}"


def size(nbytes: float) -> str:
    """Return bytes as `55 GiB`, `1.2 TiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        nbytes_of = 2 ** {"TiB": 40, "GiB": 30, "MiB": 20, "KiB": 10}[unit]
        if nbytes >= nbytes_of:
            return f"{_three(nbytes / nbytes_of)}{GLUE}{unit}"
    return f"{nbytes:.0f}{GLUE}B"


def times(factor: float) -> str:
    """Return how many times as much: `6.4 times`, `twice`, `0.5 times`."""
    return "twice" if math.isclose(factor, 2, rel_tol=0.02) else f"{_digits(factor)}{GLUE}times"


def listed(parts: list[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else ""


def sentence(text: str) -> str:
    """Return a text with a capital first letter, unless it starts with a name like `h100-sxm`."""
    first = text.split(maxsplit=1)[:1]
    is_name = any(letter.isdigit() for word in first for letter in word)
    return text if is_name else text[:1].upper() + text[1:]


def _digits(number: float) -> str:
    """Return two digits of what is below ten, whole numbers above."""
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:,.0f}"


def _three(number: float) -> str:
    """Return three digits without trailing zeros behind the point."""
    digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
